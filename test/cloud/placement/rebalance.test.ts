/** The mover: what it moves, what it leaves alone, and that it agrees with the placer. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stepsOf } from '../../../src/cloud/decide/rebalance.js'
import { settingsOf } from '../../../src/cloud/decide/verdict.js'
import { overbooked, violations } from '../../../src/cloud/invariants.js'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import type { MeasuredLoad } from '../../../src/cloud/placement/host.js'
import type { RebalancePlan } from '../../../src/cloud/placement/plan.js'
import { evennessOf, planRebalance, type RebalanceInput } from '../../../src/cloud/placement/rebalance.js'
import { type Change, put, type Resources } from '../../../src/cloud/records.js'
import { defaultSettings, type SettingsPart } from '../../../src/cloud/settings.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../../support/records.js'

const at = '2026-01-01T00:10:00.000Z'
const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
const cpu = (amount: number): Resources => ({ cpu: amount, ram: 10, bandwidth: 10 })
const component = put('components', 'news/1.0.0', aComponent('news', '1.0.0'))
const settings = (part: SettingsPart): Change => put('settings', '', { schema: 1, ...part })

const motherships = (...ids: string[]): Change[] =>
  ids.flatMap(id => [put('motherships', id, aMothership(id, { capacity })), session('mothership', id)])

/** Instances that run, of so much cpu each. */
function running(mothership: string, count: number, need: Resources, name = mothership): Change[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `news.${name}-${String(index).padStart(3, '0')}`
    const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: at }
    return [
      put('instances', id, { ...anInstance(id, [mothership]), need, placement: {} }),
      put('observed', `${mothership}/${id}`, observed),
    ]
  }).flat()
}

interface More {
  readonly loads?: Readonly<Record<string, MeasuredLoad>>
  readonly usageOf?: RebalanceInput['usageOf']
  readonly movesMax?: number
  readonly at?: string
}

function inputOf(
  map: MemoryMap,
  { loads = {}, usageOf = () => undefined, movesMax = 100, at: now = at }: More = {},
): RebalanceInput {
  const engine = new Engine(map, id => loads[id])
  return {
    map,
    settings: settingsOf(map),
    place: (over, question) => engine.place(over, question, { nowMs: 0, at: now }),
    hosts: over => engine.hosts(over, 0),
    usageOf,
    movesMax,
    at: now,
  }
}

const planned = (map: MemoryMap, more: More = {}): RebalancePlan => planRebalance(inputOf(map, more))

const routes = ({ moves }: RebalancePlan): string[] => moves.map(each => `${each.instance} ${each.from}>${each.to}`)

/** The map as it is when all moves of the plan have arrived, and their cool-downs last. */
function arrived(map: MemoryMap, plan: RebalancePlan): MemoryMap {
  const changes: Change[] = []
  for (const step of stepsOf(map, plan.moves, at)) {
    for (const each of step.changes) {
      if (each.kind === 'moves' && each.value) changes.push(put('moves', each.id, { ...each.value, over: true }))
    }
  }
  for (const { instance, from, to } of plan.moves) {
    const before = map.get('instances', instance)!.value
    const on = (ids: readonly string[]): string[] => ids.map(id => (id === from ? to : id))
    changes.push(
      put('instances', instance, { ...before, primary: on([before.primary])[0]!, inSync: on(before.inSync) }),
    )
    const observed = map.get('observed', `${from}/${instance}`)!.value
    changes.push(put('observed', `${to}/${instance}`, observed), {
      kind: 'observed',
      id: `${from}/${instance}`,
      value: null,
    })
  }
  map.apply(
    changes.map(each => ({ ...each, created: 2, modified: 2 })),
    map.order.revision + 1,
  )
  return map
}

describe('a rebalance', () => {
  it('uses a mothership that came, until all are about as full', () => {
    const map = mapOf(
      component,
      ...motherships('m1', 'm2', 'm3'),
      ...running('m1', 6, cpu(100)),
      ...running('m2', 6, cpu(100)),
    )
    const plan = planned(map)
    expect(plan.before).toEqual({ imbalance: 0.4, inUse: 2 })
    expect(plan.after.imbalance).toBeLessThanOrEqual(0.1)
    expect(plan.moves.length).toBeGreaterThan(0)
    expect(plan.moves.every(each => each.to === 'm3' && each.gain >= defaultSettings.rebalance.minGain)).toBe(true)
  })

  it('uses one that came beside many, though none of them is much above the mean', () => {
    const ids = Array.from({ length: 8 }, (_, index) => `m${index}`)
    const map = mapOf(component, ...motherships(...ids, 'm9'), ...ids.flatMap(id => running(id, 10, cpu(50))))
    const plan = planned(map)
    expect(plan.before.imbalance).toBeCloseTo(0.444, 3)
    expect(plan.moves.every(each => each.to === 'm9')).toBe(true)
    expect(plan.moves.length).toBeGreaterThanOrEqual(7)
    expect(plan.after.imbalance).toBeLessThanOrEqual(0.1)
  })

  it('does not call uneven that one is empty which takes nothing', () => {
    const record = aMothership('m4', { capacity, cordoned: true })
    const ids = ['m1', 'm2', 'm3']
    const closed = [put('motherships', 'm4', record), session('mothership', 'm4')]
    const map = mapOf(component, ...motherships(...ids), ...closed, ...ids.flatMap(id => running(id, 5, cpu(80))))
    expect(planned(map)).toMatchObject({ before: { imbalance: 0.1 }, moves: [] })
  })

  it('moves for what is reserved, though less of it is measured to be used', () => {
    const map = mapOf(component, ...motherships('m1', 'm2'), ...running('m1', 8, cpu(100)))
    const loads = { m1: { ...cpu(20), ageMs: 100 }, m2: { ...cpu(0), ageMs: 100 } }
    const plan = planned(map, { loads, usageOf: () => cpu(0) })
    expect(plan.moves.length).toBeGreaterThanOrEqual(3)
    expect(plan.after.imbalance).toBeLessThanOrEqual(0.1)
  })

  it('leaves alone what is alike, and what would gain too little', () => {
    const alike = mapOf(
      component,
      ...motherships('m1', 'm2'),
      ...running('m1', 5, cpu(100)),
      ...running('m2', 5, cpu(100)),
    )
    expect(planned(alike).moves).toEqual([])
    const one = mapOf(component, ...motherships('m1', 'm2'), ...running('m1', 1, cpu(600)))
    expect(planned(one)).toMatchObject({ moves: [], staying: { 'gains too little': 1 } })
  })

  it('moves for measured load too, the one that takes most off, but only while the sample is fresh', () => {
    const heavy = put('components', 'video/1.0.0', aComponent('video', '1.0.0'))
    const video = running('m1', 1, cpu(10), 'v').map(each =>
      each.kind === 'instances' ? put('instances', each.id, { ...each.value!, component: 'video' }) : each,
    )
    const map = mapOf(component, heavy, ...motherships('m1', 'm2'), ...running('m1', 5, cpu(10)), ...video)
    const loads = (ageMs: number) => ({ m1: { ...cpu(800), ageMs }, m2: { ...cpu(50), ageMs } })
    const usageOf: RebalanceInput['usageOf'] = ({ component: id }) => (id === 'video' ? cpu(350) : cpu(80))
    const plan = planned(map, { loads: loads(1_000), usageOf, movesMax: 1 })
    expect(routes(plan)).toEqual(['news.v-000 m1>m2'])
    expect(plan.after.imbalance).toBeLessThan(plan.before.imbalance)
    expect(planned(map, { loads: loads(6_000), usageOf }).moves).toEqual([])
  })

  it('does not move more for a sample that still shows what was moved away', () => {
    const map = mapOf(component, ...motherships('m1', 'm2'), ...running('m1', 8, cpu(10)))
    const loads = { m1: { ...cpu(640), ageMs: 100 }, m2: { ...cpu(0), ageMs: 100 } }
    const usageOf = (): Resources => cpu(80)
    const first = planned(map, { loads, usageOf })
    expect(first.moves.length).toBeGreaterThan(1)
    expect(routes(planned(arrived(map, first), { loads, usageOf }))).toEqual([])
  })

  it('done twice moves nothing the second time, and nothing twice within its cool-down', () => {
    const map = mapOf(component, ...motherships('m1', 'm2', 'm3'), ...running('m1', 9, cpu(100)))
    const first = planned(map, { movesMax: 2 })
    expect(first.moves).toHaveLength(2)
    const second = planned(arrived(map, first))
    const moved = new Set(first.moves.map(each => each.instance))
    expect(second.moves.some(each => moved.has(each.instance))).toBe(false)
    expect(planned(arrived(map, second)).moves).toEqual([])
  })

  it('leaves what keeps state, does not run yet, or is alone in what it needs', () => {
    const keeps = put('components', 'news/1.0.0', aComponent('news', '1.0.0', { state: 'kept' }))
    const all = [...motherships('m1', 'm2'), ...running('m1', 4, cpu(200))]
    expect(planned(mapOf(keeps, ...all))).toMatchObject({ moves: [], staying: { 'keeps state': 4 } })
    const starting = all.filter(each => each.kind !== 'observed')
    expect(planned(mapOf(component, ...starting))).toMatchObject({ moves: [], staying: { 'does not run yet': 4 } })
    const bound = all.map(each =>
      each.kind === 'instances'
        ? put('instances', each.id, { ...each.value!, placement: { labels: { disk: 'x' } } })
        : each,
    )
    expect(planned(mapOf(component, ...bound))).toMatchObject({ moves: [], staying: { 'fits nowhere else': 1 } })
  })

  it('with policy pack empties the motherships that hold least, when all of it fits on others in use', () => {
    const pack = settings({ policy: 'pack' })
    const some = [pack, component, ...motherships('m1', 'm2', 'm3', 'm4'), ...running('m1', 5, cpu(100))]
    const map = mapOf(...some, ...running('m2', 2, cpu(100)), ...running('m3', 3, cpu(100)))
    const plan = planned(map)
    expect([plan.before.inUse, plan.after.inUse]).toEqual([3, 1])
    expect(new Set(plan.moves.map(each => each.to))).toEqual(new Set(['m1']))
    const full = mapOf(...some, ...running('m2', 8, cpu(100)), ...running('m3', 8, cpu(100)))
    expect(planned(full).moves).toEqual([])
  })

  it('moves one copy of an instance at most, wherever its others are', () => {
    const copied = fc.array(fc.record({ on: fc.nat(2), need: fc.integer({ min: 5, max: 120 }) }), {
      minLength: 2,
      maxLength: 8,
    })
    fc.assert(
      fc.property(copied, instances => {
        const changes = instances.flatMap(({ on, need }, index): Change[] => {
          const id = `news.c-${index}`
          const here = [`m${on}`, `m${(on + 1) % 3}`]
          const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: at }
          return [
            put('instances', id, { ...anInstance(id, here), need: cpu(need), placement: { copies: 2 } }),
            ...here.map(each => put('observed', `${each}/${id}`, observed)),
          ]
        })
        // Two that are empty, one after the other the best place for a copy.
        const map = mapOf(
          settings({ rebalance: { minGain: 0, stopBelow: 0 } }),
          component,
          ...changes,
          ...motherships('m0', 'm1', 'm2', 'm3', 'm4'),
        )
        const moved = planned(map).moves.map(each => each.instance)
        expect(moved).toEqual([...new Set(moved)])
      }),
      { numRuns: 200 },
    )
  })

  it('begins nothing into room that another move leaves: that is taken until it has gone', () => {
    const host = fc.record({
      needs: fc.array(fc.constantFrom(5, 20, 45, 160, 200), { maxLength: 40 }),
      capacity: fc.constantFrom(1000, 1500, 2000),
      measured: fc.nat(1500),
    })
    fc.assert(
      fc.property(fc.array(host, { minLength: 3, maxLength: 5 }), hosts => {
        const loads: Record<string, MeasuredLoad> = {}
        const changes = hosts.flatMap(({ needs, capacity: most, measured }, index): Change[] => {
          const id = `m${index}`
          loads[id] = { ...cpu(Math.min(measured, most)), ageMs: 100 }
          let free = most
          const fitting = needs.filter(need => need <= free && (free -= need) >= 0)
          const capacity = { cpu: most, ram: 1000, bandwidth: 1000 }
          const mothership = [put('motherships', id, aMothership(id, { capacity })), session('mothership', id)]
          return [...mothership, ...fitting.flatMap((need, each) => running(id, 1, cpu(need), `${index}-${each}`))]
        })
        const build = (): MemoryMap =>
          mapOf(settings({ rebalance: { minGain: 0, stopBelow: 0 } }), component, ...changes)
        const plan = planned(build(), { loads })
        const begun = stepsOf(build(), plan.moves, at)
        expect(begun.length > 0).toBe(plan.moves.length > 0)
        const map = build()
        apply(
          map,
          begun.flatMap(each => each.changes),
        )
        expect(overbooked(map)).toEqual([])
      }),
      { numRuns: 600 },
    )
  })

  it('never breaks a rule, whatever the cloud, and plans the same again', () => {
    const cloud = fc.array(fc.record({ count: fc.nat(6), need: fc.integer({ min: 1, max: 160 }) }), {
      minLength: 2,
      maxLength: 6,
    })
    fc.assert(
      fc.property(cloud, fc.constantFrom('spread', 'balanced', 'pack'), (hosts, policy) => {
        const ids = hosts.map((_, index) => `m${index}`)
        const changes = hosts.flatMap(({ count, need }, index) => running(ids[index]!, count, cpu(need)))
        const build = (): MemoryMap =>
          mapOf(settings({ policy: policy as 'pack' }), component, ...motherships(...ids), ...changes)
        const [map, plan] = [build(), planned(build())]
        expect(planned(map)).toEqual(plan)
        expect(violations(arrived(map, plan))).toEqual([])
        if (policy === 'pack') expect(plan.after.inUse).toBeLessThanOrEqual(plan.before.inUse)
        else expect(plan.after.imbalance).toBeLessThanOrEqual(plan.before.imbalance + 1e-9)
        expect(evennessOf(inputOf(map)).imbalance).toBeCloseTo(plan.after.imbalance, 3)
      }),
      { numRuns: 200 },
    )
  })
})
