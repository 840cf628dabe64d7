/** Emptying motherships (`pack`): as few moves for each as can be, whole or not at all, and never for nothing. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stepsOf } from '../../../src/cloud/decide/rebalance.js'
import { settingsOf } from '../../../src/cloud/decide/verdict.js'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import type { RebalancePlan } from '../../../src/cloud/placement/plan.js'
import { planRebalance } from '../../../src/cloud/placement/rebalance.js'
import { type Change, put, type Resources } from '../../../src/cloud/records.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../../support/records.js'

const at = '2026-01-01T00:10:00.000Z'
const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
const cpu = (amount: number): Resources => ({ cpu: amount, ram: 10, bandwidth: 10 })
const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: at }

/** Motherships m0, m1, …, with instances of so much cpu on them. */
function cloud(...loads: readonly (readonly number[])[]): MemoryMap {
  const changes = loads.flatMap((needs, index): Change[] => {
    const host = `m${index}`
    const instances = needs.flatMap((need, each): Change[] => {
      const id = `news.${host}-${each}`
      return [
        put('instances', id, { ...anInstance(id, [host]), need: cpu(need), placement: {} }),
        put('observed', `${host}/${id}`, observed),
      ]
    })
    return [put('motherships', host, aMothership(host, { capacity })), session('mothership', host), ...instances]
  })
  const component = put('components', 'news/1.0.0', aComponent('news', '1.0.0'))
  return mapOf(put('settings', '', { schema: 1, policy: 'pack' as const }), component, ...changes)
}

function planned(map: MemoryMap, movesMax = 100): RebalancePlan {
  const engine = new Engine(map, () => undefined)
  return planRebalance({
    map,
    settings: settingsOf(map),
    place: (over, question) => engine.place(over, question, { nowMs: 0, at }),
    hosts: over => engine.hosts(over, 0),
    usageOf: () => undefined,
    movesMax,
    at,
  })
}

/** When all of them have arrived and cool down. */
function arrived(map: MemoryMap, plan: RebalancePlan): MemoryMap {
  const cooling = stepsOf(map, plan.moves, at)
    .flatMap(({ changes }) => changes)
    .flatMap(each =>
      each.kind === 'moves' && each.value ? [put('moves', each.id, { ...each.value, over: true })] : [],
    )
  const there = plan.moves.flatMap(({ instance, from, to }): Change[] => [
    put('instances', instance, { ...map.get('instances', instance)!.value, primary: to, inSync: [to] }),
    put('observed', `${to}/${instance}`, observed),
    { kind: 'observed', id: `${from}/${instance}`, value: null },
  ])
  apply(map, [...cooling, ...there])
  return map
}

const routes = ({ moves }: RebalancePlan): string[] => moves.map(each => `${each.instance} ${each.from}>${each.to}`)

describe('consolidating', () => {
  it('empties first what takes the fewest moves, and nothing that the budget cannot finish', () => {
    const map = (): MemoryMap => cloud([100, 100, 100], [400], [150, 150], [500, 100])
    expect(routes(planned(map(), 1))).toEqual(['news.m1-0 m1>m3'])
    expect(planned(map(), 1).after.inUse).toBe(3)
    expect(planned(cloud([100, 100], [100, 100, 600]), 1).moves).toEqual([])
  })

  it('has another instance make room where one is short of it', () => {
    // 550 fits nowhere; when the 400 has gone beside the 600, it does. The three would take one move more.
    const plan = planned(cloud([550], [200, 200, 400], [600]))
    expect(routes(plan)).toEqual(['news.m1-2 m1>m2', 'news.m0-0 m0>m1'])
    expect(plan.after.inUse).toBe(2)
  })

  it('begins a move into room that another one makes when that one has gone', () => {
    const loads = [[550], [200, 200, 400], [600]]
    const map = cloud(...loads)
    const plan = planned(map)
    const begun = stepsOf(map, plan.moves, at).flatMap(each => each.subjects)
    expect(begun).toEqual(['news.m1-2'])
    const then = arrived(map, { ...plan, moves: plan.moves.filter(each => begun.includes(each.instance)) })
    const next = planned(then)
    expect(routes(next)).toEqual(['news.m0-0 m0>m1'])
    expect(stepsOf(then, next.moves, at)).toHaveLength(1)
  })

  it('begins with what a whole minute of moves cannot empty, and ends it the next time', () => {
    const small = (count: number): number[] => Array.from({ length: count }, () => 10)
    const map = cloud(small(40), small(50))
    const first = planned(map, 30)
    expect(first.moves).toHaveLength(30)
    expect(first.moves.every(each => each.from === 'm0' && each.to === 'm1')).toBe(true)
    const second = planned(arrived(map, first), 30)
    expect(second.moves).toHaveLength(10)
    expect(second.after.inUse).toBe(1)
    // With less than that it does not begin.
    expect(planned(cloud(small(40), small(50)), 29).moves).toEqual([])
  })

  it('frees motherships or moves nothing, and the next plan moves nothing', () => {
    const load = fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 }).map(needs => {
      let free = 1000
      return needs.filter(need => {
        if (need > free) return false
        free -= need
        return true
      })
    })
    fc.assert(
      fc.property(fc.array(load, { minLength: 2, maxLength: 8 }), loads => {
        const map = cloud(...loads)
        const plan = planned(map)
        expect(plan.before.inUse - plan.after.inUse > 0).toBe(plan.moves.length > 0)
        const names = plan.moves.map(each => each.instance)
        expect(new Set(names).size).toBe(names.length)
        const inUse = new Set(loads.flatMap((needs, index) => (needs.length > 0 ? [`m${index}`] : [])))
        expect(plan.moves.every(each => inUse.has(each.to))).toBe(true)
        expect(planned(arrived(map, plan)).moves).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})
