/**
 * A node's wanted state, computed from the map alone: entries by key, whole. Every replica computes the same for the
 * same revision, so a node may move between replicas without noticing.
 */

import { offeredIntents, usesSession } from '../cloud/component/deployed.js'
import { settingsOf } from '../cloud/decide/verdict.js'
import { byId, type NodeRef } from '../cloud/ids.js'
import { type CloudMap, copiesOf, sortedIds } from '../cloud/map.js'
import type { ComponentRecord, InstanceRecord } from '../cloud/records.js'
import { backends } from '../cloud/routing/routing.js'
import { normaliseVersion } from '../cloud/version.js'
import { reachable } from '../cloud/wiring/wiring.js'
import type {
  WantedBackend,
  WantedComponent,
  WantedInstance,
  WantedKeys,
  WantedPeer,
  WantedReplica,
  WantedServer,
  WantedWire,
} from '../protocol/messages.js'
import { sessionKeyOf } from '../protocol/session-data.js'

export type Entries = Map<string, unknown>
/** Kinds whose change can change what a node is to do: those that are read here. */
export const wantedKinds: ReadonlySet<string> = new Set([
  'instances',
  'stops',
  'components',
  'motherships',
  'rainservers',
  'wiring',
  'observed',
  'settings',
  'keys',
  'replicas',
  'sessions',
])

/** Signs who may open a link to whom. */
export type Tickets = (who: NodeRef, toWhom: NodeRef) => string

export function wantedFor(map: CloudMap, node: NodeRef, tickets: Tickets): Entries {
  switch (node.kind) {
    case 'mothership':
      return forMothership(map, node, tickets)
    case 'rainserver':
      return forRainServer(map, node, tickets)
    case 'balancer':
      return forBalancer(map)
  }
}

export function roleOn(instance: InstanceRecord, mothership: string): WantedInstance['role'] | undefined {
  if (instance.primary === mothership) return 'primary'
  if (instance.inSync.includes(mothership)) return 'backup'
  return instance.learners.includes(mothership) ? 'learner' : undefined
}

function forMothership(map: CloudMap, node: NodeRef, tickets: Tickets): Entries {
  const { id } = node
  const entries: Entries = new Map()
  const peers = new Set<string>()
  for (const key of [...map.instancesOn(id)].sort(byId)) {
    if (map.get('stops', key)?.value.stage === 'drain') continue
    const wanted = wantedInstance(map, key, id)
    if (!wanted) continue
    entries.set(`instances/${key}`, wanted)
    for (const peer of [...(wanted.kept?.inSync ?? []), ...(wanted.kept?.learners ?? [])]) peers.add(peer)
  }
  peers.delete(id)
  for (const peer of [...peers].sort(byId)) {
    const mothership = map.get('motherships', peer)?.value
    if (!mothership) continue
    const toWhom: NodeRef = { kind: 'mothership', id: peer }
    const wanted: WantedPeer = { mothership: peer, address: mothership.address, ticket: tickets(node, toWhom) }
    entries.set(`peers/${peer}`, wanted)
  }
  const keys = map.get('keys')?.value.keys ?? []
  const value: WantedKeys = { keys: keys.map(each => ({ id: each.id, publicKey: each.publicKey })) }
  entries.set('keys', value)
  return entries
}

function wantedInstance(map: CloudMap, id: string, mothership: string): WantedInstance | undefined {
  const entry = map.get('instances', id)
  const instance = entry?.value
  const component = instance && map.get('components', `${instance.component}/${instance.version}`)?.value
  const role = instance && roleOn(instance, mothership)
  if (!instance || !component || !role) return undefined
  return {
    component: instance.component,
    version: instance.version,
    digest: component.digest,
    size: component.size,
    role,
    epoch: instance.epoch,
    generation: instance.generation,
    ...(instance.refresh === undefined ? {} : { refresh: instance.refresh }),
    since: entry.created,
    isolation: component.isolation,
    need: instance.need,
    ...(component.state === 'kept' ? { kept: keptOf(instance) } : {}),
  }
}

const keptOf = ({
  primary,
  inSync,
  learners,
  journals,
  placement,
}: InstanceRecord): NonNullable<WantedInstance['kept']> => ({
  primary,
  inSync,
  learners,
  journals: journals ?? {},
  inSyncMin: placement.inSyncMin ?? 1,
})

function forRainServer(map: CloudMap, node: NodeRef, tickets: Tickets): Entries {
  const entries: Entries = new Map()
  const server = map.get('rainservers', node.id)?.value
  if (!server) return entries
  const settings = settingsOf(map)
  const keys = map.get('keys')?.value.keys ?? []
  const value: WantedServer = {
    urls: server.urls,
    generation: server.generation,
    fragmentDeadlineMs: settings.fragmentDeadlineMs,
    pageDeadlineMs: settings.pageDeadlineMs,
    errorComponent: settings.errorComponent,
    loadingComponent: settings.loadingComponent,
    languages: settings.languages,
    ...(keys.length > 0 ? { sessionKeys: keys.map(sessionKeyOf) } : {}),
  }
  entries.set('server', value)
  for (const key of reachable(map, server)) {
    const wanted = wantedComponent(map, key)
    if (wanted) entries.set(`components/${key}`, wanted)
  }
  for (const wire of map.get('wiring', node.id)?.value.wires ?? []) {
    const mothership = map.get('motherships', wire.mothership)?.value
    if (!mothership) continue
    const toWhom: NodeRef = { kind: 'mothership', id: mothership.id }
    const wanted: WantedWire = {
      mothership: mothership.id,
      address: mothership.address,
      ticket: tickets(node, toWhom),
    }
    entries.set(`wires/${mothership.id}`, wanted)
  }
  return entries
}

function wantedComponent(map: CloudMap, key: string): WantedComponent | undefined {
  const component = map.get('components', key)?.value
  if (!component) return undefined
  const intents = offeredIntents(component)
  const useSession = usesSession(component)
  const copies: WantedComponent['copies'] = []
  for (const id of [...map.instancesOf(key)].sort(byId)) {
    const instance = map.get('instances', id)?.value
    if (!instance || map.get('stops', id)) continue
    // What a learner of kept state shows may be nothing yet.
    const copiesHere = component.state === 'kept' ? instance.inSync : copiesOf(instance)
    for (const mothership of [...copiesHere].sort(byId)) {
      if (runs(map, mothership, id)) copies.push({ instance: id, mothership, epoch: instance.epoch })
    }
  }
  return {
    id: component.id,
    version: normaliseVersion(component.version) ?? component.version,
    exact: component.version,
    active: component.active,
    views: component.views.map(view => view.id),
    ...termsOf(component.views),
    ...(intents.length > 0 ? { intents: intents.map(each => ({ ...each })) } : {}),
    ...(component.pageTitle === undefined ? {} : { pageTitle: component.pageTitle }),
    ...(useSession ? { useSession } : {}),
    copies,
  }
}

function termsOf(views: ComponentRecord['views']): Pick<WantedComponent, 'terms'> {
  const told = views.flatMap(({ id, terms }) => (terms ? [[id, terms] as const] : []))
  return told.length > 0 ? { terms: Object.fromEntries(told) } : {}
}

/** Whatever generation: during a refresh the old one serves until the new one runs. */
const runs = (map: CloudMap, mothership: string, instance: string): boolean =>
  map.get('observed', `${mothership}/${instance}`)?.value.phase === 'running'

function forBalancer(map: CloudMap): Entries {
  const entries: Entries = new Map()
  for (const backend of backends(map)) {
    const wanted: WantedBackend = backend
    entries.set(`rainservers/${backend.id}`, wanted)
  }
  for (const id of sortedIds(map, 'replicas')) {
    const wanted: WantedReplica = { id, url: map.get('replicas', id)!.value.url }
    entries.set(`replicas/${id}`, wanted)
  }
  return entries
}
