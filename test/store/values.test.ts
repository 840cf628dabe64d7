/** What is read is what was written, however small memory keeps it. */
import fc from 'fast-check'
import { Compile } from 'typebox/compile'
import { describe, expect, it } from 'vitest'
import { type Decision, type InstanceRecord, kinds } from '../../src/cloud/records.js'
import { isDecisionText, parseDecision } from '../../src/store/decisions.js'
import { readValue, writeValue } from '../../src/store/values.js'
import { anInstance } from '../support/records.js'

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
const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const good = (value: unknown): InstanceRecord => {
  const read = readValue('instances', bytesOf(value))
  if (read.kind !== 'good') throw new Error(read.reason)
  return read.value
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
  fc.constantFrom('"', '\\', '},', 'é', ',"decision":{'),
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

describe('an instance that was read', () => {
  it('is what was written, whatever it holds', () => {
    const more = fc.record(
      {
        owner: anyText,
        decision: anyDecision,
        later: fc.json(),
        placement: fc.constantFrom({}, { copies: 2, zones: ['a'] }),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(more, fc.array(fc.constantFrom('m1', 'm2', 'm3'), { minLength: 1 }), (more, on) => {
        const value = JSON.parse(JSON.stringify({ ...anInstance('shop.1', on), ...more }))
        const read = good(value)
        expect(read).toEqual(value)
        expect(JSON.parse(JSON.stringify(read))).toEqual(value)
        expect({ ...read, epoch: 2 }).toEqual({ ...value, epoch: 2 })
        expect(good(JSON.parse(Buffer.from(writeValue('instances', read)).toString()))).toEqual(value)
      }),
    )
  })

  it('shares what others have too', () => {
    const [one, other] = ['shop.1', 'shop.2'].map(id => good(anInstance(id, ['m1'], { decision })))
    expect(one!.need).toBe(other!.need)
    expect(one!.inSync).toBe(other!.inSync)
    expect(() => one!.inSync.push('m2')).toThrow(TypeError)
  })

  it('is refused for a wrong decision, wherever that stands', () => {
    for (const wrong of [
      { ...decision, at: 'today' },
      { ...decision, candidates: [{}] },
      { ...decision, decisionRevision: -1 },
    ]) {
      const { epoch, ...rest } = anInstance('shop.1', ['m1'])
      expect(readValue('instances', bytesOf({ epoch, ...rest, decision: wrong }))).toMatchObject({ kind: 'unreadable' })
      expect(readValue('instances', bytesOf({ ...rest, decision: wrong, epoch })).kind).toBe('unreadable')
    }
  })

  it('is refused for a wrong field beside a right decision', () => {
    const value = { ...anInstance('shop.1', ['m1']), decision }
    for (const wrong of [{ epoch: 0 }, { id: 'shop' }, { inSync: 'm1' }, { need: {} }, { createdAt: 'now' }]) {
      const order = { ...value, ...wrong }
      expect(readValue('instances', bytesOf(order)), JSON.stringify(wrong)).toMatchObject({ kind: 'unreadable' })
    }
    const text = JSON.stringify(value)
    for (const cut of [text.slice(0, -1), `${text}}`, `${text.slice(0, -1)},`, text.replace('{', '')]) {
      expect(readValue('instances', Buffer.from(cut)).kind, cut).toBe('unreadable')
    }
  })
})

describe('the text of a decision', () => {
  const check = Compile(kinds.instances.properties.decision)

  it('is kept unparsed only when its schema takes it (P1)', () => {
    let kept = 0
    fc.assert(
      fc.property(anyDecision, found => {
        const text = JSON.stringify(found)
        if (!isDecisionText(text)) return
        kept++
        expect(check.Check(parseDecision(text))).toBe(true)
      }),
      { numRuns: 500 },
    )
    expect(kept).toBeGreaterThan(20)
  })

  it('is kept unparsed when it is as the product writes it', () => {
    const text = JSON.stringify(decision)
    expect(isDecisionText(text)).toBe(true)
    expect(parseDecision(text)).toEqual(decision)
  })

  it('is not kept when anything about it is broken', () => {
    const text = JSON.stringify(decision)
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('', '"', '}', ',', '-', '.', 'x', '00', ' '), (at, put) => {
        const broken = text.slice(0, at) + put + text.slice(at + 1)
        if (!isDecisionText(broken)) return
        expect(check.Check(parseDecision(broken))).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })
})
