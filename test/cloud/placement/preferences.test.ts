/** Soft terms: what decides between motherships that are about as full. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import { Fleet } from '../../../src/cloud/placement/fleet.js'
import type { Reaches } from '../../../src/cloud/placement/preferences.js'
import { type Change, put, type Resources, remove } from '../../../src/cloud/records.js'
import { defaultSettings, type SettingsPart } from '../../../src/cloud/settings.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aMothership, anInstance, aRainServer, session } from '../../support/records.js'

const at = '2026-01-01T00:00:00.000Z'
const small: Resources = { cpu: 0.2, ram: 0.2, bandwidth: 0.2 }
const settings = (part: SettingsPart): Change => put('settings', '', { schema: 1, ...part })

const inZones = (zones: Readonly<Record<string, string>>): Change[] =>
  Object.entries(zones).flatMap(([id, zone]) => [
    put('motherships', id, aMothership(id, { zone, capacity: { cpu: 1000, ram: 1000, bandwidth: 1000 } })),
    session('mothership', id),
  ])

const instance = (id: string, on: string, need: Resources = small): Change =>
  put('instances', id, anInstance(id, [on], { need }))

/** Places so many, one after the other, and returns where. */
function placed(map: MemoryMap, count: number, component = 'news', reaches?: Reaches): string[] {
  const engine = new Engine(map, () => undefined, reaches)
  return Array.from({ length: count }, (_, index) => {
    const id = `${component}.new${index}`
    const question = { component, version: '1.0.0', need: small, wish: {}, copies: 1, seed: id }
    const found = engine.place(map, question, { nowMs: 0, at })
    if (found.kind !== 'placed') throw new Error('not placed')
    engine.apply(apply(map, [instance(id, found.on[0]!)]), 0)
    return found.on[0]!
  })
}

const termsAt = (map: MemoryMap, on: string): Readonly<Record<string, number>> | undefined => {
  const question = { component: 'news', version: '1.0.0', need: small, wish: {}, copies: 1, only: on }
  const found = new Engine(map, () => undefined).place(map, question, { nowMs: 0, at })
  return found.kind === 'placed' ? found.decision.candidates[0]?.terms : undefined
}

it('spreads the copies of a version over zones, however many motherships a zone has', () => {
  const map = mapOf(...inZones({ a1: 'a', a2: 'a', a3: 'a', a4: 'a', b1: 'b', c1: 'c' }))
  const zones = placed(map, 30).map(on => on[0])
  // By how full they are alone, the four of zone a would have 20 of them.
  for (const zone of ['b', 'c']) expect(zones.filter(each => each === zone).length).toBeGreaterThanOrEqual(8)
})

it('takes a zone that has more where the others are much fuller', () => {
  const full = { cpu: 800, ram: 10, bandwidth: 10 }
  const cloud = [...inZones({ a1: 'a', a2: 'a', b1: 'b' }), instance('x.1', 'b1', full)]
  expect(new Set(placed(mapOf(...cloud), 4))).toEqual(new Set(['a1', 'a2']))
})

it('stands on three motherships before it goes where its code is', () => {
  const map = mapOf(...inZones(Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`m${index}`, 'a']))))
  const where = placed(map, 9)
  expect(new Set(where.slice(0, 3)).size).toBe(3)
  expect(new Set(where)).toEqual(new Set(where.slice(0, 3)))
})

it('takes another one where those with the code are fuller', () => {
  const map = mapOf(...inZones(Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`m${index}`, 'a']))))
  expect(new Set(placed(map, 60)).size).toBeGreaterThan(3)
})

it('goes where the rain servers that need it have a wire already', () => {
  const wired = (server: string, ...motherships: readonly string[]): Change[] => [
    put('rainservers', server, aRainServer(server)),
    put('wiring', server, {
      schema: 1,
      wires: motherships.map(id => ({ mothership: id })),
    }),
  ]
  const cloud = inZones({ m1: 'a', m2: 'a', m3: 'a' })
  const reachedBy =
    (...servers: readonly string[]): Reaches =>
    server =>
      servers.includes(server)
  // Nobody reaches the version yet, so all rain servers may.
  const both = mapOf(...cloud, ...wired('r1', 'm3'), ...wired('r2', 'm2', 'm3'))
  expect(placed(both, 1, 'news', reachedBy())).toEqual(['m3'])
  // Only r1 needs it, which has no wire to the other one that r2 has.
  const standing = ['m1'].map(on => instance(`news.${on}`, on))
  const one = mapOf(...cloud, ...standing, ...wired('r2', 'm3'), ...wired('r1', 'm1', 'm2'))
  expect(placed(one, 1, 'news', reachedBy('r1'))).toEqual(['m2'])
})

it('tells its terms, and leaves out those that speak against nothing', () => {
  const map = mapOf(...inZones({ a1: 'a', a2: 'a', b1: 'b' }), instance('news.1', 'a1'), instance('news.2', 'a2'))
  expect(termsAt(map, 'a1')).toMatchObject({ zones: 1, apart: 1 })
  expect(termsAt(map, 'b1')).not.toHaveProperty('zones')
  const three = mapOf(
    ...inZones({ a1: 'a', a2: 'a', a3: 'a', a4: 'a' }),
    ...['a1', 'a2', 'a3'].map(on => instance(`news.${on}`, on)),
  )
  expect(termsAt(three, 'a1')).not.toHaveProperty('code')
  expect(termsAt(three, 'a4')).toMatchObject({ code: 1 })
})

it('costs nothing where its weight is 0', () => {
  const cloud = [...inZones({ a1: 'a', b1: 'b' }), instance('news.1', 'a1'), instance('x.1', 'b1')]
  const evenly = mapOf(...cloud, settings({}))
  const heedless = mapOf(...cloud, settings({ preferences: { zones: 0, apart: 0, code: 0, wires: 0 } }))
  expect(placed(evenly, 1)).toEqual(['b1'])
  expect(placed(heedless, 1)).toEqual(['a1'])
})

it('knows the same however it came about, and forgets what was only tried', () => {
  const zone = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ what: fc.constant('mothership' as const), id: fc.nat(4), zone, there: fc.boolean() }),
    fc.record({ what: fc.constant('instance' as const), id: fc.nat(9), on: fc.nat(4), there: fc.boolean() }),
    fc.record({ what: fc.constant('wiring' as const), id: fc.nat(2), on: fc.nat(4), there: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(step), fc.nat(10), (steps, tried) => {
      const map = mapOf()
      const fleet = new Fleet()
      const changesOf = (each: (typeof steps)[number]): Change[] => {
        switch (each.what) {
          case 'mothership':
            return each.there
              ? inZones({ [`m${each.id}`]: each.zone })
              : [remove('motherships', `m${each.id}`), remove('sessions', `mothership/m${each.id}`)]
          case 'instance':
            return [each.there ? instance(`news.${each.id}`, `m${each.on}`) : remove('instances', `news.${each.id}`)]
          case 'wiring': {
            const wires = [{ mothership: `m${each.on}` }]
            const id = `r${each.id}`
            return each.there
              ? [put('rainservers', id, aRainServer(id)), put('wiring', id, { schema: 1, wires })]
              : [remove('rainservers', id), remove('wiring', id)]
          }
        }
      }
      const told = (of: Fleet): object =>
        Object.fromEntries(of.ids.map(id => [id, of.preferences.termsOf(of.host(id)!, 'news', '1.0.0')]))
      for (const each of steps) {
        const changes = changesOf(each)
        const before = told(fleet)
        const logged = changes.map(change => ({ ...change, before: map.get(change.kind, change.id)?.value }))
        if (tried > 5) {
          for (const change of logged) fleet.try(change)
          told(fleet)
          fleet.takeBack(0)
          expect(told(fleet)).toEqual(before)
        }
        fleet.apply(apply(map, changes))
      }
      const fresh = new Fleet()
      for (const kind of ['motherships', 'sessions', 'rainservers', 'wiring', 'instances'] as const) {
        for (const [id, { value }] of map.all(kind)) fresh.apply([put(kind, id, value) as Change])
      }
      expect(told(fleet)).toEqual(told(fresh))
    }),
  )
})

it('has weights by default that pressure outweighs', () => {
  for (const weight of Object.values(defaultSettings.preferences)) expect(weight).toBeLessThanOrEqual(0.05)
})
