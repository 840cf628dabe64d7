/**
 * A large cloud for benchmarks, as its records stand in etcd: a thousand motherships for each 333,000 instances, three
 * hundred component versions, a few rain servers. Instances are what `instantiate` writes, one copy each;
 * `checkedAgainstProduct` makes sure of that. The same every time: chance has a seed.
 */
import { instantiate } from '../../src/cloud/decide/instances.js'
import { MemoryMap } from '../../src/cloud/map.js'
import { Engine } from '../../src/cloud/placement/engine.js'
import { noPlan } from '../../src/cloud/placement/plan.js'
import {
  type Change,
  type ComponentRecord,
  defaultSettings,
  type InstanceRecord,
  type MothershipRecord,
  put,
  type RainServerRecord,
} from '../../src/cloud/records.js'

const versionsOfEach = 3
const components = 100
const instancesPerMothership = 333
const rainServers = 16
const at = '2026-03-01T12:00:00.000Z'

/** Numbers from a seed (mulberry32, T. Ettinger, public domain): uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const padded = (prefix: string, number: number): string => `${prefix}-${String(number).padStart(4, '0')}`

export const aComponent = (id: string, version: string): ComponentRecord => ({
  schema: 1,
  id,
  version,
  active: true,
  activation: [{ active: true, at, by: 'operator' }],
  description: `What ${id} is for`,
  digest: `sha256:${'a'.repeat(64)}`,
  size: 40_000,
  chunks: 1,
  deployedAt: at,
  deployedBy: 'operator',
  isolation: 'shared',
  state: 'none',
  views: [{ id: 'index', uses: [] }],
  meta: JSON.stringify({ id, version, views: [{ id: 'index' }] }),
})

export const aMothership = (id: string): MothershipRecord => ({
  schema: 1,
  id,
  address: `ws://${id}.internal:7000`,
  zone: `zone-${id.charCodeAt(id.length - 1) % 3}`,
  labels: {},
  capacity: { cpu: 64_000, ram: 65_536, bandwidth: 10_000_000 },
  cordoned: false,
  draining: null,
  announced: { zone: `zone-${id.charCodeAt(id.length - 1) % 3}`, labels: {} },
})

/** Held by a replica that is elsewhere. */
export const aSession = (id: string): Change =>
  put('sessions', `mothership/${id}`, {
    schema: 1,
    kind: 'mothership',
    id,
    replica: 'elsewhere',
    address: `ws://${id}.internal:7000`,
  })

const aRainServer = (id: string, component: string): RainServerRecord => ({
  schema: 1,
  id,
  address: `http://${id}.internal:7000`,
  urls: [`/${component}/*`],
  labels: {},
  draining: false,
  generation: 0,
  announced: { urls: [`/${component}/*`], labels: {} },
})

const versionKeys = Array.from({ length: components * versionsOfEach }, (_, index) => {
  const component = padded('component', Math.floor(index / versionsOfEach))
  return { component, version: `1.${index % versionsOfEach}.0` }
})

/** Everything that is not an instance. */
export function platform(instances: number): Change[] {
  const changes: Change[] = [put('era', '', { schema: 1, era: 1 }), put('settings', '', defaultSettings)]
  for (const { component, version } of versionKeys) {
    changes.push(put('components', `${component}/${version}`, aComponent(component, version)))
  }
  for (const id of mothershipsFor(instances)) {
    changes.push(put('motherships', id, aMothership(id)), aSession(id))
  }
  for (let index = 0; index < rainServers; index++) {
    const id = padded('rain', index)
    changes.push(put('rainservers', id, aRainServer(id, padded('component', index))))
  }
  return changes
}

const mothershipsFor = (instances: number): string[] =>
  Array.from({ length: Math.max(10, Math.ceil(instances / instancesPerMothership)) }, (_, i) => padded('mothership', i))

export function* instancesOf(count: number): Iterable<InstanceRecord> {
  const next = seeded(7)
  const hosts = mothershipsFor(count)
  const hex = (): string =>
    Math.floor(next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  for (let index = 0; index < count; index++) {
    const { component, version } = versionKeys[Math.floor(next() * versionKeys.length)]!
    const on = Math.floor(next() * hosts.length)
    const primary = hosts[on]!
    const createdAt = new Date(Date.parse(at) + index * 37).toISOString()
    yield {
      schema: 1,
      id: `${component}.${hex()}${hex()}`,
      component,
      version,
      ...(index % 4 === 0 ? { owner: padded('team', index % 50) } : {}),
      need: { cpu: 50, ram: 32, bandwidth: 100 },
      placement: {},
      epoch: 1,
      primary,
      inSync: [primary],
      learners: [],
      generation: 0,
      createdAt,
      decidedIn: 1 + Math.floor(index / 60),
    }
  }
}

/** Throws when `instantiate` writes an instance of another shape than ours. */
export function checkedAgainstProduct(): void {
  const map = new MemoryMap()
  const few = platform(3).filter(each => each.kind !== 'rainservers')
  map.apply(
    few.map(each => ({ ...each, created: 1, modified: 1 })),
    1,
  )
  const load = { cpu: 1, ram: 1, bandwidth: 1, ageMs: 100, source: 'report' as const }
  const engine = new Engine(map, () => load)
  const verdict = instantiate(
    map,
    { component: 'component-0001', version: '1.0', count: 1, bulk: false, wish: { owner: 'team-0000' } },
    {
      actor: { subject: 'bench', role: 'operator' },
      requestId: '0123456789abcdef0123456789abcdef',
      at,
      place: (on, question) => engine.place(on, question, { nowMs: 1, at }),
      plan: () => noPlan,
    },
  )
  if (verdict.kind !== 'do') throw new Error('nothing was placed')
  const [change] = verdict.steps[0]!.changes
  const [ours] = instancesOf(1)
  const [theirs, mine] = [shapeOf({ ...change!.value, decidedIn: 1 }), shapeOf(ours)]
  if (theirs !== mine) throw new Error(`the product writes another instance:\n${theirs}\n${mine}`)
}

/** Names and kinds of values, in order. */
function shapeOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.length}:${value.length === 0 ? '' : shapeOf(value[0])}]`
  if (typeof value !== 'object' || value === null) return typeof value
  const parts = Object.entries(value).map(([name, each]) => `${name}:${shapeOf(each)}`)
  return `{${parts.join(',')}}`
}
