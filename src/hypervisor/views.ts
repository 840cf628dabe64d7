/** The map as people and control centers read it: the shapes of the API, computed from records, loads and sessions. */

import { isReachable } from '../cloud/decide/kept.js'
import { settingsOf } from '../cloud/decide/verdict.js'
import { byId, type NodeRef, nodeName } from '../cloud/ids.js'
import { type CloudMap, copiesOf, type Entry, phaseOf } from '../cloud/map.js'
import { compareOrder } from '../cloud/order.js'
import { type Freshness, freshnessOf } from '../cloud/placement/host.js'
import type { InstanceRecord, Phase, Resources } from '../cloud/records.js'
import { normaliseVersion } from '../cloud/version.js'
import { isSettled, usersOf } from '../cloud/wiring/users.js'
import type { Wiring } from '../cloud/wiring/wiring.js'
import type { Applied } from './applied.js'
import type { Clock, LoadSample, Loads } from './ports.js'
import { roleOn } from './wanted.js'

/** What a view needs beside the map. */
export interface ViewPorts {
  readonly map: CloudMap
  readonly loads: Loads
  readonly clock: Clock
  readonly goneForMs: (node: NodeRef) => number | undefined
  readonly wiring: () => Wiring
}

export type NodeState = 'registered' | 'ready' | 'draining' | 'gone' | 'lost'

export interface LoadView extends Resources {
  at: string
  freshness: Freshness
}

export interface RainServerView {
  id: string
  address: string
  urls: string[]
  zone?: string
  labels: Record<string, string>
  state: NodeState
  wires: { mothership: string; components: string[] }[]
  load: LoadView | null
  generation: number
  revision: number
}

export function rainServerView(id: string, ports: ViewPorts): RainServerView | undefined {
  const entry = ports.map.get('rainservers', id)
  if (!entry) return undefined
  const { value, modified } = entry
  const node: NodeRef = { kind: 'rainserver', id }
  const sample = ports.loads.latest(node)
  return {
    id,
    address: value.address,
    urls: value.urls,
    ...(value.zone === undefined ? {} : { zone: value.zone }),
    labels: value.labels,
    state: stateOf(node, value.draining, value.announced !== undefined, ports),
    wires: (ports.map.get('wiring', id)?.value.wires ?? []).map(({ mothership }) => {
      return { mothership, components: ports.wiring().through(id, mothership) }
    }),
    load: sample ? loadView(sample, ports) : null,
    generation: value.generation,
    revision: modified,
  }
}

/** `known`: it had a session once. */
function stateOf(node: NodeRef, draining: boolean, known: boolean, { map, goneForMs }: ViewPorts): NodeState {
  const goneMs = goneForMs(node)
  if (map.get('sessions', nodeName(node)) && goneMs === undefined) return draining ? 'draining' : 'ready'
  if (!known) return 'registered'
  return (goneMs ?? 0) >= settingsOf(map).lostAfterMs ? 'lost' : 'gone'
}

/** Component versions that are kept away from it, by id and version. */
function quarantinesOf(map: CloudMap, mothership: string): MothershipView['quarantined'] {
  return [...map.all('quarantine')]
    .filter(([, { value }]) => value.mothership === mothership)
    .sort(([a], [b]) => byId(a, b))
    .map(
      ([
        ,
        {
          value: { component, version, since, until, reason },
        },
      ]) => ({ component, version, since, until, reason }),
    )
}

const tenths = ({ cpu, ram, bandwidth }: Resources): Resources => ({
  cpu: tenth(cpu),
  ram: tenth(ram),
  bandwidth: tenth(bandwidth),
})

function loadView(sample: LoadSample, { clock, map }: Pick<ViewPorts, 'clock' | 'map'>): LoadView {
  const ageMs = Math.max(0, clock.nowMs() - sample.atMs)
  const { cpu, ram, bandwidth } = sample
  const at = new Date(clock.wallMs() - ageMs).toISOString()
  return {
    cpu: tenth(cpu),
    ram: tenth(ram),
    bandwidth: tenth(bandwidth),
    at,
    freshness: freshnessOf({ ageMs }, settingsOf(map).load),
  }
}

const tenth = (amount: number): number => Math.round(amount * 10) / 10

export interface MothershipView {
  id: string
  address: string
  zone?: string
  labels: Record<string, string>
  capacity: Resources
  reserved: Resources
  measured: (LoadView & { source: LoadSample['source']; filtered: Resources }) | null
  instances: number
  state: NodeState
  cordoned: boolean
  draining: null | { deadline: string | null; remaining: number; total?: number; since?: string }
  quarantined: { component: string; version: string; since: string; until: string; reason: string }[]
  revision: number
}

export function mothershipView(id: string, ports: ViewPorts): MothershipView | undefined {
  const entry = ports.map.get('motherships', id)
  if (!entry) return undefined
  const { value, modified } = entry
  const node: NodeRef = { kind: 'mothership', id }
  const sample = ports.loads.latest(node)
  const { reserved, instances } = ports.map.heldOn(id)
  return {
    id,
    address: value.address,
    ...(value.zone === undefined ? {} : { zone: value.zone }),
    labels: value.labels,
    capacity: value.capacity,
    reserved,
    measured: sample ? { ...loadView(sample, ports), source: sample.source, filtered: tenths(sample.filtered) } : null,
    instances,
    state: stateOf(node, value.draining !== null, value.announced !== undefined, ports),
    cordoned: value.cordoned,
    draining: value.draining && { ...value.draining, remaining: instances },
    quarantined: quarantinesOf(ports.map, id),
    revision: modified,
  }
}

export interface ComponentView {
  id: string
  version: string
  active: boolean
  /** `inactive`: it was active once. */
  state: 'deployed' | 'active' | 'inactive'
  description: string
  pageTitle?: string
  digest: string
  size: number
  deployedAt: string
  deployedBy: string
  motherships: readonly string[]
  instances: { total: number; byPhase: Readonly<Record<string, number>> }
  views: string[]
  /** While it is being undeployed: how many instances there were, and are. */
  undeploying?: { since: string; by: string; total: number; remaining: number }
  revision: number
}

/** `key`: `id/version`, normalised. */
export function componentView(key: string, { map }: ViewPorts): ComponentView | undefined {
  const entry = map.get('components', key)
  if (!entry) return undefined
  const { value, modified } = entry
  const { total, byPhase, motherships } = map.tallyOf(key)
  const removal = map.get('removals', key)?.value
  return {
    id: value.id,
    version: value.version,
    active: value.active,
    state: value.active ? 'active' : value.activation.some(each => each.active) ? 'inactive' : 'deployed',
    description: value.description ?? '',
    ...(value.pageTitle === undefined ? {} : { pageTitle: value.pageTitle }),
    digest: value.digest,
    size: value.size,
    deployedAt: value.deployedAt,
    deployedBy: value.deployedBy,
    motherships,
    instances: { total, byPhase },
    views: value.views.map(view => view.id),
    ...(removal
      ? { undeploying: { since: removal.since, by: removal.by, total: removal.total, remaining: total } }
      : {}),
    revision: modified,
  }
}

export interface CopyView {
  mothership: string
  role: 'primary' | 'backup' | 'learner'
  phase: Phase
  since: string
  reason?: string
}

export interface InstanceView {
  id: string
  component: string
  version: string
  owner?: string
  need: Resources
  epoch: number
  primary: string
  inSync: string[]
  learners: string[]
  generation: number
  /** `unavailable`: it keeps state, and no copy in sync can be reached. */
  phase: Phase | 'unavailable'
  /** It keeps state, and fewer copies are in sync than were asked for. */
  degraded?: boolean
  copies: CopyView[]
  createdAt: string
  revision: number
}

export function instanceView(id: string, { map }: ViewPorts): InstanceView | undefined {
  const entry = map.get('instances', id)
  return entry && viewOf(map, entry)
}

function viewOf(map: CloudMap, { value, modified }: Entry<'instances'>): InstanceView {
  const { id, component, version, owner, need, epoch, primary, inSync, learners, generation, createdAt } = value
  return {
    id,
    component,
    version: map.get('components', `${component}/${version}`)?.value.version ?? version,
    ...(owner === undefined ? {} : { owner }),
    need,
    epoch,
    primary,
    inSync,
    learners,
    generation,
    ...standing(map, value),
    copies: copiesOf(value).map(mothership => copyView(map, value, mothership)),
    createdAt,
    revision: modified,
  }
}

function standing(map: CloudMap, instance: InstanceRecord): Pick<InstanceView, 'phase' | 'degraded'> {
  if (map.get('stops', instance.id)) return { phase: 'stopping' }
  const phase = phaseOf(map, instance)
  if (map.get('components', `${instance.component}/${instance.version}`)?.value.state !== 'kept') return { phase }
  return {
    phase: isReachable(map, instance) ? phase : 'unavailable',
    degraded: instance.inSync.length < (instance.placement.copies ?? 1),
  }
}

function copyView(map: CloudMap, instance: InstanceRecord, mothership: string): CopyView {
  const observed = map.get('observed', `${mothership}/${instance.id}`)?.value
  const stop = map.get('stops', instance.id)?.value
  return {
    mothership,
    role: roleOn(instance, mothership) ?? 'learner',
    phase: stop ? 'stopping' : (observed?.phase ?? 'placed'),
    since: stop?.since ?? observed?.since ?? instance.createdAt,
    ...(observed?.reason === undefined ? {} : { reason: observed.reason }),
  }
}

/** Every copy runs, and as often refreshed as was asked. */
export function runsEverywhere(map: CloudMap, id: string): boolean {
  const instance = map.get('instances', id)?.value
  if (!instance) return false
  return copiesOf(instance).every(mothership => {
    const observed = map.get('observed', `${mothership}/${id}`)?.value
    return observed?.phase === 'running' && observed.generation >= instance.generation
  })
}

/**
 * No wire is still to come for the component, and every rain server that is wired to one of its motherships has said
 * that it applied a wanted state which shows these copies running. Who makes it elsewhere often enough needs none of them.
 */
export function wiredEverywhere(map: CloudMap, applied: Applied, wiring: Wiring, id: string): boolean {
  const instance = map.get('instances', id)?.value
  if (!instance) return false
  const key = `${instance.component}/${instance.version}`
  if (!isSettled(map, wiring, key)) return false
  return usersOf(map, wiring, key).every(({ id: server, wiredIn, through }) => {
    const used = copiesOf(instance).filter(mothership => through.has(mothership))
    const ran = used.map(each => map.get('observed', `${each}/${id}`)?.modified ?? Number.MAX_SAFE_INTEGER)
    return used.length === 0 || hasApplied(map, applied, server, Math.max(wiredIn, ...ran))
  })
}

/** Whether the rain server said, in the session that it has, that it has come so far. */
export function hasApplied(map: CloudMap, applied: Applied, rainServer: string, revision: number): boolean {
  const node: NodeRef = { kind: 'rainserver', id: rainServer }
  const session = map.get('sessions', nodeName(node))
  const has = session && applied.latest(node, session.modified)
  return has !== undefined && compareOrder(has, { era: map.order.era, revision }) >= 0
}

/** `id/version` normalised, of what a path names; undefined when the version is none. */
export const keyOf = (id: string, version: string): string => `${id}/${normaliseVersion(version) ?? version}`
