/** Decisions of one transaction in one value: what is read is what was decided, and what is broken is refused. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Decision } from '../../src/cloud/records.js'
import { readDecision, writeDecisions } from '../../src/store/decisions.js'

const decision: Decision = {
  decisionRevision: 7,
  at: '2026-01-01T00:00:00.000Z',
  candidates: [
    {
      mothership: 'm1',
      score: 0.5,
      terms: { free: 1, worst: -0.25, fit: 0.1 },
      pressure: { cpu: 0.1, ram: 0, bandwidth: 12 },
      loadAgeMs: null,
    },
  ],
  refusedByRule: { 'enough-room': 3 },
}

const anyNumber = fc.oneof(
  { weight: 9, arbitrary: fc.nat(20_000).map(n => n / 10_000 - 1) },
  fc.nat(),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.constant(1e-7),
)
const anyText = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('free', 'enough-room', 'a b') },
  fc.string(),
  fc.constantFrom('"', '\\', '},', 'é'),
)
const anyDecision = fc.record({
  decisionRevision: fc.nat(),
  at: fc.constant('2026-01-01T00:00:00.000Z'),
  candidates: fc.array(
    fc.record({
      mothership: fc.constantFrom('m1', 'a.b-c_1'),
      score: anyNumber,
      terms: fc.dictionary(anyText, anyNumber, { noNullPrototype: true }),
      pressure: fc.record({ cpu: fc.nat(), ram: fc.double({ min: 0, max: 9, noNaN: true }), bandwidth: fc.nat() }),
      loadAgeMs: fc.option(anyNumber),
    }),
    { maxLength: 3 },
  ),
  refusedByRule: fc.dictionary(anyText, fc.nat(), { noNullPrototype: true }),
})

describe('decisions', () => {
  it('are read as they were decided, each by its instance', () => {
    fc.assert(
      fc.property(fc.array(anyDecision, { maxLength: 5 }), found => {
        const decided = found.map((each, at) => ({
          instance: `shop.${at}`,
          decision: JSON.parse(JSON.stringify(each)),
        }))
        const bytes = writeDecisions(decided)
        for (const { instance, decision } of decided) expect(readDecision(bytes, instance)).toEqual(decision)
        expect(readDecision(bytes, 'shop.none')).toBeUndefined()
      }),
    )
  })

  it('name a mothership once, however many are placed', () => {
    const decided = Array.from({ length: 50 }, (_, at) => ({ instance: `shop.${at}`, decision }))
    expect(Buffer.from(writeDecisions(decided)).toString().split('"m1"')).toHaveLength(2)
  })

  it('are refused with the name of the instance when anything about them is broken', () => {
    const text = Buffer.from(writeDecisions([{ instance: 'shop.1', decision }])).toString()
    for (const [from, to] of [
      ['"schema":1', '"schema":2'],
      ['[0,0.5', '[7,0.5'],
      ['[0,0.5', '["m1",0.5'],
      ['"at":"2026', '"at":"x'],
      ['{', '['],
    ] as const) {
      const broken = Buffer.from(text.replace(from, to))
      expect(() => readDecision(broken, 'shop.1'), `${from} -> ${to}`).toThrow(/kept for shop\.1 cannot be read/)
    }
  })
})
