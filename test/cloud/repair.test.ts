/** What the leader does for one instance at a time: copies that are lost, leave, fail or are moved. */
import { describe, expect, it } from 'vitest'
import { expired, failsEverywhere, pardon, quarantine } from '../../src/cloud/decide/quarantine.js'
import { repair, stays } from '../../src/cloud/decide/upkeep.js'
import type { MemoryMap } from '../../src/cloud/map.js'
import { Engine } from '../../src/cloud/placement/engine.js'
import { type Change, type InstanceRecord, type Phase, put } from '../../src/cloud/records.js'
import { mapOf } from '../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../support/records.js'

const at = '2026-01-01T00:10:00.000Z'
const later = '2026-01-01T00:30:00.000Z'
const component = put('components', 'news/1.0.0', aComponent('news', '1.0.0'))
const here = (...ids: string[]): Change[] =>
  ids.flatMap(id => [put('motherships', id, aMothership(id)), session('mothership', id)])
const observed = (mothership: string, phase: Phase, instance = 'news.1'): Change =>
  put('observed', `${mothership}/${instance}`, { schema: 1, session: 1, epoch: 1, generation: 0, phase, since: at })
const instance = (...copies: [string, ...string[]]): Change =>
  put('instances', 'news.1', { ...anInstance('news.1', copies), placement: {} })
const draining = (id: string, deadline: string | null): Change =>
  put('motherships', id, aMothership(id, { draining: { deadline } }))
const quarantined = (mothership: string, until = later): Change =>
  put('quarantine', `${mothership}/news/1.0.0`, {
    ...{ schema: 1, mothership, component: 'news', version: '1.0.0', since: at, until },
    reason: 'no such library',
  })
const moving = (from: string, to: string, more: object = {}): Change =>
  put('moves', 'news.1', { schema: 1, from, to, at, until: later, used: { cpu: 1, ram: 1, bandwidth: 1 }, ...more })

/** Where the copies are after one repair, or undefined when nothing is to be done; and what else is changed. */
function repaired(
  map: MemoryMap,
  goneForMs: (mothership: string) => number | undefined = () => undefined,
): { on: string[]; primary: string; others: string[] } | undefined {
  const engine = new Engine(map, () => undefined)
  const context = {
    goneForMs,
    place: (over: Parameters<typeof engine.place>[0], question: Parameters<typeof engine.place>[1]) =>
      engine.place(over, question, { nowMs: 0, at }),
    at,
  }
  const step = repair(map, 'news.1', context)
  if (!step) return undefined
  const value = step.changes.find(each => each.kind === 'instances')!.value as InstanceRecord
  const others = step.changes.filter(each => each.kind !== 'instances').map(each => `${each.kind}/${each.id}`)
  return { on: [...value.inSync, ...value.learners], primary: value.primary, others }
}

describe('a copy that failed', () => {
  it('is replaced elsewhere at once, and gone', () => {
    const map = mapOf(component, ...here('m1', 'm2'), instance('m1'), observed('m1', 'failed'))
    expect(stays(map, 'news.1')).toBe(false)
    expect(repaired(map)).toEqual({ on: ['m2'], primary: 'm2', others: ['observed/m1/news.1'] })
  })

  it('stays where it is while there is no other place', () => {
    expect(repaired(mapOf(component, ...here('m1'), instance('m1'), observed('m1', 'failed')))).toBeUndefined()
    const kept = mapOf(component, ...here('m1', 'm2'), instance('m1'), observed('m1', 'failed'), quarantined('m2'))
    expect(repaired(kept)).toBeUndefined()
  })

  it('stays when its version fails wherever it is tried, until one runs somewhere', () => {
    const tried = ['m2', 'm3', 'm4'].map(id => quarantined(id))
    const all = [component, ...here('m1', 'm2', 'm3', 'm4', 'm5'), instance('m1'), observed('m1', 'failed'), ...tried]
    expect(failsEverywhere(mapOf(...all), 'news/1.0.0')).toBe(true)
    expect(repaired(mapOf(...all))).toBeUndefined()
    const other = [put('instances', 'news.2', anInstance('news.2', ['m5'])), observed('m5', 'running', 'news.2')]
    expect(repaired(mapOf(...all, ...other))).toMatchObject({ on: ['m5'] })
  })
})

describe('a drain', () => {
  it('starts elsewhere, then switches, then stops', () => {
    const start = [component, ...here('m1', 'm2'), draining('m1', null), observed('m1', 'running')]
    expect(repaired(mapOf(...start, instance('m1')))).toMatchObject({ on: ['m1', 'm2'], primary: 'm1' })
    expect(repaired(mapOf(...start, instance('m1', 'm2'), observed('m2', 'starting')))).toBeUndefined()
    expect(repaired(mapOf(...start, instance('m1', 'm2'), observed('m2', 'running')))).toMatchObject({ on: ['m2'] })
  })

  it('waits no longer than its deadline for the copy elsewhere to run, and leaves nothing without a place', () => {
    const start = [component, ...here('m1', 'm2'), draining('m1', at), observed('m1', 'running')]
    expect(repaired(mapOf(...start, instance('m1')))).toMatchObject({ on: ['m2'], primary: 'm2' })
    expect(repaired(mapOf(...start, instance('m1', 'm2'), observed('m2', 'starting')))).toMatchObject({ on: ['m2'] })
    const two = put('instances', 'news.1', { ...anInstance('news.1', ['m1', 'm2']), placement: { copies: 2 } })
    expect(repaired(mapOf(...start, two, observed('m2', 'running')))).toMatchObject({ on: ['m2'] })
    expect(repaired(mapOf(...start, two, observed('m2', 'starting')))).toBeUndefined()
    const alone = [component, ...here('m1'), draining('m1', at), instance('m1'), observed('m1', 'running')]
    expect(repaired(mapOf(...alone))).toBeUndefined()
  })
})

describe('a copy too many, of a drain that was cancelled', () => {
  const all = [component, ...here('m1', 'm2', 'm3')]
  const wants = (copies: number, ...on: [string, ...string[]]): Change =>
    put('instances', 'news.1', { ...anInstance('news.1', on), placement: { copies } })

  it('goes once enough others run: the one that does not run yet, then the one that came last', () => {
    const half = [...all, instance('m1', 'm2'), observed('m1', 'running')]
    expect(repaired(mapOf(...half, observed('m2', 'starting')))).toMatchObject({ on: ['m1'], primary: 'm1' })
    expect(repaired(mapOf(...half, observed('m2', 'running')))).toMatchObject({ on: ['m1'], primary: 'm1' })
    const two = [...all, wants(2, 'm2', 'm1', 'm3'), observed('m1', 'running'), observed('m3', 'running')]
    expect(repaired(mapOf(...two, observed('m2', 'running')))).toMatchObject({ on: ['m1', 'm2'], primary: 'm2' })
    expect(repaired(mapOf(...two, observed('m2', 'starting')))).toMatchObject({ on: ['m1', 'm3'], primary: 'm1' })
  })

  it('stays while too few of the others run', () => {
    const map = mapOf(...all, instance('m1', 'm2'), observed('m1', 'starting'), observed('m2', 'starting'))
    expect(repaired(map)).toBeUndefined()
    const two = mapOf(...all, wants(2, 'm1', 'm2', 'm3'), observed('m1', 'running'))
    expect(repaired(two)).toBeUndefined()
  })

  it('is rather one whose mothership has no session', () => {
    const map = mapOf(...all, instance('m1', 'm2'), observed('m1', 'running'), observed('m2', 'running'))
    expect(repaired(map, id => (id === 'm1' ? 500 : undefined))).toMatchObject({ on: ['m2'], primary: 'm2' })
  })
})

describe('a move', () => {
  const start = [component, ...here('m1', 'm2', 'm3'), instance('m1', 'm2'), observed('m1', 'running')]

  it('leaves the first place once the copy runs in the second, and is over then', () => {
    expect(repaired(mapOf(...start, moving('m1', 'm2'), observed('m2', 'starting')))).toBeUndefined()
    expect(repaired(mapOf(...start, moving('m1', 'm2'), observed('m2', 'running')))).toEqual({
      on: ['m2'],
      primary: 'm2',
      others: ['observed/m1/news.1', 'moves/news.1'],
    })
  })

  it('comes to nothing when the copy fails in the second place', () => {
    expect(repaired(mapOf(...start, moving('m1', 'm2'), observed('m2', 'failed')))).toMatchObject({
      on: ['m1'],
      others: ['observed/m2/news.1', 'moves/news.1'],
    })
  })

  it('that is over moves nothing any more, though its cool-down lasts', () => {
    const both = put('instances', 'news.1', { ...anInstance('news.1', ['m1', 'm2']), placement: { copies: 2 } })
    const map = mapOf(...start, both, moving('m1', 'm2', { over: true }), observed('m2', 'running'))
    expect(repaired(map)).toBeUndefined()
  })
})

describe('quarantine', () => {
  it('is made once, for what is there, and ends when its time is over or its mothership is gone', () => {
    const map = mapOf(component, ...here('m1'), quarantined('m1', at), quarantined('m9'), moving('m1', 'm2'))
    const failure = { mothership: 'm1', version: 'news/1.0.0', reason: 'x' }
    expect(quarantine(map, [failure], at)).toEqual([])
    const steps = quarantine(mapOf(component, ...here('m1')), [failure, { ...failure, mothership: 'm7' }], at)
    expect(steps.flatMap(each => each.changes)).toMatchObject([
      { id: 'm1/news/1.0.0', value: { until: '2026-01-01T00:20:00.000Z', reason: 'x' } },
    ])
    const gone = expired(map, at).flatMap(each => each.subjects)
    expect(gone.sort()).toEqual(['m1/news/1.0.0', 'm9/news/1.0.0', 'news.1'])
  })

  it('keeps the version away, says why, and is taken back by a refresh', () => {
    const map = mapOf(component, ...here('m1', 'm2'), quarantined('m1'))
    const place = (): unknown =>
      new Engine(map, () => undefined).place(
        map,
        { component: 'news', version: '1.0.0', need: { cpu: 1, ram: 1, bandwidth: 1 }, wish: {}, copies: 2 },
        { nowMs: 0, at },
      )
    expect(place()).toMatchObject({
      on: ['m2'],
      decision: { refusedByRule: { quarantine: 1 } },
      reasons: [{ mothership: 'm1', rule: 'quarantine', reason: expect.stringContaining('no such library') }],
    })
    expect(pardon(map, 'news/1.0.0')).toEqual([{ kind: 'quarantine', id: 'm1/news/1.0.0', value: null }])
    expect(pardon(map, 'news/2.0.0')).toEqual([])
  })
})
