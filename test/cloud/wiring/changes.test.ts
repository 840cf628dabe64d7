/** Wiring that follows a cloud as it changes: it holds after each change, is what it would be anew, and moves little. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { type Change, defaultSettings, phases, put, remove } from '../../../src/cloud/records.js'
import { wiringFaults } from '../../../src/cloud/wiring/check.js'
import { reachable } from '../../../src/cloud/wiring/reachable.js'
import { Wiring, wireAll } from '../../../src/cloud/wiring/wiring.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, aRainServer, session } from '../../support/records.js'

const at = '2026-01-01T00:00:00.000Z'
const components = ['news', 'shop', 'chat', 'cart'] as const
const versions = ['1.0', '1.1', '2.0'] as const
const hosts = ['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7'] as const
const servers = ['r0', 'r1', 'r2', 'r3'] as const
const component = fc.constantFrom(...components)
const version = fc.constantFrom(...versions)
const host = fc.constantFrom(...hosts)
const server = fc.constantFrom(...servers)
const often = fc.integer({ min: 0, max: 5 }).map(n => n > 0)
const rarely = often.map(yes => !yes)

const uses = fc.array(
  fc.record(
    {
      component: fc.constantFrom(...components, 'ghost'),
      version: fc.constantFrom('1', '1.0', '2'),
      any: fc.constant(false as boolean),
    },
    { requiredKeys: [] },
  ),
  { maxLength: 2 },
)
const anyUse: typeof uses = fc.constant([{ any: true }])

const urls = fc.uniqueArray(
  fc.constantFrom('/*', '/news/*', '/news/index', '/shop/1/*', '/shop/1.1/index', '/chat/*', '/ghost/*', '/core/*'),
  { minLength: 1, maxLength: 2 },
)
const intents = JSON.stringify({
  ...{ id: 'chat', version: '1.0', views: { index: {} } },
  intents: [{ category: 'c', action: 'a', provider: 'index' }],
})

const deployed = fc
  .record({
    id: component,
    version,
    active: often,
    uses: fc.oneof({ weight: 6, arbitrary: uses }, anyUse),
    intents: rarely,
  })
  .map(each =>
    put(
      'components',
      `${each.id}/${each.version}.0`,
      aComponent(each.id, each.version, {
        active: each.active,
        views: [{ id: 'index', uses: each.uses }],
        ...(each.intents ? { meta: intents } : {}),
      }),
    ),
  )

const placed = fc
  .record({
    id: component,
    version,
    n: fc.nat(3),
    on: fc.uniqueArray(host, { minLength: 1, maxLength: 6 }),
    learners: fc.nat(1),
  })
  .map(({ id, version: of, n, on, learners }) => {
    const inSync = on.slice(0, Math.max(1, on.length - learners))
    const more = { version: `${of}.0`, learners: on.slice(inSync.length) }
    return put('instances', `${id}.${of}.${n}`, anInstance(`${id}.${of}.${n}`, inSync, { ...more, component: id }))
  })
const instanceId = fc.record({ id: component, of: version, n: fc.nat(3) }).map(({ id, of, n }) => `${id}.${of}.${n}`)

const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: placed },
  { weight: 2, arbitrary: deployed },
  { weight: 1, arbitrary: instanceId.map(id => remove('instances', id)) },
  {
    weight: 6,
    arbitrary: fc
      .record({
        on: host,
        id: instanceId,
        phase: fc.oneof(fc.constant('running' as const), fc.constantFrom(...phases)),
      })
      .map(({ on, id, phase }) =>
        put('observed', `${on}/${id}`, { schema: 1, session: 1, epoch: 1, generation: 0, phase, since: at }),
      ),
  },
  fc.record({ on: host, id: instanceId }).map(({ on, id }) => remove('observed', `${on}/${id}`)),
  instanceId.map(id => put('stops', id, { schema: 1, stage: 'unwire', since: at })),
  instanceId.map(id => remove('stops', id)),
  fc.record({ id: instanceId, from: host, to: host, over: rarely }).map(({ id, from, to, over }) =>
    put('moves', id, {
      schema: 1,
      from,
      to,
      at,
      until: at,
      used: { cpu: 0, ram: 0, bandwidth: 0 },
      ...(over ? { over } : {}),
    }),
  ),
  fc
    .record({ id: host, draining: rarely })
    .map(({ id, draining }) =>
      put('motherships', id, aMothership(id, { draining: draining ? { deadline: null } : null })),
    ),
  host.map(id => remove('motherships', id)),
  { weight: 2, arbitrary: host.map(id => session('mothership', id)) },
  host.map(id => remove('sessions', `mothership/${id}`)),
  { weight: 2, arbitrary: server.map(id => session('rainserver', id)) },
  server.map(id => remove('sessions', `rainserver/${id}`)),
  {
    weight: 3,
    arbitrary: fc
      .record({ id: server, urls, draining: rarely, generation: fc.nat(2) })
      .map(({ id, ...more }) => put('rainservers', id, aRainServer(id, more))),
  },
  server.map(id => remove('rainservers', id)),
  fc.record({ component, version }).map(({ component: id, version: of }) => remove('components', `${id}/${of}.0`)),
  fc
    .record({
      redundancy: fc.integer({ min: 1, max: 4 }),
      errorComponent: fc.constantFrom(null, 'cart'),
      loadingComponent: fc.constantFrom(null, 'shop'),
    })
    .map(({ redundancy, ...standIns }) =>
      put('settings', '', { ...defaultSettings, ...standIns, wiring: { ...defaultSettings.wiring, redundancy } }),
    ),
)

const batches = fc.array(fc.array(change, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 25 })
const begun: Change[] = [
  ...hosts.flatMap(id => [put('motherships', id, aMothership(id)), session('mothership', id)]),
  ...components.map(id => put('components', `${id}/1.0.0`, aComponent(id, '1.0'))),
  ...servers.slice(0, 3).flatMap(id => [put('rainservers', id, aRainServer(id)), session('rainserver', id)]),
]

const heatOf = (id: string): number => ((Number(id.slice(1)) * 7) % 10) / 10

const step = (map: MemoryMap, wiring: Wiring, changes: readonly Change[]): void => wiring.note(apply(map, changes))

it('holds after every change, and is what it would be if it were read anew', () => {
  fc.assert(
    fc.property(batches, all => {
      const map = mapOf(...begun)
      const wiring = new Wiring(map)
      for (const batch of [[], ...all]) {
        step(map, wiring, batch)
        const anew = new Wiring(map).plan({ heatOf })
        const followed = wiring.plan({ heatOf })
        expect(followed).toEqual(anew)
        step(map, wiring, followed)
        expect(wiringFaults(map)).toEqual([])
        expect(wiring.plan({ heatOf })).toEqual([])
        expect(wiring.unconfirmed).toBe(false)
      }
    }),
    { numRuns: Number(process.env['WIRING_RUNS'] ?? 400) },
  )
})

it('holds also while wires move for load, and knows of each wire what it would know if it were read anew', () => {
  const whys = ({ graph }: Wiring): string[] =>
    [...graph.servers.values()].flatMap(server =>
      server.wires.map(each => {
        const why = graph.covers(server, each) ? 'covers' : graph.employs(server, each) ? 'employs' : 'neither'
        return `${server.id} ${graph.motherships.name(each)} ${why}`
      }),
    )
  fc.assert(
    fc.property(batches, fc.array(fc.nat(9), { minLength: 8, maxLength: 8 }), (all, heats) => {
      const map = mapOf(...begun)
      const wiring = new Wiring(map)
      const measured = (id: string): number => heats[Number(id.slice(1))]! / 10
      for (const batch of all) {
        step(map, wiring, batch)
        step(map, wiring, wiring.plan({ heatOf: measured, move: { max: 3, measured } }))
        expect(wiringFaults(map)).toEqual([])
        expect(whys(wiring).sort()).toEqual(whys(new Wiring(map)).sort())
        expect(wiring.plan({ heatOf: measured })).toEqual([])
      }
    }),
    { numRuns: 150 },
  )
})

it('knows what can be reached as it would if it were read anew', () => {
  fc.assert(
    fc.property(batches, all => {
      const map = mapOf(...begun)
      const wiring = new Wiring(map)
      for (const batch of all) {
        step(map, wiring, batch)
        const { servers: known, versions: names } = wiring.graph
        for (const { id, territory } of known.values()) {
          const list = territory.list.map(each => names.name(each)).sort()
          expect(list).toEqual(reachable(map, map.get('rainservers', id)!.value))
        }
      }
    }),
    { numRuns: 400 },
  )
})

it('is settled when what it gave out was lost', () => {
  const map = mapOf(...begun, put('instances', 'news.1.0.0', anInstance('news.1.0.0', ['m1'], { component: 'news' })))
  const wiring = new Wiring(map)
  const given = wiring.plan()
  expect(given).toHaveLength(3)
  expect(wiring.unconfirmed).toBe(true)
  // The transaction did not land: it is given out once more.
  expect(wiring.plan()).toEqual(given)
  step(map, wiring, given)
  expect([wiring.unconfirmed, wiring.plan()]).toEqual([false, []])
  expect(wireAll(map).get('r1')?.wires).toEqual([{ mothership: 'm1' }])
})
