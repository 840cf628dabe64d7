/** Rollouts, step by step, on maps alone: what is begun when, what stops one, and what becomes of it then. */
import { describe, expect, it } from 'vitest'
import type { Command } from '../../src/cloud/commands.js'
import { decide } from '../../src/cloud/decide/decide.js'
import { advanceRollouts, batchMax } from '../../src/cloud/decide/rollouts.js'
import type { Context } from '../../src/cloud/decide/verdict.js'
import type { MemoryMap } from '../../src/cloud/map.js'
import { type Change, type ObservedRecord, put, type RolloutRecord, remove } from '../../src/cloud/records.js'
import { apply, mapOf } from '../support/clouds.js'
import { aComponent, anInstance, motherships } from '../support/records.js'

const at = (seconds: number): string => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString()
const name = (n: number): string => `news.${String(n).padStart(3, '0')}`
const id = 'rollout-abcdefabcdef'

function aCloud(count: number, copies: readonly string[] = ['m1']): MemoryMap {
  const instances = Array.from({ length: count }, (_, n) => name(n))
  const map = mapOf(
    put('components', 'news/1.0.0', aComponent('news')),
    ...motherships('m1', 'm2'),
    ...instances.map(each => put('instances', each, anInstance(each, copies))),
  )
  for (const each of instances) for (const on of copies) says(map, each, {}, on)
  return map
}

function says(map: MemoryMap, instance: string, more: Partial<ObservedRecord> = {}, on = 'm1'): void {
  const base = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running', since: at(0) } as const
  apply(map, [put('observed', `${on}/${instance}`, { ...base, ...more })])
}

/** Says that it runs as often refreshed as is wanted. */
const comesUp = (map: MemoryMap, ...ids: readonly string[]): void => {
  for (const each of ids) says(map, each, { generation: map.get('instances', each)!.value.generation })
}

function ask(map: MemoryMap, command: Command, seconds = 0): ReturnType<typeof decide> {
  const context = { actor: { role: 'operator', subject: 'ann' }, requestId: 'abcdefabcdef0123', at: at(seconds) }
  const verdict = decide(map, command, context as unknown as Context)
  if (verdict.kind === 'do') for (const step of verdict.steps) apply(map, step.changes)
  return verdict
}

const start = (map: MemoryMap, more: object = {}): ReturnType<typeof decide> =>
  ask(map, { op: 'start-rollout', body: { component: 'news', version: '1.0', ...more } })
const steer = (
  map: MemoryMap,
  action: 'pause' | 'resume' | 'abort' | 'return',
  seconds = 0,
): ReturnType<typeof decide> => ask(map, { op: 'steer-rollout', body: { id, action } }, seconds)

function pass(map: MemoryMap, seconds = 1): string[] {
  const steps = advanceRollouts(map, at(seconds))
  apply(
    map,
    steps.flatMap(step => step.changes),
  )
  return steps.flatMap(step => step.changes.filter(each => each.kind === 'instances').map(each => each.id))
}

const rollout = (map: MemoryMap): RolloutRecord => map.get('rollouts', id)!.value
const refreshes = (map: MemoryMap): (string | undefined)[] =>
  [...map.instancesOf('news/1.0.0')].sort().map(each => map.get('instances', each)!.value.refresh)

describe('a rollout', () => {
  it('refreshes a batch at a time, the next one when all of it runs, and is done after the last', () => {
    const map = aCloud(5)
    expect(start(map, { maxUnavailable: 2 })).toMatchObject({ answer: { outcome: 'created', touched: 5 } })
    expect(pass(map)).toEqual([name(0), name(1)])
    expect(pass(map)).toEqual([])
    comesUp(map, name(0))
    expect(pass(map)).toEqual([])
    comesUp(map, name(1))
    expect(pass(map)).toEqual([name(2), name(3)])
    expect(rollout(map)).toMatchObject({ phase: 'running', done: 2, total: 5 })
    comesUp(map, name(2), name(3))
    expect(pass(map)).toEqual([name(4)])
    comesUp(map, name(4))
    expect(pass(map, 9)).toEqual([])
    expect(rollout(map)).toMatchObject({ phase: 'done', done: 5, endedAt: at(9), batch: { instances: [] } })
    // One refresh: on each mothership they share a process.
    expect(refreshes(map)).toEqual(Array(5).fill(`${id}.0`))
    expect(pass(map)).toEqual([])
  })

  it('takes a share of all as rounded down, one at least, and never more than fit a transaction', () => {
    const cases = [
      [10, '25%', 2],
      [3, '25%', 1],
      [10, '0%', 1],
      [400, '100%', batchMax],
      [4, undefined, 1],
      [4, 9, 9],
    ] as const
    for (const [count, maxUnavailable, expected] of cases) {
      const map = aCloud(count)
      start(map, maxUnavailable === undefined ? {} : { maxUnavailable })
      expect(rollout(map).maxUnavailable).toBe(expected)
      expect(pass(map)).toHaveLength(Math.min(expected, count))
    }
  })

  it('waits for every copy of an instance', () => {
    const map = aCloud(2, ['m1', 'm2'])
    start(map, { maxUnavailable: 1 })
    expect(pass(map)).toEqual([name(0)])
    says(map, name(0), { generation: 1 }, 'm1')
    expect(pass(map)).toEqual([])
    says(map, name(0), { generation: 1 }, 'm2')
    expect(pass(map)).toEqual([name(1)])
  })

  it('passes over instances that were stopped, and refreshes again what another refresh took meanwhile', () => {
    const map = aCloud(3)
    start(map, { maxUnavailable: 2 })
    pass(map)
    apply(map, [remove('instances', name(0))])
    ask(map, { op: 'refresh-instance', body: { instance: name(1) } })
    expect(map.get('instances', name(1))!.value).toMatchObject({ generation: 2, refresh: 'r-abcdefabcdef0123' })
    expect(pass(map)).toEqual([name(1)])
    comesUp(map, name(1))
    expect(pass(map)).toEqual([name(2)])
  })

  it('is one at a time for a version, of a version that is there', () => {
    const map = aCloud(2)
    start(map)
    expect(start(map)).toMatchObject({ kind: 'refuse', error: { code: 'conflict' } })
    expect(ask(map, { op: 'start-rollout', body: { component: 'news', version: '2.0' } })).toMatchObject({
      error: { code: 'unknown-thing' },
    })
  })

  it('ends with its version', () => {
    const map = aCloud(2)
    start(map)
    pass(map)
    apply(map, [remove('components', 'news/1.0.0'), remove('instances', name(0)), remove('instances', name(1))])
    pass(map)
    expect(rollout(map)).toMatchObject({ phase: 'aborted', reason: 'the version is undeployed' })
  })
})

describe('a rollout whose new process does not come up', () => {
  const fails = (map: MemoryMap, instance: string): void => {
    const { generation } = map.get('instances', instance)!.value
    says(map, instance, { generation: generation - 1, tried: generation, reason: 'the self-test failed: no' })
  }

  it('waits with the reason, and tries what does not run in another process when it is resumed', () => {
    const map = aCloud(4)
    start(map, { maxUnavailable: 2 })
    pass(map)
    comesUp(map, name(0))
    fails(map, name(1))
    expect(pass(map)).toEqual([])
    const reason = 'news.001 on m1: the self-test failed: no'
    expect(rollout(map)).toMatchObject({ phase: 'paused', reason, failures: [{ instance: name(1) }] })
    expect(pass(map)).toEqual([])
    expect(start(map)).toMatchObject({ error: { code: 'conflict' } })

    steer(map, 'resume', 20)
    expect(rollout(map)).toMatchObject({ phase: 'running', done: 1, failures: [] })
    expect(rollout(map)).not.toHaveProperty('reason')
    // What was said of the last process does not count.
    expect(pass(map, 21)).toEqual([name(1)])
    expect(pass(map, 22)).toEqual([])
    comesUp(map, name(1))
    expect(pass(map, 23)).toEqual([name(2), name(3)])
    expect(refreshes(map)).toEqual([`${id}.0`, `${id}.1`, `${id}.1`, `${id}.1`])
  })

  it('goes back by itself where that is asked: those that came up stay, the others keep their process', () => {
    const map = aCloud(4)
    ask(map, { op: 'refresh-instance', body: { instance: name(1) } })
    comesUp(map, name(1))
    start(map, { maxUnavailable: 3, onFailure: 'return' })
    pass(map)
    comesUp(map, name(0))
    fails(map, name(1))
    expect(pass(map, 5)).toEqual([name(1), name(2)])
    expect(rollout(map)).toMatchObject({
      phase: 'returned',
      done: 1,
      endedAt: at(5),
      failures: [{ instance: name(1) }],
    })
    // The names of the processes that serve them, as motherships know them.
    expect(refreshes(map)).toEqual([`${id}.0`, 'r-abcdefabcdef0123', '0', undefined])
    expect(map.get('instances', name(1))!.value.generation).toBe(3)
    expect(steer(map, 'resume')).toMatchObject({ error: { code: 'conflict' } })
  })

  it('stops when one takes too long, and says where', () => {
    const map = aCloud(2)
    start(map, { maxUnavailable: 1, timeout: '10s' })
    pass(map, 1)
    expect(pass(map, 10)).toEqual([])
    expect(rollout(map).phase).toBe('running')
    pass(map, 11)
    expect(rollout(map)).toMatchObject({
      phase: 'paused',
      reason: 'news.000 does not run after 10 s: on m1 it serves as before',
    })
  })

  it('stops when nothing serves any more, too', () => {
    const map = aCloud(1)
    start(map)
    pass(map)
    says(map, name(0), { generation: 1, phase: 'failed', reason: 'died 5 times' })
    pass(map)
    expect(rollout(map)).toMatchObject({ phase: 'paused', reason: 'news.000 on m1: died 5 times' })
  })
})

describe('an operator', () => {
  it('pauses, resumes and aborts: what was begun and does not run keeps its process', () => {
    const map = aCloud(4)
    start(map, { maxUnavailable: 2 })
    pass(map)
    steer(map, 'pause')
    comesUp(map, name(0), name(1))
    expect(pass(map)).toEqual([])
    expect(rollout(map)).toMatchObject({ phase: 'paused', reason: 'paused by ann' })
    steer(map, 'resume')
    expect(rollout(map)).toMatchObject({ phase: 'running', done: 2 })
    expect(pass(map)).toEqual([name(2), name(3)])
    comesUp(map, name(2))
    steer(map, 'abort', 7)
    expect(rollout(map)).toMatchObject({ phase: 'aborted', done: 3, reason: 'aborted by ann', endedAt: at(7) })
    expect(refreshes(map)).toEqual([`${id}.0`, `${id}.0`, `${id}.1`, '0'])
    expect(pass(map)).toEqual([])
    expect(steer(map, 'pause')).toMatchObject({ error: { code: 'conflict' } })
  })

  it('finds rollouts that are over for a day', () => {
    const map = aCloud(0)
    start(map)
    pass(map)
    expect(rollout(map).phase).toBe('done')
    pass(map, 86_000)
    expect(map.count('rollouts')).toBe(1)
    pass(map, 86_500)
    expect(map.count('rollouts')).toBe(0)
  })
})

it('goes on under any leader: the same map, the same step', () => {
  const map = aCloud(3)
  start(map, { maxUnavailable: 2 })
  const steps = (): Change[] => advanceRollouts(map, at(3)).flatMap(step => step.changes)
  expect(steps()).toEqual(steps())
})
