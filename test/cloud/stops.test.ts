/** Stops and undeployments, step by step, on maps alone. */
import { describe, expect, it } from 'vitest'
import type { Command } from '../../src/cloud/commands.js'
import { decide } from '../../src/cloud/decide/decide.js'
import { advanceRemovals } from '../../src/cloud/decide/removals.js'
import { advanceStops } from '../../src/cloud/decide/stops.js'
import { repair, settled } from '../../src/cloud/decide/upkeep.js'
import type { Context, Step } from '../../src/cloud/decide/verdict.js'
import type { MemoryMap } from '../../src/cloud/map.js'
import { type Change, put } from '../../src/cloud/records.js'
import { wireAll } from '../../src/cloud/wiring/wiring.js'
import { wantedFor } from '../../src/hypervisor/wanted.js'
import { apply, mapOf } from '../support/clouds.js'
import { aComponent, anInstance, aRainServer, motherships, running, session } from '../support/records.js'

const at = (seconds: number): string => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString()

const aCloud = (...more: readonly Change[]): MemoryMap =>
  mapOf(
    put('components', 'news/1.0.0', aComponent('news')),
    ...motherships('m1', 'm2'),
    put('rainservers', 'r1', aRainServer('r1')),
    session('rainserver', 'r1'),
    put('instances', 'news.1', anInstance('news.1', ['m1', 'm2'])),
    running('m1', 'news.1'),
    running('m2', 'news.1'),
    ...more,
  )

function ask(map: MemoryMap, command: Command): ReturnType<typeof decide> {
  const context = { actor: { role: 'operator', subject: 'ann' }, requestId: 'abcdefabcdef0123', at: at(0) }
  const verdict = decide(map, command, context as unknown as Context)
  if (verdict.kind === 'do') for (const step of verdict.steps) apply(map, step.changes)
  return verdict
}

const stop = (map: MemoryMap, instance = 'news.1'): ReturnType<typeof decide> =>
  ask(map, { op: 'stop-instance', body: { instance } })
const undeploy = (map: MemoryMap): ReturnType<typeof decide> =>
  ask(map, { op: 'undeploy', body: { component: 'news', version: '1.0' } })

function pass(map: MemoryMap, seconds: number, appliedBy: (server: string) => number | undefined): readonly Step[] {
  const steps = advanceStops(map, { at: at(seconds), appliedBy })
  for (const step of steps) apply(map, step.changes)
  return steps
}
const stageOf = (map: MemoryMap): string | undefined => map.get('stops', 'news.1')?.value.stage
const ends = (map: MemoryMap, ...on: readonly string[]): void => {
  for (const id of on) {
    const { value } = map.get('observed', `${id}/news.1`)!
    apply(map, [put('observed', `${id}/news.1`, { ...value, phase: 'stopping', ended: true })])
  }
}
const shows = (map: MemoryMap, node: 'rainserver' | 'mothership', id: string, key: string): unknown =>
  wantedFor(map, { kind: node, id }, () => 'ticket').get(key)

describe('a stop', () => {
  it('takes an instance from rain servers, then from its motherships, and goes when these have ended it', () => {
    const map = aCloud()
    expect(stop(map)).toMatchObject({ answer: { outcome: 'changed', ids: ['news.1'] } })
    const { modified } = map.get('stops', 'news.1')!
    expect(shows(map, 'rainserver', 'r1', 'components/news/1.0.0')).toMatchObject({ copies: [] })
    expect(wireAll(map).get('r1')?.wires).toEqual([])
    expect(shows(map, 'mothership', 'm1', 'instances/news.1')).toBeDefined()
    expect(pass(map, 1, () => modified - 1)).toEqual([])
    expect(pass(map, 1, () => undefined)).toEqual([])
    pass(map, 1, () => modified)
    expect(stageOf(map)).toBe('drain')
    expect(shows(map, 'mothership', 'm1', 'instances/news.1')).toBeUndefined()
    ends(map, 'm1')
    expect(pass(map, 2, () => modified)).toEqual([])
    ends(map, 'm2')
    pass(map, 2, () => modified)
    expect(['instances', 'stops', 'observed'].map(kind => map.count(kind as 'stops'))).toEqual([0, 0, 0])
  })

  it('waits for those only that are there, and for nobody longer than some seconds', () => {
    const map = aCloud(put('rainservers', 'r2', aRainServer('r2')))
    stop(map)
    const applied = (server: string): number | undefined => (server === 'r1' ? map.order.revision : undefined)
    pass(map, 1, applied)
    expect(stageOf(map)).toBe('drain')

    const deaf = aCloud()
    stop(deaf)
    expect(pass(deaf, 2.9, () => undefined)).toEqual([])
    pass(deaf, 3, () => undefined)
    expect(stageOf(deaf)).toBe('drain')
    expect(pass(deaf, 12.9, () => undefined)).toEqual([])
    pass(deaf, 13, () => undefined)
    expect(deaf.count('instances')).toBe(0)
  })

  it('is done at once where nothing runs, and asks nothing of motherships that are away', () => {
    const map = mapOf(...motherships('m1'), put('instances', 'news.1', anInstance('news.1', ['m1'])))
    expect(stop(map)).toMatchObject({ answer: { outcome: 'removed' } })
    expect(map.count('instances')).toBe(0)
    const away = aCloud(
      ...(['m1', 'm2'] as const).map(id => ({ kind: 'sessions', id: `mothership/${id}`, value: null }) as Change),
    )
    expect(stop(away)).toMatchObject({ answer: { outcome: 'removed' } })
    expect(away.count('observed')).toBe(0)
  })

  it('takes with it what is observed before it is written', () => {
    const map = mapOf(...motherships('m1', 'm2'), put('instances', 'news.1', anInstance('news.1', ['m1', 'm2'])))
    const verdict = stop(map)
    const removed = verdict.kind === 'do' ? verdict.steps[0]!.changes.map(each => `${each.kind}/${each.id}`) : []
    expect(removed).toEqual(['instances/news.1', 'observed/m1/news.1', 'observed/m2/news.1'])
  })

  it('lets nothing else happen to the instance', () => {
    const map = aCloud()
    stop(map)
    expect(stop(map)).toMatchObject({ answer: { outcome: 'unchanged' } })
    for (const command of [
      { op: 'clone', body: { instance: 'news.1', wish: {} } },
      { op: 'refresh-instance', body: { instance: 'news.1' } },
    ] as const) {
      expect(ask(map, command)).toMatchObject({ error: { code: 'conflict', message: 'news.1 is just stopping' } })
    }
    apply(map, [{ kind: 'sessions', id: 'mothership/m1', value: null }])
    expect(repair(map, 'news.1', { goneForMs: () => 60_000, at: at(0) } as never)).toBeUndefined()
    expect(settled(map, 'news.1')).toBe(true)
  })
})

describe('an undeployment', () => {
  it('retires the version, stops its instances, and takes its package when they are gone', () => {
    const map = aCloud(put('instances', 'news.2', anInstance('news.2', ['m1'])))
    expect(undeploy(map)).toMatchObject({ answer: { outcome: 'changed', touched: 2 } })
    expect(map.get('components', 'news/1.0.0')!.value.active).toBe(false)
    expect(map.get('removals', 'news/1.0.0')!.value).toMatchObject({ by: 'ann', total: 2, since: at(0) })
    expect(undeploy(map)).toMatchObject({ answer: { outcome: 'unchanged' } })

    const removal = (): readonly Step[] => {
      const steps = advanceRemovals(map, at(1))
      for (const step of steps) apply(map, step.changes)
      return steps
    }
    // What runs nowhere is gone, what runs stops.
    expect(removal()).toHaveLength(2)
    expect([[...map.instancesOf('news/1.0.0')], stageOf(map)]).toEqual([['news.1'], 'unwire'])
    expect(removal()).toEqual([])
    const heard = (): number => map.order.revision
    pass(map, 2, heard)
    ends(map, 'm1', 'm2')
    pass(map, 3, heard)
    expect(removal()).toMatchObject([{ dropsBlobs: { chunks: 1 } }])
    expect([map.count('components'), map.count('removals'), map.count('undeployed')]).toEqual([0, 0, 1])
    expect(removal()).toEqual([])
  })

  it('lets nothing begin with the version', () => {
    const map = aCloud()
    undeploy(map)
    const component = { component: 'news', version: '1.0' }
    const wish = { op: 'instantiate', body: { ...component, wish: {}, count: 1, bulk: false } } as const
    for (const command of [
      wish,
      { op: 'activate', body: { ...component, active: true } },
      { op: 'start-rollout', body: component },
      { op: 'deploy', body: { component: aComponent('news'), activate: true } },
    ] as const) {
      expect(ask(map, command)).toMatchObject({ kind: 'refuse', error: { code: 'conflict' } })
    }
  })

  it('stops some hundreds at a time', () => {
    const many = Array.from({ length: 700 }, (_, n) => `news.m${n}`)
    const map = aCloud(...many.flatMap(id => [put('instances', id, anInstance(id, ['m1'])), running('m1', id)]))
    undeploy(map)
    expect(advanceRemovals(map, at(1))).toHaveLength(500)
    for (const step of advanceRemovals(map, at(1))) apply(map, step.changes)
    expect(advanceRemovals(map, at(1))).toEqual([])
  })

  it('of a version without instances is one step', () => {
    const map = mapOf(put('components', 'news/1.0.0', aComponent('news')))
    expect(undeploy(map)).toMatchObject({ answer: { outcome: 'removed', touched: 0 }, steps: [{ dropsBlobs: {} }] })
    expect(map.count('components')).toBe(0)
  })
})
