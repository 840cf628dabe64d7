/** What a history holds: the document at every position, though few of them are kept. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { entryAfter, type Json } from '../../../src/cloud/replication/entry.js'
import { History } from '../../../src/cloud/replication/history.js'

const bodyOf = (value: string): string =>
  JSON.stringify({ id: value, patches: [{ op: 'add', path: ['log', '-'], value }] })

const first = JSON.stringify({ id: 'first', patches: [{ op: 'add', path: ['log'], value: [] }] })

/** As long as a change is one thing more in the list. */
const logOf = (document: Json): readonly string[] => (document as { log?: string[] }).log ?? []

function add(history: History, body: string): void {
  history.append(entryAfter(history.tail, 1, body))
}

describe('a history', () => {
  it('has the document of each position that it holds, whatever was cut off and settled', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('add' as const), count: fc.integer({ min: 1, max: 60 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), count: fc.nat(30) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle' as const), count: fc.nat(80) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('look' as const), count: fc.nat(100) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const history = new History()
        add(history, first)
        /** Of each position from 1 on, what it added. */
        const said = ['']
        let n = 0
        const shows = (seq: number): void => expect(logOf(history.documentAt(seq))).toEqual(said.slice(1, seq))
        for (const { kind, count } of steps) {
          const { base, tail } = history
          if (kind === 'add') {
            for (let i = 0; i < count; i++) {
              said.push(`change ${n++}`)
              add(history, bodyOf(said.at(-1)!))
            }
          } else if (kind === 'cut') {
            const seq = Math.max(base.seq, 1, tail.seq - count)
            history.cut(seq)
            said.length = seq
          } else if (kind === 'settle') history.settle(Math.max(base.seq, tail.seq - count))
          else shows(Math.max(base.seq, 1, tail.seq - count))
          shows(history.tail.seq)
          expect(history.document).toBe(history.documentAt(history.tail.seq))
        }
        for (let { seq } = history.base; seq <= history.tail.seq; seq++) if (seq > 0) shows(seq)
      }),
      { numRuns: 100 },
    )
  })

  it('keeps few documents of many, those that copies compare among them', () => {
    const history = new History()
    add(history, first)
    for (let n = 2; n <= 5_000; n++) add(history, bodyOf(`change ${n}`))
    expect(history.length).toBe(5_000)
    expect(history.documents).toBeLessThan(25)
    // The same object each time: it was not made again.
    for (const seq of [1_024, 4_096]) expect(history.documentAt(seq)).toBe(history.documentAt(seq))
    expect(logOf(history.documentAt(3_000))).toHaveLength(2_999)
  })
})
