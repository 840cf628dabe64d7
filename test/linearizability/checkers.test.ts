/** The judges of histories, judged: known-good and known-bad ones, and small random ones against every order. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromLines, type Operation, toLines, type Version } from '../support/linearizability/history.js'
import { keysOutOfOrder } from '../support/linearizability/search.js'
import { judgeByWitness } from '../support/linearizability/witness.js'
import { someOrderFits } from './brute-force.js'

type Given = Partial<Operation> & Pick<Operation, 'value'>

/** `[called, returned]`; on one key, acknowledged, unless said otherwise. */
const at = ([calledMs, returnedMs]: readonly [number, number?], given: Given): Operation => ({
  client: 'c',
  key: 'x',
  kind: 'write',
  outcome: 'done',
  calledMs,
  ...(returnedMs === undefined ? { outcome: 'unknown' } : { returnedMs }),
  ...given,
})
const write = (
  times: readonly [number, number?],
  value: string | null,
  revision?: number,
  more: Partial<Operation> = {},
) => at(times, { kind: 'write', value, ...(revision === undefined ? {} : { revision }), ...more })
const read = (
  times: readonly [number, number?],
  value: string | null,
  revision?: number,
  more: Partial<Operation> = {},
) => at(times, { kind: 'read', value, ...(revision === undefined ? {} : { revision }), ...more })

const rulesOf = (history: readonly Operation[], log?: readonly Version[]): string[] => [
  ...new Set(judgeByWitness(history, log).violations.map(each => each.rule)),
]

const good: Readonly<Record<string, readonly Operation[]>> = {
  'a write and a later read': [write([0, 1], 'a', 5), read([2, 3], 'a', 5)],
  'a read that overlaps a write and does not see it yet': [
    write([0, 1], 'a', 5),
    write([2, 9], 'b', 7),
    read([3, 4], 'a', 6),
    read([5, 6], 'b', 8),
  ],
  'overlapping writes in either order': [write([0, 9], 'a', 6), write([0, 9], 'b', 5), read([10, 11], 'a', 6)],
  'a write without an answer that a read sees late': [
    write([0, 1], 'a', 5),
    write([2], 'b'),
    read([3, 4], 'a', 6),
    read([50, 51], 'b', 9, { modified: 8 }),
  ],
  'a write without an answer that never happens': [write([0, 1], 'a', 5), write([2], 'b'), read([50, 51], 'a', 5)],
  'something deleted': [write([0, 1], 'a', 5), write([2, 3], null, 6), read([4, 5], null, 7)],
  'a cas that finds what it expects, and one that does not': [
    write([0, 1], 'a', 5),
    at([2, 3], { kind: 'cas', expected: 'a', value: 'b', revision: 6 }),
    at([4, 5], { kind: 'cas', expected: 'a', value: 'c', outcome: 'refused' }),
    read([6, 7], 'b', 6),
  ],
  'a write that was refused': [
    write([0, 1], 'a', 5),
    write([2, 3], 'b', undefined, { outcome: 'refused' }),
    read([4, 5], 'a', 5),
  ],
}

interface Bad {
  readonly history: readonly Operation[]
  readonly rules: readonly string[]
  readonly log?: readonly Version[]
  /** Only revisions tell: without them there is an order. */
  readonly byWitnessOnly?: boolean
}

const shared: readonly Operation[] = [
  write([0, 1], 'a', 5),
  write([2, 9], 'b', 6),
  write([2, 9], 'c', 6),
  read([10, 11], 'c', 6),
]

const x = (revision: number, value: string | null): Version => ({ key: 'x', revision, value })

const bad: Readonly<Record<string, Bad>> = {
  'a stale read': {
    history: [write([0, 1], 'a', 5), write([2, 3], 'b', 6), read([4, 5], 'a', 5)],
    rules: ['revisions respect real time'],
  },
  'a lost write': {
    history: [write([0, 1], 'a', 5), write([2, 3], 'b', 6), read([4, 5], 'a', 9), read([6, 7], 'a', 9)],
    rules: ['reads find the state at their revision'],
  },
  'a write that is not in the log': {
    history: [write([0, 1], 'a', 5), write([2, 3], 'b', 6)],
    log: [x(5, 'a')],
    rules: ['acknowledged writes are in the log'],
    byWitnessOnly: true,
  },
  'a double effect': {
    history: [
      write([0, 1], 'a', 5),
      write([2, 3], 'b', 6),
      read([4, 5], 'b', 6),
      read([6, 7], 'a', 8, { modified: 7 }),
    ],
    rules: ['one effect for a write'],
  },
  'a double effect that only the log shows': {
    history: [write([0, 1], 'a', 5), write([2, 3], 'b', 6)],
    log: [x(5, 'a'), x(6, 'b'), x(7, 'a')],
    rules: ['one effect for a write'],
    byWitnessOnly: true,
  },
  'reads that go back': {
    history: [write([0, 1], 'a', 5), write([2, 30], 'b', 6), read([3, 4], 'b', 6), read([5, 6], 'a', 5)],
    rules: ['revisions respect real time'],
  },
  'writes whose order is not that of time': {
    history: [write([0, 1], 'a', 7), write([2, 3], 'b', 6), read([4, 5], 'a', 7)],
    rules: ['revisions respect real time'],
  },
  'a read of what nobody wrote': {
    history: [write([0, 1], 'a', 5), read([2, 3], 'ghost', 7, { modified: 6 })],
    rules: ['only what was written is there'],
  },
  'a read of what is written later': {
    history: [write([0, 1], 'a', 5), read([2, 3], 'b', 6, { modified: 6 }), write([4, 5], 'b', 6)],
    rules: ['revisions respect real time'],
  },
  'a refused write that happened': {
    history: [
      write([0, 1], 'a', 5),
      write([2, 3], 'b', undefined, { outcome: 'refused' }),
      read([4, 5], 'b', 7, { modified: 6 }),
    ],
    rules: ['refused writes are not in the log'],
  },
  'a cas that overtook another': {
    history: [
      write([0, 1], 'a', 5),
      at([2, 9], { kind: 'cas', expected: 'a', value: 'b', revision: 6 }),
      at([2, 9], { kind: 'cas', expected: 'a', value: 'c', revision: 7 }),
    ],
    rules: ['a cas finds what it expects'],
  },
  'a deleted thing that comes back': {
    history: [write([0, 1], 'a', 5), write([2, 3], null, 6), read([4, 5], 'a', 7)],
    rules: ['reads find the state at their revision'],
  },
  'two values at one revision': {
    history: [write([0, 1], 'a', 5), write([0, 2], 'b', 5)],
    rules: ['one value at a revision'],
    byWitnessOnly: true,
  },
  'a cas that overtook a write in its own transaction': {
    history: [
      write([0, 1], 'a', 5),
      write([2, 9], 'b', 6),
      at([2, 9], { kind: 'cas', expected: 'a', value: 'c', revision: 6 }),
    ],
    log: [x(5, 'a'), x(6, 'c')],
    rules: ['a cas finds what it expects'],
    byWitnessOnly: true,
  },
  'order broken between two keys': {
    history: [
      write([0, 1], 'a', 5, { key: 'x' }),
      write([2, 3], 'b', 4, { key: 'y' }),
      read([4, 5], 'a', 5, { key: 'x' }),
    ],
    rules: ['revisions respect real time'],
    byWitnessOnly: true,
  },
}

describe('known-good histories', () => {
  for (const [name, history] of Object.entries(good)) {
    it(`are accepted: ${name}`, () => {
      expect(judgeByWitness(history).violations).toEqual([])
      expect(keysOutOfOrder(history)).toEqual([])
    })
  }

  it('may hold writes that shared a transaction, of which the log has the last one', () => {
    expect(rulesOf(shared, [x(5, 'a'), x(6, 'c')])).toEqual([])
    expect(rulesOf(shared, [x(5, 'a')])).toContain('acknowledged writes are in the log')
    const cas = at([2, 9], { kind: 'cas', expected: 'a', value: 'b', revision: 6 })
    expect(rulesOf([shared[0]!, cas, ...shared.slice(2)], [x(5, 'a'), x(6, 'c')])).toEqual([])
  })

  it('may hold aged reads, which owe the state at their revision only', () => {
    const history = [write([0, 1], 'a', 5), write([2, 3], 'b', 6), read([4, 5], 'a', 5, { aged: true })]
    expect(rulesOf(history)).toEqual([])
    expect(keysOutOfOrder(history)).toEqual([])
    const wrong = [...history, read([6, 7], 'a', 6, { aged: true })]
    expect(rulesOf(wrong)).toEqual(['reads find the state at their revision'])
  })
})

describe('known-bad histories', () => {
  for (const [name, { history, rules, log, byWitnessOnly }] of Object.entries(bad)) {
    it(`are recognised: ${name}`, () => {
      expect(rulesOf(history, log)).toEqual(expect.arrayContaining([...rules]))
      expect(keysOutOfOrder(history)).toEqual(byWitnessOnly ? [] : ['x'])
    })
  }
})

describe('lines', () => {
  it('give a history back as it was', () => {
    const history = [...good['a cas that finds what it expects, and one that does not']!, write([2], 'b')]
    expect(fromLines(toLines(history))).toEqual(history)
    expect(() => fromLines('{"hello":1}\n')).toThrow('line 1')
  })
})

/** What a register that is true to its word could have told: each operation takes effect between call and return. */
const trueHistory = fc
  .array(
    fc.record({
      takes: fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })),
      effect: fc.integer({ min: 0, max: 40 }),
      kind: fc.constantFrom('write' as const, 'read' as const, 'cas' as const),
      lost: fc.integer({ min: 0, max: 4 }).map(each => each === 0),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map(plans => {
    let state: string | null = null
    let revision = 1
    const sorted = plans.map((plan, i) => ({ ...plan, i })).sort((a, b) => a.effect - b.effect || a.i - b.i)
    return sorted.map(({ takes, effect, kind, lost, i }): Operation => {
      const times = [effect - takes[0], ...(lost ? [] : [effect + takes[1]])] as unknown as readonly [number, number?]
      if (kind === 'read') return read(times, state, revision, { modified: revision })
      const expected = state
      state = `v${i}`
      revision++
      const more = kind === 'cas' ? { kind, expected } : { kind }
      return at(times, { value: state, ...(lost ? {} : { revision }), ...more })
    })
  })

/** The same with one thing changed; often no register could have told it. */
const doubtfulHistory = fc
  .tuple(trueHistory, fc.nat(), fc.constantFrom('value', 'revision', 'times'), fc.nat({ max: 6 }))
  .map(([history, which, what, number]): Operation[] => {
    const index = which % history.length
    return history.map((each, i) => {
      if (i !== index) return each
      if (what === 'times' && each.returnedMs !== undefined) {
        return { ...each, calledMs: each.calledMs + number * 3, returnedMs: each.returnedMs + number * 3 }
      }
      if (what === 'revision' && each.revision !== undefined) return { ...each, revision: number }
      const other = history[number % history.length]!.value
      return what === 'value' && each.kind === 'read' ? { ...each, value: other } : each
    })
  })

const runs = { numRuns: 3_000 }

describe('small random histories', () => {
  it('that are true are accepted by both judges', () => {
    fc.assert(
      fc.property(trueHistory, history => {
        expect(keysOutOfOrder(history)).toEqual([])
        expect(judgeByWitness(history, logOf(history)).violations).toEqual([])
      }),
      runs,
    )
  })

  it('are judged by the search as by trying every order', () => {
    const counts = { good: 0, bad: 0 }
    fc.assert(
      fc.property(doubtfulHistory, history => {
        const fits = someOrderFits(history)
        counts[fits ? 'good' : 'bad']++
        expect(keysOutOfOrder(history).length === 0).toBe(fits)
      }),
      runs,
    )
    expect(Math.min(counts.good, counts.bad)).toBeGreaterThan(50)
  })

  it('with revisions are judged by the witness as by trying every order that keeps to them', () => {
    const counts = { good: 0, bad: 0 }
    fc.assert(
      fc.property(doubtfulHistory.map(withoutModified).filter(isWitnessed), history => {
        const fits = someOrderFits(history, { byRevision: true })
        counts[fits ? 'good' : 'bad']++
        expect([history, judgeByWitness(history, logOf(history)).violations.length === 0]).toEqual([history, fits])
      }),
      runs,
    )
    expect(Math.min(counts.good, counts.bad)).toBeGreaterThan(50)
  })

  it('that the witness accepts by the log are accepted by the search', () => {
    fc.assert(
      fc.property(doubtfulHistory.filter(isWitnessed), history => {
        if (judgeByWitness(history, logOf(history)).violations.length === 0) expect(keysOutOfOrder(history)).toEqual([])
      }),
      runs,
    )
  })
})

/** Orders know nothing of it. */
const withoutModified = (history: readonly Operation[]): Operation[] =>
  history.map(({ modified: _modified, ...rest }) => rest)

/** Every write with a revision of its own, as a store gives them: then the order of revisions is one order. */
function isWitnessed(history: readonly Operation[]): boolean {
  const writes = history.filter(each => each.kind !== 'read')
  const revisions = writes.map(each => each.revision)
  return revisions.every(each => each !== undefined) && new Set(revisions).size === revisions.length
}

/** The log of a store to which the history is true, where all writes have a revision; else what it says itself. */
function logOf(history: readonly Operation[]): Version[] | undefined {
  if (!isWitnessed(history)) return undefined
  return history
    .filter(each => each.kind !== 'read')
    .map(each => ({ key: each.key, revision: each.revision!, value: each.value }))
}
