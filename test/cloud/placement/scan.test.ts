/** The scan over columns, against asking every rule of every mothership; and samples of many. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PlacementQuestion, type PlacementResult, settingsOf } from '../../../src/cloud/decide/verdict.js'
import { byId } from '../../../src/cloud/ids.js'
import { type CloudMap, copiesOf } from '../../../src/cloud/map.js'
import { appraisalOf } from '../../../src/cloud/placement/appraise.js'
import { Engine, type LoadOf } from '../../../src/cloud/placement/engine.js'
import { Fleet } from '../../../src/cloud/placement/fleet.js'
import type { Asked } from '../../../src/cloud/placement/host.js'
import { firstObjection } from '../../../src/cloud/placement/rules/index.js'
import { allUpTo, sample } from '../../../src/cloud/placement/sample.js'
import { type PreferenceTerms, scoreOf } from '../../../src/cloud/placement/score.js'
import { type Change, type InstanceRecord, put, remove } from '../../../src/cloud/records.js'
import { defaultSettings } from '../../../src/cloud/settings.js'
import {
  apply as applyTo,
  clouds,
  componentNames,
  loads,
  mapOf,
  resources,
  settings,
  wishes,
} from '../../support/clouds.js'
import { aMothership, anInstance, aRainServer, motherships, session } from '../../support/records.js'

const at = '2026-01-01T00:00:00.000Z'
const noLoads: LoadOf = () => undefined

const copies: fc.Arbitrary<InstanceRecord[]> = fc
  .array(
    fc.record({
      component: fc.constantFrom(...componentNames),
      need: resources,
      placement: wishes,
      on: fc.uniqueArray(fc.nat(6), { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 20 },
  )
  .map(all =>
    all.map(({ component, need, placement, on }, index) => {
      const hosts = on.map(each => `m${each}`)
      return anInstance(`${component}.${index}`, hosts, { need, placement })
    }),
  )

const wirings: fc.Arbitrary<Change[]> = fc
  .array(fc.record({ wires: fc.uniqueArray(fc.nat(6), { maxLength: 4 }), needs: fc.boolean() }), { maxLength: 4 })
  .map(all =>
    all.flatMap(({ wires, needs }, index) => [
      put('rainservers', `r${index}`, aRainServer(`r${index}`, { urls: [needs ? '/news/*' : '/shop/*'] })),
      put('wiring', `r${index}`, { schema: 1, wires: wires.map(on => ({ mothership: `m${on}` })) }),
    ]),
  )

const reachesIn =
  (map: CloudMap) =>
  (server: string): boolean =>
    map.get('rainservers', server)?.value.urls.includes('/news/*') === true

/** What speaks against a mothership for `news/1.0.0`, counted anew from everything. */
function preferencesBy(map: CloudMap, mothership: string): PreferenceTerms {
  const copies = [...map.all('instances')]
    .map(([, { value }]) => value)
    .filter(each => each.component === 'news' && each.version === '1.0.0')
    .flatMap(each => copiesOf(each))
  const zoneOf = (id: string): string | null => {
    const record = map.get('motherships', id)?.value
    return record ? (record.zone ?? '') : null
  }
  const zones = new Set([...map.all('motherships')].map(([id]) => zoneOf(id)))
  const inZone = (zone: string | null): number => copies.filter(id => zoneOf(id) === zone).length
  const fewest = Math.min(...[...zones].map(inZone))
  const here = copies.includes(mothership)
  const holding = new Set(copies).size
  const few = holding < 3
  const wired = [...map.all('wiring')]
  const needing = wired.filter(([id]) => reachesIn(map)(id))
  const servers = (needing.length > 0 ? needing : wired).map(([, { value }]) => value.wires)
  const without = servers.filter(wires => !wires.some(each => each.mothership === mothership))
  return {
    zones: copies.length === 0 ? 0 : (inZone(zoneOf(mothership)) - fewest) / copies.length,
    apart: few && here ? 1 : 0,
    code: !few && !here ? 3 / holding : 0,
    wires: servers.length === 0 ? 0 : without.length / servers.length,
  }
}

const put1 = (instance: InstanceRecord): Change => put('instances', instance.id, instance)

describe('a decision over the columns', () => {
  it('is the best of those to which no rule objects, and counts what each rule refused', () => {
    fc.assert(
      fc.property(
        clouds,
        copies,
        wirings,
        loads,
        settings,
        resources,
        wishes,
        fc.boolean(),
        (cloud, standing, wired, loadOf, set, need, wish, further) => {
          const instance = further ? standing[0] : undefined
          const changes = [...cloud, ...wired, ...standing.map(put1)]
          const map = mapOf(...changes, put('settings', '', set))
          const fleet = new Fleet(reachesIn(map))
          fleet.apply(changes)
          fleet.measure(loadOf, 50_000, defaultSettings.load)
          const { overcommit, ceilings } = set
          const taken = instance ? copiesOf(instance) : []
          const asked: Asked = { component: 'news', version: '1.0.0', need, wish, taken, overcommit, ceilings }
          const objections = fleet.hosts().map(host => firstObjection(host, asked)?.rule)
          const good = fleet.hosts().filter((_, index) => objections[index] === undefined)
          fleet.populate(() => standing)
          const appraisal = appraisalOf(fleet, need, set)
          const scores = new Map(
            good.map(host => [host.id, scoreOf(host, need, set, preferencesBy(map, host.id), appraisal).score]),
          )
          const counts: Record<string, number> = {}
          for (const rule of objections) if (rule !== undefined) counts[rule] = (counts[rule] ?? 0) + 1

          const question = {
            component: 'news',
            version: '1.0.0',
            need,
            wish,
            copies: 1,
            ...(instance ? { instance } : {}),
          }
          const found = new Engine(map, loadOf, reachesIn(map)).place(map, question, { nowMs: 50_000, at })

          expect(found.kind).toBe(good.length > 0 ? 'placed' : 'nowhere')
          if (found.kind !== 'placed') return
          const best = Math.max(...scores.values())
          expect(scores.get(found.on[0]!)).toBeCloseTo(best, 9)
          expect(found.decision.refusedByRule).toEqual(counts)
          expect(found.decision.candidates).toHaveLength(Math.min(3, good.length))
          const told = found.decision.candidates.map(each => scores.get(each.mothership)!)
          const sorted = [...scores.values()].sort((a, b) => b - a)
          told.forEach((score, place) => void expect(score).toBeCloseTo(sorted[place]!, 9))
        },
      ),
      { numRuns: 500 },
    )
  })

  it('falls to the lowest id among equals, whoever was registered first', () => {
    const ids = Array.from({ length: 40 }, (_, index) => `m${index}`)
    fc.assert(
      fc.property(fc.shuffledSubarray(ids, { minLength: 1 }), order => {
        const map = mapOf(...motherships(...order))
        const question = { component: 'news', version: '1.0.0', need: resourcesOf(1), wish: {}, copies: 3 }
        const found = new Engine(map, noLoads).place(map, question, { nowMs: 0, at })
        expect(found).toMatchObject({ on: [...order].sort(byId).slice(0, 3) })
      }),
    )
  })

  it('is the best of hundreds of all sizes, while they fill, change and close', () => {
    const step = fc.record({
      what: fc.constantFrom('place', 'place', 'place', 'place', 'resize', 'cordon', 'leave', 'weigh'),
      which: fc.nat(199),
      need: fc.constantFrom(...[5, 100, 700].flatMap(cpu => [10, 900].map(ram => ({ cpu, ram, bandwidth: cpu })))),
    })
    const many = fc.integer({ min: 20, max: 200 })
    fc.assert(
      fc.property(many, fc.integer({ min: 1, max: 300 }), loads, fc.array(step), (count, kinds, loadOf, steps) => {
        const sized = (index: number, kind: number): Change =>
          put('motherships', `m${index}`, {
            ...aMothership(`m${index}`),
            capacity: { cpu: 1000 + kind * 37, ram: 4096 - kind * 5, bandwidth: 2000 },
          })
        const changes = Array.from({ length: count }, (_, index) => [
          sized(index, index % kinds),
          session('mothership', `m${index}`),
        ]).flat()
        const map = mapOf(...changes, put('settings', '', defaultSettings))
        const engine = new Engine(map, loadOf)
        const change = (...some: Change[]): void => engine.apply(applyTo(map, some), 50_000)
        for (const [turn, { what, which, need }] of steps.entries()) {
          const id = `m${which % count}`
          const there = map.get('motherships', id)?.value
          if (what === 'resize') change(sized(which % count, (turn * 7) % 300))
          if (what === 'cordon' && there) change(put('motherships', id, { ...there, cordoned: !there.cordoned }))
          if (what === 'leave' && there) change(remove('motherships', id))
          if (what === 'weigh') {
            change(put('settings', '', { ...defaultSettings, weights: { cpu: which / 50, ram: 1, bandwidth: 0.2 } }))
          }
          if (what !== 'place') continue
          const set = settingsOf(map)
          const { overcommit, ceilings } = set
          const question = { component: 'news', version: '1.0.0', need, wish: {}, copies: 1 }
          const asked: Asked = { ...question, taken: [], overcommit, ceilings }
          const hosts = engine.hosts(map, 50_000)
          const objections = hosts.map(host => firstObjection(host, asked)?.rule)
          const scores = hosts.flatMap((host, index) =>
            objections[index] === undefined ? [scoreOf(host, need, set, preferencesBy(map, host.id)).score] : [],
          )
          const found = engine.place(map, question, { nowMs: 50_000, at })
          if (found.kind !== 'placed') {
            expect(scores).toEqual([])
            continue
          }
          const best = scores.sort((a, b) => b - a).slice(0, 3)
          expect(found.decision.candidates.map(each => each.score)).toEqual(best.map(each => expect.closeTo(each, 3)))
          const refused = Object.values(found.decision.refusedByRule).reduce((sum, each) => sum + each, 0)
          expect(refused).toBe(objections.filter(each => each !== undefined).length)
          const on = hosts.find(host => host.id === found.on[0])!
          expect(scoreOf(on, need, set, preferencesBy(map, on.id)).score).toBeCloseTo(best[0]!, 9)
          change(put1(anInstance(`news.${turn}`, [...found.on], { need })))
        }
      }),
      { numRuns: 150 },
    )
  })

  it('keeps its columns in step with motherships that come and go', () => {
    const steps = fc.array(fc.record({ id: fc.nat(12), there: fc.boolean(), cpu: fc.integer({ min: 1, max: 9 }) }))
    fc.assert(
      fc.property(steps, changes => {
        const fleet = new Fleet()
        for (const { id, there, cpu } of changes) {
          const name = `m${id}`
          const capacity = { cpu: cpu * 1000, ram: 4096, bandwidth: 1000 }
          fleet.apply([there ? put('motherships', name, aMothership(name, { capacity })) : remove('motherships', name)])
          fleet.apply([session('mothership', name)])
        }
        const fresh = new Fleet()
        fresh.apply(
          fleet
            .hosts()
            .flatMap(({ record }) => [put('motherships', record.id, record), session('mothership', record.id)]),
        )
        expect(fleet.ids).toEqual(fresh.ids)
        const numbers = (of: Fleet): number[] => [...of.columns.numbers.subarray(0, of.ids.length * 9)]
        expect(numbers(fleet)).toEqual(numbers(fresh))
        expect(fleet.ids.map(id => fleet.indexOf(id))).toEqual(fleet.ids.map((_, index) => index))
      }),
    )
  })
})

const resourcesOf = (cpu: number): { cpu: number; ram: number; bandwidth: number } => ({
  cpu,
  ram: cpu,
  bandwidth: cpu,
})

describe('a sample of many motherships', () => {
  const many = Array.from({ length: 3_000 }, (_, index) => `m${index}`)
  const place = (changes: readonly Change[], more: Partial<PlacementQuestion> = {}): PlacementResult => {
    const map = mapOf(...changes)
    const question = { component: 'news', version: '1.0.0', need: resourcesOf(100), wish: {}, copies: 1, ...more }
    return new Engine(map, noLoads).place(map, question, { nowMs: 0, at })
  }

  it('stays within what there is, and looks at all where they are few', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20_000 }), fc.integer(), (count, seed) => {
        const looked = new Set<number>()
        let all = 0
        sample(count, seed, (from, to) => {
          expect(from).toBeGreaterThanOrEqual(0)
          expect(to).toBeLessThanOrEqual(count)
          all += to - from
          for (let index = from; index < to; index++) looked.add(index)
        })
        expect(looked.size).toBe(all)
        if (count <= allUpTo) expect(all).toBe(count)
        // The last block may be a part of one.
        else expect(all).toBeGreaterThan(224)
        expect(all).toBeLessThanOrEqual(allUpTo)
      }),
    )
  })

  it('is the same for the same seed, whatever the order in which they were registered, and another for another one', () => {
    const [there, back] = [motherships(...many), motherships(...[...many].reverse())]
    const one = place(there, { seed: 'news.a' })
    expect(place(back, { seed: 'news.a' })).toEqual(one)
    const seeds = Array.from({ length: 20 }, (_, index) => place(there, { seed: `news.${index}` }))
    expect(new Set(seeds.map(each => each.kind === 'placed' && each.on[0])).size).toBeGreaterThan(5)
  })

  it('finds the only mothership that has room, or is as wished', () => {
    const full = many
      .filter(id => id !== 'm1234')
      .map(id => put1(anInstance(`x.${id}`, [id], { need: { cpu: 2000, ram: 0, bandwidth: 0 } })))
    expect(place([...motherships(...many), ...full])).toMatchObject({ on: ['m1234'] })

    const labelled = put('motherships', 'm77', aMothership('m77', { labels: { disk: 'ssd' } }))
    const found = place([...motherships(...many), labelled], { wish: { labels: { disk: 'ssd' } } })
    expect(found).toMatchObject({ on: ['m77'], decision: { refusedByRule: { labels: 2_999 } } })
  })

  it('spreads as evenly as looking at all of them does', () => {
    const map = mapOf(...motherships(...many))
    const engine = new Engine(map, noLoads)
    const counts = new Map<string, number>()
    for (let index = 0; index < 9_000; index++) {
      const need = { cpu: 100, ram: 100, bandwidth: 100 }
      const question = { component: 'news', version: '1.0.0', need, wish: {}, copies: 1, seed: `news.${index}` }
      const found = engine.place(map, question, { nowMs: 0, at })
      const on = found.kind === 'placed' ? found.on[0]! : ''
      counts.set(on, (counts.get(on) ?? 0) + 1)
      engine.apply([put1(anInstance(`news.${index}`, [on], { need }))], 0)
    }
    expect(counts.size).toBe(3_000)
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(4)
    expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(2)
  })
})
