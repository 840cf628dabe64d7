/** What the leader does unasked for an instance that keeps state, one change of its configuration at a time. */
import { describe, expect, it } from 'vitest'
import { force } from '../../src/cloud/decide/force.js'
import { isReachable, repairKept } from '../../src/cloud/decide/kept.js'
import type { UpkeepContext } from '../../src/cloud/decide/whereabouts.js'
import { type Change, type CopyReport, type InstanceRecord, type Phase, put } from '../../src/cloud/records.js'
import { mapOf } from '../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../support/records.js'

const ships = ['m1', 'm2', 'm3']

interface Says extends Partial<CopyReport> {
  readonly phase?: Phase
  readonly epoch?: number
}

interface Given {
  readonly instance?: Partial<InstanceRecord>
  /** What each copy says; in the epoch and session of now. */
  readonly says?: Readonly<Record<string, Says>>
  /** Milliseconds for which a mothership has been gone. */
  readonly gone?: Readonly<Record<string, number>>
  readonly draining?: readonly string[]
  /** Where a further copy would be placed. */
  readonly place?: readonly string[]
}

const base = {
  epoch: 7,
  primary: 'm1',
  inSync: ['m1', 'm2'],
  learners: [] as string[],
  journals: { m1: 'j1', m2: 'j2' } as Record<string, string>,
  placement: { copies: 2 },
}

function theMap({ instance = {}, says = {}, gone = {}, draining = [] }: Given) {
  const record = anInstance('keep.1', ['m1', 'm2'], { ...base, ...instance })
  const sessions = ships.filter(id => gone[id] === undefined).map(id => session('mothership', id))
  const changes: Change[] = [
    put('components', 'keep/1.0.0', aComponent('keep', '1.0', { state: 'kept' })),
    ...ships.map(id =>
      put('motherships', id, aMothership(id, draining.includes(id) ? { draining: { deadline: null } } : {})),
    ),
    ...sessions,
    put('instances', 'keep.1', record),
  ]
  const before = mapOf(...changes)
  const observed = Object.entries(says).map(([id, { phase = 'running', epoch = record.epoch, ...copy }]) =>
    put('observed', `${id}/keep.1`, {
      schema: 1,
      epoch,
      generation: 0,
      phase,
      since: '2026-01-01T00:00:00.000Z',
      session: before.get('sessions', `mothership/${id}`)?.modified ?? 1,
      copy: { journal: `j${id.slice(1)}`, seq: 10, sound: true, ...copy },
    }),
  )
  return { map: mapOf(...changes, ...observed), record }
}

function repaired(given: Given): Partial<InstanceRecord> | undefined {
  const { map, record } = theMap(given)
  const context: UpkeepContext = {
    goneForMs: id => given.gone?.[id],
    at: '2026-01-01T00:00:10.000Z',
    place: () =>
      given.place
        ? { kind: 'placed', on: given.place, decision: { at: '', by: 'test', rules: [], candidates: [] } as never }
        : { kind: 'nowhere', reasons: [] },
  }
  const step = repairKept(map, record, context)
  const value = step?.changes.find(each => each.kind === 'instances') as { value?: InstanceRecord } | undefined
  if (!value?.value) return undefined
  const { epoch, primary, inSync, learners, journals } = value.value
  expect(epoch).toBe(record.epoch + 1)
  return { primary, inSync, learners, journals: journals ?? {} }
}

const bothSay = { m1: {}, m2: {} }

describe('an instance that keeps state', () => {
  it('is left alone while all is well', () => {
    expect(repaired({ says: bothSay })).toBeUndefined()
  })

  it('registers the journal of its first primary', () => {
    const fresh = { inSync: ['m1'], learners: ['m2'], journals: {} }
    expect(repaired({ instance: fresh, says: { m1: { wants: 'register' } } })).toEqual({
      primary: 'm1',
      inSync: ['m1'],
      learners: ['m2'],
      journals: { m1: 'j1' },
    })
  })

  it('admits a learner that the primary says is ready, under the journal that it names', () => {
    const learns = { inSync: ['m1'], learners: ['m2'], journals: { m1: 'j1' } }
    const says = { m1: { admit: { m2: 'new' } } }
    expect(repaired({ instance: learns, says })).toEqual({
      primary: 'm1',
      inSync: ['m1', 'm2'],
      learners: [],
      journals: { m1: 'j1', m2: 'new' },
    })
    // Not when it was said in an epoch that is over.
    expect(repaired({ instance: learns, says: { m1: { admit: { m2: 'new' }, epoch: 6 } } })).toBeUndefined()
  })

  it('is promoted at once when the session of its primary ends; the old one counts until the new one goes on without it', () => {
    expect(repaired({ says: { m2: {} }, gone: { m1: 10 } })).toEqual({
      primary: 'm2',
      inSync: ['m1', 'm2'],
      learners: [],
      journals: base.journals,
    })
    const promoted = { primary: 'm2' }
    expect(repaired({ instance: promoted, says: { m2: {} }, gone: { m1: 40 } })).toBeUndefined()
    expect(repaired({ instance: promoted, says: { m2: { drop: ['m1'] } }, gone: { m1: 40 } })).toEqual({
      primary: 'm2',
      inSync: ['m2'],
      learners: ['m1'],
      journals: { m2: 'j2' },
    })
  })

  it('goes back to the old primary when the new one is gone, or was started again, before it went on alone', () => {
    const instance = { primary: 'm2' }
    expect(repaired({ instance, says: { m1: {} }, gone: { m2: 10 } })).toMatchObject({ primary: 'm1' })
    const again = { m1: {}, m2: { wants: 'renew', sound: false } } as const
    expect(repaired({ instance, says: again })).toMatchObject({ primary: 'm1', inSync: ['m1', 'm2'] })
  })

  it('goes to no copy that is not in sync, has another journal, or said so in an earlier session', () => {
    const gone = { m1: 10 }
    expect(repaired({ says: { m2: { journal: 'another' } }, gone })).toBeUndefined()
    expect(repaired({ says: { m2: { wants: 'lost' } }, gone })).toMatchObject({ primary: 'm1', inSync: ['m1'] })
    expect(repaired({ gone })).toBeUndefined()
    const learns = { inSync: ['m1'], learners: ['m2'], journals: { m1: 'j1' } }
    expect(repaired({ instance: learns, says: { m2: {} }, gone })).toBeUndefined()
  })

  it('waits for the old primary rather than take a copy that was started again, until that one is lost', () => {
    const says = { m2: { sound: false } }
    expect(repaired({ says, gone: { m1: 10 } })).toBeUndefined()
    expect(repaired({ says, gone: { m1: 60_000 } })).toMatchObject({ primary: 'm2', inSync: ['m2'] })
  })

  it('gives a primary that was started again its turn only when no other copy knows better', () => {
    const again = { m1: { wants: 'renew', sound: false } } as const
    expect(repaired({ says: { ...again, m2: {} } })).toMatchObject({ primary: 'm2', inSync: ['m1', 'm2'] })
    expect(repaired({ says: again })).toBeUndefined()
    expect(repaired({ says: { ...again, m2: { sound: false } } })).toMatchObject({
      primary: 'm1',
      inSync: ['m1', 'm2'],
    })
  })

  it('lets a backup that has lost its journal learn anew', () => {
    expect(repaired({ says: { m1: {}, m2: { wants: 'lost' } } })).toEqual({
      primary: 'm1',
      inSync: ['m1'],
      learners: ['m2'],
      journals: { m1: 'j1' },
    })
  })

  it('goes on without a backup when its primary says so, and has it learn unless it is lost', () => {
    const says = { m1: { drop: ['m2'] }, m2: {} }
    expect(repaired({ says })).toMatchObject({ inSync: ['m1'], learners: ['m2'], journals: { m1: 'j1' } })
    expect(repaired({ says, gone: { m2: 10 } })).toMatchObject({ inSync: ['m1'], learners: ['m2'] })
    expect(repaired({ says, gone: { m2: 60_000 } })).toMatchObject({ inSync: ['m1'], learners: [] })
  })

  it('gets another copy for one that is lost, and lets that go only when enough others are in sync', () => {
    const gone = { m2: 60_000 }
    const learning = repaired({ says: { m1: {} }, gone, place: ['m3'] })
    expect(learning).toMatchObject({ learners: ['m3'] })
    const instance = { inSync: ['m1', 'm2', 'm3'], journals: { m1: 'j1', m2: 'j2', m3: 'j3' } }
    expect(repaired({ instance, says: { m1: {}, m3: {} }, gone })).toMatchObject({ inSync: ['m1', 'm3'] })
  })

  it('leaves a mothership that is drained when another copy has taken its place', () => {
    const draining = ['m1']
    expect(repaired({ says: bothSay, draining })).toMatchObject({ primary: 'm2', inSync: ['m1', 'm2'] })
    const moved = { primary: 'm2' }
    expect(repaired({ instance: moved, says: bothSay, draining, place: ['m3'] })).toMatchObject({
      primary: 'm2',
      inSync: ['m1', 'm2'],
      learners: ['m3'],
    })
  })

  it('whose last copies in sync are all gone waits, and cannot be reached', () => {
    const given = { gone: { m1: 60_000, m2: 60_000 }, place: ['m3'] }
    expect(repaired(given)?.primary ?? 'm1').toBe('m1')
    expect(repaired(given)?.inSync ?? base.inSync).toEqual(base.inSync)
    const { map, record } = theMap(given)
    expect(isReachable(map, record)).toBe(false)
  })

  it('begins elsewhere when it was never begun', () => {
    const fresh = { inSync: ['m1'], learners: [], journals: {}, placement: { copies: 1 } }
    expect(repaired({ instance: fresh, gone: { m1: 60_000 }, place: ['m3'] })).toEqual({
      primary: 'm3',
      inSync: ['m3'],
      learners: [],
      journals: {},
    })
  })
})

describe('force', () => {
  const away = { gone: { m1: 60_000 } }
  const forced = (given: Given, promote: string) =>
    force(theMap(given).map, { instance: 'keep.1', promote, acceptLoss: true })
  const code = (verdict: ReturnType<typeof forced>): unknown =>
    verdict.kind === 'refuse' ? verdict.error.code : 'done'

  it('makes what one mothership has the only copy, and says what is lost', () => {
    const learns = { inSync: ['m1'], learners: ['m2'], journals: { m1: 'j1' } }
    const verdict = forced({ instance: learns, says: { m2: { seq: 42 } }, ...away }, 'm2')
    if (verdict.kind !== 'do') throw verdict.error
    const [step] = verdict.steps
    expect(step!.changes[0]).toMatchObject({
      value: { epoch: 8, primary: 'm2', inSync: ['m2'], learners: [], journals: { m2: 'j2' } },
    })
    expect(step!.note).toBe('keep.1 goes on with what m2 has, change 42 at least; what only m1 had of it is lost')
  })

  it('begins empty where there is no copy', () => {
    const verdict = forced(away, 'm3')
    if (verdict.kind !== 'do') throw verdict.error
    expect(verdict.steps[0]!.changes[0]).toMatchObject({ value: { primary: 'm3', inSync: ['m3'], journals: {} } })
    expect(verdict.steps[0]!.note).toContain('goes on empty: m3 has no copy')
  })

  it('is refused while the primary serves, and where nothing could be served', () => {
    expect(code(forced({ says: bothSay }, 'm2'))).toBe('conflict')
    expect(code(forced(away, 'm1'))).toBe('conflict')
    expect(code(forced(away, 'm9'))).toBe('unknown-thing')
    const { map } = theMap(away)
    expect(code(force(map, { instance: 'keep.2', promote: 'm2', acceptLoss: true }))).toBe('unknown-thing')
  })
})
