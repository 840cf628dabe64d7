import { describe, expect, it } from 'vitest'
import type { PlacementQuestion, PlacementResult } from '../../../src/cloud/decide/verdict.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import type { MeasuredLoad } from '../../../src/cloud/placement/host.js'
import { type Change, defaultSettings, type MothershipRecord, put, type Settings } from '../../../src/cloud/records.js'
import { mapOf } from '../../support/clouds.js'
import { aMothership, anInstance, motherships, session } from '../../support/records.js'

const aQuestion = (more: Partial<PlacementQuestion> = {}): PlacementQuestion => ({
  component: 'news',
  version: '1.0.0',
  need: { cpu: 500, ram: 512, bandwidth: 1000 },
  wish: {},
  copies: 1,
  ...more,
})

const withSettings = (some: Partial<Settings>): Change => put('settings', '', { ...defaultSettings, ...some })
const withHost = (id: string, more: Partial<MothershipRecord> = {}): Change[] => [
  put('motherships', id, aMothership(id, more)),
  session('mothership', id),
]

function place(
  changes: readonly Change[],
  question: Partial<PlacementQuestion> = {},
  loads: Readonly<Record<string, MeasuredLoad>> = {},
): PlacementResult {
  const map = mapOf(...changes)
  const engine = new Engine(map, id => loads[id])
  return engine.place(map, aQuestion(question), { nowMs: 100_000, at: '2026-01-01T00:00:00.000Z' })
}

const on = (result: PlacementResult): readonly string[] => (result.kind === 'placed' ? result.on : [])
const reasons = (result: PlacementResult): string[] =>
  (result.reasons ?? []).map(each => `${each.mothership} ${each.rule}: ${each.reason}`)
const load = (some: Partial<MeasuredLoad>): MeasuredLoad => ({ cpu: 0, ram: 0, bandwidth: 0, ageMs: 500, ...some })

describe('placement', () => {
  it('takes the mothership that stays emptiest, and the lowest id among equals', () => {
    const full = put('instances', 'news.a', anInstance('news.a', ['m1'], { need: { cpu: 400, ram: 0, bandwidth: 0 } }))

    expect(on(place(motherships('m2', 'm1')))).toEqual(['m1'])
    expect(on(place([...motherships('m1', 'm2'), full]))).toEqual(['m2'])
  })

  it('does not average a saturated link away', () => {
    const busy = put('instances', 'x.a', anInstance('x.a', ['m1'], { need: { cpu: 0, ram: 0, bandwidth: 90_000 } }))
    const half = put('instances', 'x.b', anInstance('x.b', ['m2'], { need: { cpu: 800, ram: 1600, bandwidth: 0 } }))

    expect(on(place([...motherships('m1', 'm2'), busy, half]))).toEqual(['m2'])
  })

  it('packs what fits onto few motherships when that is the policy', () => {
    const some = put('instances', 'x.a', anInstance('x.a', ['m2'], { need: { cpu: 800, ram: 512, bandwidth: 0 } }))

    expect(on(place([...motherships('m1', 'm2'), some, withSettings({ policy: 'pack' })]))).toEqual(['m2'])
    expect(on(place([...motherships('m1', 'm2'), some, withSettings({ policy: 'spread' })]))).toEqual(['m1'])
  })

  it('explains, host by host, why an instance fits nowhere', () => {
    const full = put('instances', 'x.a', anInstance('x.a', ['m7'], { need: { cpu: 1800, ram: 0, bandwidth: 0 } }))
    const changes = [
      put('motherships', 'm1', aMothership('m1')),
      ...withHost('m2', { cordoned: true }),
      ...withHost('m3', { draining: { deadline: null } }),
      ...withHost('m4', { labels: { disk: 'hdd' } }),
      ...withHost('m5', { labels: { disk: 'ssd' }, zone: 'b' }),
      ...withHost('m6', { labels: { disk: 'ssd' }, zone: 'a', capacity: { cpu: 400, ram: 4096, bandwidth: 9_999 } }),
      ...withHost('m7', { labels: { disk: 'ssd' }, zone: 'a' }),
      ...withHost('m8', { labels: { disk: 'ssd' }, zone: 'a' }),
      full,
    ]
    const result = place(changes, { wish: { labels: { disk: 'ssd' }, zones: ['a'] } }, { m8: load({ ram: 3900 }) })

    expect(reasons(result)).toEqual([
      'm1 connected: has no live session',
      'm2 not-cordoned: is cordoned',
      'm3 not-draining: is draining',
      'm4 labels: has label disk=hdd, not ssd',
      'm5 zone: is in zone b, not in a',
      'm6 enough-room: needs 500 millicores of cpu, has 400 unreserved',
      'm7 enough-room: needs 500 millicores of cpu, has 200 unreserved',
      'm8 below-ceiling: ram would be at 108 % of capacity as measured, the ceiling is 95 %',
    ])
  })

  it('says so when there is no mothership at all, or not the one that was named', () => {
    expect(reasons(place([]))).toEqual([' registered: there is no mothership'])
    expect(reasons(place(motherships('m1'), { only: 'm9' }))).toEqual(['m9 registered: there is no mothership m9'])
  })

  it('looks at one mothership only when one is named', () => {
    expect(on(place(motherships('m1', 'm2'), { only: 'm2' }))).toEqual(['m2'])
    expect(place([...motherships('m1'), ...withHost('m2', { cordoned: true })], { only: 'm2' })).toEqual({
      kind: 'nowhere',
      reasons: [{ mothership: 'm2', rule: 'not-cordoned', reason: 'is cordoned' }],
    })
  })

  it('puts copies on different motherships, in different zones first, and says how many are missing', () => {
    const hosts = [...withHost('m1', { zone: 'a' }), ...withHost('m2', { zone: 'a' }), ...withHost('m3', { zone: 'b' })]
    const four = place([...hosts, ...withHost('m4', { cordoned: true })], { copies: 4 })

    expect(on(place(hosts, { copies: 2 }))).toEqual(['m1', 'm3'])
    expect(four).toMatchObject({ on: ['m1', 'm3', 'm2'], missing: 1 })
    expect(reasons(four)).toEqual(['m4 not-cordoned: is cordoned'])
  })

  it('never puts a further copy where there is one', () => {
    const instance = anInstance('news.a', ['m1'])

    expect(on(place([...motherships('m1', 'm2'), put('instances', 'news.a', instance)], { instance }))).toEqual(['m2'])
    expect(place([...motherships('m1'), put('instances', 'news.a', instance)], { instance })).toMatchObject({
      reasons: [{ rule: 'one-copy-each' }],
    })
  })

  it('keeps apart who asks for it, from both sides and across versions', () => {
    const other = put('instances', 'news.a', anInstance('news.a', ['m1'], { version: '2.0.0' }))
    const alone = put('instances', 'news.a', anInstance('news.a', ['m1'], { placement: { antiAffinity: 'component' } }))

    expect(reasons(place([...motherships('m1'), other], { wish: { antiAffinity: 'component' } }))).toHaveLength(1)
    expect(on(place([...motherships('m1'), other]))).toEqual(['m1'])
    expect(reasons(place([...motherships('m1'), alone]))).toEqual([
      'm1 anti-affinity: has an instance of this component that wants no other one beside it',
    ])
    expect(on(place([...motherships('m1'), alone], { component: 'shop' }))).toEqual(['m1'])
  })

  it('counts what is measured where it is more than what is reserved, and never where it is less', () => {
    const half = put('instances', 'x.a', anInstance('x.a', ['m1'], { need: { cpu: 1000, ram: 0, bandwidth: 0 } }))
    const changes = [...motherships('m1', 'm2'), half]

    expect(on(place(changes, {}, { m1: load({}), m2: load({ cpu: 1200 }) }))).toEqual(['m1'])
    expect(on(place(changes, {}, { m1: load({}), m2: load({ cpu: 800 }) }))).toEqual(['m2'])
  })

  it('uses a load until it is stale, then what is declared stands in', () => {
    const at = (ageMs: number): PlacementResult =>
      place(motherships('m1', 'm2'), {}, { m1: load({ cpu: 1000, ageMs }) })

    expect([5_000, 15_000, 15_001].map(ageMs => on(at(ageMs))[0])).toEqual(['m2', 'm2', 'm1'])
    expect(at(2_000)).toMatchObject({ decision: { candidates: [{ loadAgeMs: null }, { loadAgeMs: 2000 }] } })
  })

  it('lets over-commit give away more than there is, and refuses nothing over a resource that is not asked for', () => {
    const full = put('instances', 'x.a', anInstance('x.a', ['m1'], { need: { cpu: 2500, ram: 0, bandwidth: 0 } }))
    const twice = withSettings({ overcommit: { cpu: 2, ram: 1, bandwidth: 1 } })

    expect(reasons(place([...motherships('m1'), full]))).toEqual([
      'm1 enough-room: needs 500 millicores of cpu, has 0 unreserved',
    ])
    expect(on(place([...motherships('m1'), full, twice]))).toEqual(['m1'])
    expect(on(place([...motherships('m1'), full], { need: { cpu: 0, ram: 1, bandwidth: 0 } }))).toEqual(['m1'])
  })

  it('records the best three, and how many each rule refused', () => {
    const changes = [...motherships('m1', 'm2', 'm3', 'm4'), ...withHost('m5', { cordoned: true })]
    const result = place(changes, {}, { m2: load({ cpu: 700 }) })

    expect(result).toMatchObject({
      kind: 'placed',
      decision: {
        decisionRevision: 1,
        at: '2026-01-01T00:00:00.000Z',
        candidates: [{ mothership: 'm1', pressure: { cpu: 0.25, ram: 0.125, bandwidth: 0.01 } }, {}, {}],
        refusedByRule: { 'not-cordoned': 1 },
      },
    })
  })
})
