/** The mover with an outlook: it sets apart what peaks together, obeys the placer, and moves nothing twice. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { settingsOf } from '../../../src/cloud/decide/verdict.js'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import { hourMs, UseHistory } from '../../../src/cloud/placement/history.js'
import { Horizon } from '../../../src/cloud/placement/outlook.js'
import type { RebalancePlan } from '../../../src/cloud/placement/plan.js'
import { evennessOf, planRebalance, type RebalanceInput } from '../../../src/cloud/placement/rebalance.js'
import { type Change, put, remove } from '../../../src/cloud/records.js'
import { mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../../support/records.js'

const at = '2026-01-01T00:10:00.000Z'
const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
const need = { cpu: 10, ram: 10, bandwidth: 10 }
/** So few that every one of them is looked at. */
const hours = 34

/** One instance of each component, used as `use` says in each hour. */
interface Machine {
  readonly name: string
  readonly on: string
  readonly labels?: Readonly<Record<string, string>>
  readonly use: (hour: number) => number
}

interface Cloud {
  readonly map: MemoryMap
  readonly history: UseHistory
}

function cloudOf(
  motherships: readonly string[],
  machines: readonly Machine[],
  settings: readonly Change[] = [],
): Cloud {
  const history = new UseHistory()
  const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: at }
  const changes: Change[] = [...settings]
  for (const id of motherships)
    changes.push(put('motherships', id, aMothership(id, { capacity })), session('mothership', id))
  for (const { name, on, labels } of machines) {
    const placement = labels ? { labels } : {}
    changes.push(
      put('components', `${name}/1.0.0`, aComponent(name, '1.0.0')),
      put('instances', `${name}.1`, { ...anInstance(`${name}.1`, [on]), component: name, need, placement }),
      put('observed', `${on}/${name}.1`, observed),
    )
  }
  for (let hour = 0; hour < hours; hour++) {
    for (const { name, use } of machines) {
      history.note(`${name}/1.0.0`, { cpu: use(hour), ram: 10, bandwidth: 10 }, hour * hourMs)
    }
  }
  return { map: mapOf(...changes), history }
}

function inputOf({ map, history }: Cloud, { ageMs = 0, movesMax = 100, nowMs = hours * hourMs } = {}): RebalanceInput {
  const engine = new Engine(map, () => ({ cpu: 50, ram: 50, bandwidth: 50, ageMs }))
  return {
    map,
    settings: settingsOf(map),
    place: (over, question) => engine.place(over, question, { nowMs, at }),
    hosts: over => engine.hosts(over, nowMs),
    usageOf: () => undefined,
    outlook: new Horizon(history).at(map, nowMs),
    movesMax,
    at,
  }
}

const planned = (cloud: Cloud, more?: Parameters<typeof inputOf>[1]): RebalancePlan =>
  planRebalance(inputOf(cloud, more))

function arrived(map: MemoryMap, plan: RebalancePlan): void {
  const changes = plan.moves.flatMap(({ instance, from, to }): Change[] => {
    const before = map.get('instances', instance)!.value
    const observed = map.get('observed', `${from}/${instance}`)!.value
    return [
      put('instances', instance, { ...before, primary: to, inSync: [to] }),
      remove('observed', `${from}/${instance}`),
      put('observed', `${to}/${instance}`, observed),
    ]
  })
  map.apply(
    changes.map(each => ({ ...each, created: 2, modified: 2 })),
    map.order.revision + 1,
  )
}

const daily =
  (peak: number, amount: number) =>
  (hour: number): number =>
    hour % 24 === peak ? amount : 20
const routes = ({ moves }: RebalancePlan): string[] => moves.map(each => `${each.instance} ${each.from}>${each.to}`)
const together: Machine[] = [
  { name: 'shop', on: 'm1', use: daily(3, 600) },
  { name: 'till', on: 'm1', use: daily(3, 600) },
  { name: 'news', on: 'm2', use: daily(15, 600) },
]

describe('a rebalance with an outlook', () => {
  it('sets apart what peaks together while all is quiet, and says how uneven it would have been', () => {
    const plan = planned(cloudOf(['m1', 'm2'], together))
    expect(plan.moves).toHaveLength(1)
    expect(routes(plan)[0]).toMatch(/^(shop|till)\.1 m1>m2$/)
    expect(plan.moves[0]!.gain).toBeCloseTo(0.6 - 0.02, 1)
    expect([plan.before.imbalance, plan.after.imbalance]).toEqual([0.59, 0.3])
  })

  it('uses a mothership that came for what is only reserved, which no outlook knows of', () => {
    const idle = Array.from(
      { length: 12 },
      (_, each): Machine => ({
        name: `idle${each}`,
        on: `m${1 + (each % 3)}`,
        use: () => 1,
      }),
    )
    const cloud = cloudOf(['m1', 'm2', 'm3', 'm4'], idle)
    const reserving = [...cloud.map.all('instances')].map(([id, { value }]) =>
      put('instances', id, { ...value, need: { cpu: 150, ram: 10, bandwidth: 10 } }),
    )
    const revision = cloud.map.order.revision + 1
    cloud.map.apply(
      reserving.map(each => ({ ...each, created: revision, modified: revision })),
      revision,
    )
    const plan = planned(cloud)
    expect(plan.moves.length).toBeGreaterThanOrEqual(2)
    expect(new Set(plan.moves.map(each => each.to))).toEqual(new Set(['m4']))
    expect(plan.after.imbalance).toBeLessThan(plan.before.imbalance)
  })

  it('does as it does without one while less than a day is known', () => {
    const cloud = cloudOf(['m1', 'm2'], together)
    expect(planned({ ...cloud, history: new UseHistory() }).moves).toEqual([])
  })

  it('moves nothing off where no sample is fresh, nor where the placer objects', () => {
    expect(planned(cloudOf(['m1', 'm2'], together), { ageMs: 6_000 }).moves).toEqual([])
    const bound = together.map(each => ({ ...each, labels: { disk: 'x' } }))
    expect(planned(cloudOf(['m1', 'm2'], bound))).toMatchObject({ moves: [], staying: { 'fits nowhere else': 2 } })
  })

  it('takes another place where the placer objects to the best one', () => {
    const cloud = cloudOf(['m1', 'm2', 'm3'], together)
    expect(routes(planned(cloud))[0]).toMatch(/m1>m3$/)
    const record = cloud.map.get('motherships', 'm3')!.value
    cloud.map.apply([{ ...put('motherships', 'm3', { ...record, cordoned: true }), created: 3, modified: 3 }], 3)
    expect(routes(planned(cloud))[0]).toMatch(/m1>m2$/)
  })

  it('leaves alone what gains less than is asked for, and what is alike', () => {
    const most = put('settings', '', { schema: 1, rebalance: { minGain: 0.7 } })
    expect(planned(cloudOf(['m1', 'm2'], together, [most]))).toMatchObject({
      moves: [],
      staying: { 'gains too little': 3 },
    })
    const alike = [
      { name: 'shop', on: 'm1', use: daily(3, 600) },
      { name: 'till', on: 'm2', use: daily(3, 600) },
    ]
    expect(planned(cloudOf(['m1', 'm2'], alike)).moves).toEqual([])
  })

  it('never makes the moments less even, plans the same again, and nothing when it is done', () => {
    const machine = fc.record({ on: fc.nat(3), peak: fc.nat(23), amount: fc.integer({ min: 20, max: 400 }) })
    fc.assert(
      fc.property(fc.array(machine, { minLength: 1, maxLength: 16 }), some => {
        const build = (): Cloud =>
          cloudOf(
            ['m0', 'm1', 'm2', 'm3'],
            some.map(({ on, peak, amount }, index) => ({ name: `c${index}`, on: `m${on}`, use: daily(peak, amount) })),
          )
        const cloud = build()
        const plan = planned(cloud)
        expect(planned(build())).toEqual(plan)
        expect(new Set(plan.moves.map(each => each.instance)).size).toBe(plan.moves.length)
        expect(plan.moves.every(({ gain }) => gain >= settingsOf(cloud.map).rebalance.minGain - 1e-4)).toBe(true)
        arrived(cloud.map, plan)
        const cooling = plan.moves.map(({ instance, from, to, used }) =>
          put('moves', instance, { schema: 1, from, to, at, until: at, used, over: true }),
        )
        cloud.map.apply(
          cooling.map(each => ({ ...each, created: 4, modified: 4 })),
          cloud.map.order.revision + 1,
        )
        expect(planned(cloud).moves).toEqual([])
        expect(evennessOf(inputOf(cloud)).imbalance).toBeCloseTo(plan.after.imbalance, 3)
      }),
      { numRuns: 100 },
    )
  })
})
