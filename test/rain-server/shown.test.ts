/** Fragments of kept state that are older than what was shown already. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBefore, type Reached, Shown } from '../../src/rain-server/shown.js'

const at = (since: number, epoch: number, seq = 0): Reached => ({ since, epoch, seq })

describe('what was shown of kept state', () => {
  it('accepts what is of no earlier epoch than what was seen, of each instance for itself', () => {
    const shown = new Shown()
    expect(shown.accepts('a.1', at(10, 3))).toBe(true)
    expect(shown.accepts('a.1', at(10, 3))).toBe(true)
    expect(shown.accepts('a.1', at(10, 2))).toBe(false)
    expect(shown.accepts('b.1', at(10, 1))).toBe(true)
    // Another instance under the same name begins anew, and the one before is not shown any more.
    expect(shown.accepts('a.1', at(20, 1))).toBe(true)
    expect(shown.accepts('a.1', at(10, 9))).toBe(false)
    expect(shown.accepts('a.1', at(20, 2))).toBe(true)
  })

  it('lets a later epoch show less, where the earlier one was lost', () => {
    const shown = new Shown()
    expect(shown.accepts('a.1', at(10, 3, 100), undefined)).toBe(true)
    expect(shown.accepts('a.1', at(10, 4, 90), at(10, 3, 100))).toBe(true)
    expect(shown.accepts('a.1', at(10, 4, 89), at(10, 4, 90))).toBe(false)
  })

  it('forgets the session that was away longest, and no other', () => {
    const shown = new Shown()
    for (let i = 0; i <= 10_000; i++) {
      shown.note(`s${i}`, 'a.1', at(1, 1, i))
      shown.note('kept', 'a.1', at(1, 1, i))
    }
    expect([shown.of('s0', 'a.1'), shown.of('kept', 'a.1'), shown.of('s10000', 'a.1')]).toEqual([
      undefined,
      at(1, 1, 10_000),
      at(1, 1, 10_000),
    ])
  })

  it('never goes back for a session, however answers of copies are doubled, late and mixed', () => {
    const reached = fc.record({
      since: fc.integer({ min: 1, max: 2 }),
      epoch: fc.integer({ min: 1, max: 3 }),
      seq: fc.integer({ min: 0, max: 5 }),
    })
    const step = fc.record({
      session: fc.constantFrom('s', 't'),
      instance: fc.constantFrom('a.1', 'b.1'),
      // A request is answered after others that were made later: its floor is the one of when it was asked for.
      late: fc.nat(3),
      reached,
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const shown = new Shown()
        const askedAt = steps.map((each, i) => ({ ...each, atStep: Math.max(0, i - each.late) }))
        const floors = new Map<number, Reached | undefined>()
        const ends: { asked: number; ended: number; session: string; instance: string; reached: Reached }[] = []
        for (const [now] of steps.entries()) {
          askedAt.forEach((each, i) => {
            if (each.atStep === now) floors.set(i, shown.of(each.session, each.instance))
          })
          const { session, instance, reached: here } = steps[now]!
          if (!shown.accepts(instance, here, floors.get(now))) continue
          shown.note(session, instance, here)
          ends.push({ asked: askedAt[now]!.atStep, ended: now, session, instance, reached: here })
        }
        for (const one of ends) {
          for (const other of ends) {
            const same = one.session === other.session && one.instance === other.instance
            if (same && one.ended < other.asked) expect(isBefore(other.reached, one.reached)).toBe(false)
          }
        }
      }),
    )
  })
})
