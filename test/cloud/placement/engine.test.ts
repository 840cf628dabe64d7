import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PlacementQuestion, PlacementResult } from '../../../src/cloud/decide/verdict.js'
import { Draft } from '../../../src/cloud/draft.js'
import { overbooked, violations } from '../../../src/cloud/invariants.js'
import type { CloudMap } from '../../../src/cloud/map.js'
import { Engine, type LoadOf } from '../../../src/cloud/placement/engine.js'
import { Fleet } from '../../../src/cloud/placement/fleet.js'
import type { Host } from '../../../src/cloud/placement/host.js'
import { Recent } from '../../../src/cloud/placement/recent.js'
import { nothing } from '../../../src/cloud/placement/resources.js'
import { firstObjection } from '../../../src/cloud/placement/rules/index.js'
import {
  type Change,
  defaultSettings,
  type InstanceRecord,
  type PlacementWish,
  put,
  type Resources,
  remove,
} from '../../../src/cloud/records.js'
import {
  apply,
  capacities,
  clouds,
  componentNames,
  contentOf,
  loads,
  mapOf,
  resources,
  wishes,
} from '../../support/clouds.js'
import { aMothership, anInstance, motherships } from '../../support/records.js'

const at = '2026-01-01T00:00:00.000Z'
const noLoads: LoadOf = () => undefined

type Act =
  | { readonly do: 'place'; readonly component: string; readonly need: Resources; readonly wish: PlacementWish }
  | { readonly do: 'copy' | 'stop'; readonly which: number }
  | { readonly do: 'cordon' | 'leave'; readonly mothership: number }

const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('place' as const),
        component: fc.constantFrom(...componentNames),
        need: resources,
        wish: wishes,
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('copy' as const, 'stop' as const), which: fc.nat(30) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('cordon' as const, 'leave' as const), mothership: fc.nat(6) }),
    },
  ),
  { maxLength: 30 },
)

type Place = (map: CloudMap, question: PlacementQuestion) => PlacementResult

/** What the leader would do on this map; nothing when it is refused. */
function decide(map: CloudMap, act: Act, index: number, place: Place): Change[] {
  switch (act.do) {
    case 'place': {
      const version = [...map.versionsOf(act.component)].sort()[0]?.split('/')[1]
      if (version === undefined) return []
      const { component, need, wish } = act
      const found = place(map, { component, version, need, wish, copies: wish.copies ?? 1 })
      if (found.kind === 'nowhere') return []
      const id = `${component}.${index}`
      return [put('instances', id, anInstance(id, found.on, { version, need, placement: wish }))]
    }
    case 'copy': {
      const instance = nth(map, act.which)
      if (!instance) return []
      const { component, version, need, placement: wish } = instance
      const found = place(map, { component, version, need, wish, copies: 1, instance })
      if (found.kind === 'nowhere') return []
      return [put('instances', instance.id, { ...instance, learners: [...instance.learners, ...found.on] })]
    }
    case 'stop': {
      const instance = nth(map, act.which)
      return instance ? [remove('instances', instance.id)] : []
    }
    case 'cordon': {
      const record = map.get('motherships', `m${act.mothership}`)?.value
      return record ? [put('motherships', record.id, { ...record, cordoned: !record.cordoned })] : []
    }
    case 'leave':
      return map.get('sessions', `mothership/m${act.mothership}`)
        ? [remove('sessions', `mothership/m${act.mothership}`)]
        : []
  }
}

function nth(map: CloudMap, which: number): InstanceRecord | undefined {
  const ids = [...map.all('instances')].map(([id]) => id).sort()
  return map.get('instances', ids[which % Math.max(1, ids.length)] ?? '')?.value
}

const known = (host: Host): object => ({
  id: host.id,
  copies: componentNames.map(name => ({ ...host.copiesOf(name) })),
  large: host.holdsLarge,
  reserved: { ...host.reserved },
  placedSince: { ...host.placedSince },
  measured: host.measured,
})

/** Each act committed before the next one is decided. */
function oneByOne(cloud: readonly Change[], run: readonly Act[], loadOf: LoadOf): CloudMap {
  const map = mapOf(...cloud)
  const engine = new Engine(map, loadOf)
  run.forEach((act, index) => {
    const changes = decide(map, act, index, (on, question) => engine.place(on, question, { nowMs: 50_000, at }))
    if (changes.length > 0) engine.apply(apply(map, changes), 50_000)
  })
  return map
}

/** Batches of several acts, each act on a draft over the batch's draft, thrown away afterwards as the queue does. */
function inBatches(cloud: readonly Change[], run: readonly Act[], size: number, loadOf: LoadOf): CloudMap {
  const map = mapOf(...cloud)
  const engine = new Engine(map, loadOf)
  for (let from = 0; from < run.length; from += size) {
    const draft = new Draft(map)
    run.slice(from, from + size).forEach((act, offset) => {
      const inner = new Draft(draft)
      inner.add(decide(inner, act, from + offset, (on, question) => engine.place(on, question, { nowMs: 50_000, at })))
      if (offset % 3 === 1) decide(draft, act, 999, (on, question) => engine.place(on, question, { nowMs: 50_000, at }))
      draft.add(inner.changes())
    })
    engine.apply(apply(map, draft.changes()), 50_000)
  }
  return map
}

/** Without what is known from before: everything is added up anew for each decision. */
function afresh(cloud: readonly Change[], run: readonly Act[]): CloudMap {
  const map = mapOf(...cloud)
  run.forEach((act, index) => {
    const place: Place = (on, question) => new Engine(on, noLoads).place(on, question, { nowMs: 50_000, at })
    apply(map, decide(map, act, index, place))
  })
  return map
}

describe('the placement engine', () => {
  it('never gives away more than there is, nor breaks a rule of the map, whatever is done', () => {
    fc.assert(
      fc.property(clouds, acts, loads, (cloud, run, loadOf) => {
        const map = oneByOne(cloud, run, loadOf)
        expect([...violations(map), ...overbooked(map)]).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  it('places only where a mothership is there, open and as wished', () => {
    fc.assert(
      fc.property(clouds, acts, loads, resources, wishes, (cloud, run, loadOf, need, wish) => {
        const map = oneByOne(cloud, run, loadOf)
        const question = { component: 'news', version: '1.0.0', need, wish, copies: wish.copies ?? 1 }
        const found = new Engine(map, loadOf).place(map, question, { nowMs: 50_000, at })
        for (const id of found.kind === 'placed' ? found.on : []) {
          const { cordoned, draining, labels, zone } = map.get('motherships', id)!.value
          expect({ cordoned, draining, here: map.get('sessions', `mothership/${id}`) !== undefined }).toEqual({
            cordoned: false,
            draining: null,
            here: true,
          })
          expect(labels).toMatchObject(wish.labels ?? {})
          if (wish.zones?.length) expect(wish.zones).toContain(zone)
        }
        if (found.kind === 'placed') {
          expect(new Set(found.on).size).toBe(found.on.length)
          expect(found.on.length + (found.missing ?? 0)).toBe(wish.copies ?? 1)
        } else expect(found.reasons.length).toBe(Math.max(1, map.count('motherships')))
      }),
      { numRuns: 300 },
    )
  })

  it('decides in batches what it decides one by one, and what it decides when it adds up everything anew', () => {
    fc.assert(
      fc.property(clouds, acts, fc.integer({ min: 1, max: 8 }), loads, (cloud, run, size, loadOf) => {
        expect(contentOf(inBatches(cloud, run, size, noLoads))).toEqual(contentOf(oneByOne(cloud, run, noLoads)))
        expect(contentOf(afresh(cloud, run))).toEqual(contentOf(oneByOne(cloud, run, noLoads)))
        expect(contentOf(oneByOne(cloud, run, loadOf))).toEqual(contentOf(oneByOne(cloud, run, loadOf)))
      }),
      { numRuns: 300 },
    )
  })

  it('sees what a batch placed since the load was measured, as if it were committed', () => {
    const places = (act: Act): boolean => act.do !== 'stop'
    fc.assert(
      fc.property(clouds, acts, fc.integer({ min: 1, max: 8 }), loads, (cloud, run, size, loadOf) => {
        const growing = run.filter(places)
        expect(contentOf(inBatches(cloud, growing, size, loadOf))).toEqual(contentOf(oneByOne(cloud, growing, loadOf)))
      }),
      { numRuns: 300 },
    )
  })

  it('knows after a commit what one that tried nothing knows: of all of a batch, a part, in another order or changed', () => {
    type Committed = (changes: Change[]) => Change[]
    const alike: Committed = changes => structuredClone(changes)
    const some: Committed = changes => changes.slice(0, Math.ceil(changes.length / 2))
    const others: Committed = changes => [...some(changes), put('instances', 'news.x', anInstance('news.x', ['m1']))]
    const backwards: Committed = changes => [...changes].reverse()
    const larger: Committed = changes =>
      changes.map((change, index) => {
        if (index % 3 !== 2 || change.kind !== 'instances' || !change.value) return change
        return put('instances', change.id, { ...change.value, need: { cpu: 300, ram: 128, bandwidth: 7 } })
      })
    const ways = fc.array(
      fc.constantFrom<Committed>(changes => changes, alike, some, others, backwards, larger),
      {
        minLength: 30,
      },
    )
    fc.assert(
      fc.property(clouds, acts, fc.integer({ min: 1, max: 8 }), loads, ways, (cloud, run, size, loadOf, way) => {
        const map = mapOf(...cloud)
        const [trying, plain] = [new Engine(map, loadOf), new Engine(map, loadOf)]
        // Both look at the loads now, and no more in this millisecond.
        for (const engine of [trying, plain]) engine.hosts(map, 50_000)
        for (let from = 0; from < run.length; from += size) {
          const draft = new Draft(map)
          run.slice(from, from + size).forEach((act, offset) => {
            const place: Place = (on, question) => trying.place(on, question, { nowMs: 50_000, at })
            draft.add(decide(draft, act, from + offset, place))
          })
          const committed = apply(map, way[from]!(draft.changes()))
          for (const engine of [trying, plain]) engine.apply(committed, 50_000)
          const [tried, untried] = [trying.hosts(map, 50_000), plain.hosts(map, 50_000)]
          expect(tried.map(known)).toEqual(untried.map(known))
        }
        const question = { component: 'news', version: '1.0.0', need: nothing, wish: {}, copies: 2, explain: true }
        const found = trying.place(map, question, { nowMs: 50_000, at })
        expect(found).toEqual(plain.place(map, question, { nowMs: 50_000, at }))
      }),
      { numRuns: 300 },
    )
  })

  it('counts what was placed after a sample on top of it, and no more when a newer sample is there', () => {
    const map = mapOf(...motherships('m1', 'm2'))
    let sampledAtMs = 1_000
    let nowMs = 1_100
    const engine = new Engine(map, () => ({ cpu: 0, ram: 0, bandwidth: 0, ageMs: nowMs - sampledAtMs }))
    const need = { cpu: 1_500, ram: 0, bandwidth: 0 }
    const instance = anInstance('news.a', ['m1'], { need })
    engine.apply(apply(map, [put('instances', 'news.a', instance)]), nowMs)
    // Reservation gone, but the mothership may still be at it: only the measure speaks for it.
    engine.apply(apply(map, [remove('instances', 'news.a')]), nowMs)
    const ask = (): PlacementResult =>
      engine.place(map, { component: 'news', version: '1.0.0', need, wish: {}, copies: 1, only: 'm1' }, { nowMs, at })

    expect(ask()).toMatchObject({ reasons: [{ rule: 'below-ceiling' }] })
    nowMs = 3_000
    sampledAtMs = 2_900
    expect(ask()).toMatchObject({ on: ['m1'] })
  })

  it('forgets a draft that came to nothing', () => {
    const map = mapOf(...motherships('m1'))
    const engine = new Engine(map, noLoads)
    const question = {
      component: 'news',
      version: '1.0.0',
      need: { cpu: 1_500, ram: 0, bandwidth: 0 },
      wish: {},
      copies: 1,
    }
    const first = new Draft(map)
    first.add([put('instances', 'news.a', anInstance('news.a', ['m1'], { need: question.need }))])

    expect(engine.place(first, question, { nowMs: 0, at }).kind).toBe('nowhere')
    expect(engine.place(new Draft(map), question, { nowMs: 0, at }).kind).toBe('placed')
    expect(engine.place(first, question, { nowMs: 0, at }).kind).toBe('nowhere')
    expect(engine.place(map, question, { nowMs: 0, at }).kind).toBe('placed')
  })

  it('forgets what a draft said of motherships and their sessions', () => {
    const map = mapOf(...motherships('m1', 'm2'))
    const engine = new Engine(map, noLoads)
    const question = { component: 'news', version: '1.0.0', need: nothing, wish: {}, copies: 2 }
    const place = (on: CloudMap): PlacementResult => engine.place(on, question, { nowMs: 0, at })
    const draft = new Draft(map)
    draft.add([
      remove('sessions', 'mothership/m1'),
      remove('motherships', 'm2'),
      ...motherships('m0'),
      put('motherships', 'm3', aMothership('m3')),
    ])

    expect(place(draft)).toMatchObject({ on: ['m0'] })
    expect(place(map)).toMatchObject({ on: ['m1', 'm2'] })
    engine.apply(apply(map, draft.changes()), 0)
    expect(place(map)).toMatchObject({ on: ['m0'] })
  })
})

describe('the fleet', () => {
  it('keeps sums exact through years of adding and taking away', () => {
    const fleet = new Fleet()
    const stays = { cpu: 0.3, ram: 0.6, bandwidth: 0.9 }
    fleet.apply([...motherships('m1'), put('instances', 'x.stays', anInstance('x.stays', ['m1'], { need: stays }))])
    const before: InstanceRecord[] = []
    for (let i = 0; i < 300; i++) {
      const need = { cpu: 0.1 * i, ram: 0.7 * i, bandwidth: i / 3 }
      fleet.apply([put('instances', `x.${i}`, anInstance(`x.${i}`, ['m1'], { need }))])
      before.push(anInstance(`x.${i}`, ['m1'], { need }))
      if (i % 2 === 1) fleet.apply(before.splice(0).map(each => ({ ...remove('instances', each.id), before: each })))
    }

    expect(fleet.host('m1')!.reserved).toEqual(stays)
  })

  it('knows what stands on a mothership that is registered again', () => {
    const fleet = new Fleet()
    const need = { cpu: 100, ram: 64, bandwidth: 10 }
    fleet.apply([...motherships('m1'), put('instances', 'x.a', anInstance('x.a', ['m1'], { need }))])
    fleet.apply([remove('motherships', 'm1')])
    expect(fleet.host('m1')).toBeUndefined()
    fleet.apply([put('motherships', 'm1', aMothership('m1'))])

    expect(fleet.host('m1')).toMatchObject({ reserved: need, connected: true })
  })

  it('remembers what was placed lately in little room, however much it was', () => {
    const recent = new Recent()
    const one = { cpu: 1, ram: 1, bandwidth: 1 }
    for (let ms = 0; ms < 100_000; ms++) recent.note(one, ms)

    expect(recent.since(99_900)).toEqual({ cpu: 100, ram: 100, bandwidth: 100 })
    expect(recent.since(99_850).cpu).toBe(200)
    expect(recent.since(0).cpu).toBeLessThan(40_000)
  })
})

describe('the rules of placement', () => {
  const hosts = fc.record({
    capacity: capacities,
    reserved: resources,
    placedSince: resources,
    measured: fc.option(resources),
  })
  const hostOf = ({
    capacity,
    reserved,
    placedSince,
    measured,
  }: {
    capacity: Resources
    reserved: Resources
    placedSince: Resources
    measured: Resources | null
  }): Host => ({
    id: 'm1',
    record: aMothership('m1', { capacity }),
    connected: true,
    reserved,
    placedSince,
    measured: measured ? { ...measured, ageMs: 0 } : undefined,
    copiesOf: () => ({ all: 0, alone: 0 }),
    quarantineOf: () => undefined,
    holdsLarge: false,
  })
  const add = (a: Resources, b: Resources): Resources => ({
    cpu: a.cpu + b.cpu,
    ram: a.ram + b.ram,
    bandwidth: a.bandwidth + b.bandwidth,
  })

  it('never take back a refusal because there is less room, more load or more need', () => {
    fc.assert(
      fc.property(hosts, resources, resources, resources, resources, (host, need, taken, loaded, more) => {
        const { overcommit, ceilings } = defaultSettings
        const asked = { component: 'news', version: '1.0.0', need, wish: {}, taken: [], overcommit, ceilings }
        if (firstObjection(hostOf(host), asked) === undefined) return
        const fuller = hostOf({ ...host, reserved: add(host.reserved, taken) })
        const busier = hostOf({ ...host, measured: add(host.measured ?? loaded, loaded) })
        expect(firstObjection(fuller, asked)).toBeDefined()
        expect(firstObjection(busier, asked)).toBeDefined()
        expect(firstObjection(hostOf(host), { ...asked, need: add(need, more) })).toBeDefined()
      }),
      { numRuns: 1_000 },
    )
  })
})
