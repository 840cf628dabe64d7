import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Credit } from '../../src/mothership/credit.js'
import { linkCreditBytes } from '../../src/protocol/messages.js'

const room = new Uint8Array(linkCreditBytes)
const frame = (bytes: number): Uint8Array => room.subarray(0, bytes)

describe('the credit of a link', () => {
  it('is without bounds for a rain server that does not speak of it', () => {
    let sent = 0
    const credit = new Credit(({ byteLength }) => (sent += byteLength))
    for (let r = 0; r < 40; r++) expect(credit.offer({ r, frame: frame(1_000_000) })).toBe(true)
    expect(sent).toBe(40_000_000)
  })

  it('lets answers go in order, as much as may be under way, and refuses what cannot wait either', () => {
    const sizes = fc.integer({ min: 1, max: 1_000_000 })
    const step = fc.oneof(fc.record({ answer: sizes }), fc.record({ grant: fc.integer({ min: 0, max: 5_000_000 }) }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const sent: Uint8Array[] = []
        let [underWay, r] = [0, 0]
        const credit = new Credit(each => {
          // What goes last may be larger than what is left, so that nothing is too large to go.
          expect(underWay).toBeLessThan(linkCreditBytes)
          underWay += each.byteLength
          sent.push(each)
        })
        credit.grant(0)
        const offered: Uint8Array[] = []
        for (const each of steps) {
          if ('answer' in each) {
            const made = frame(each.answer)
            if (credit.offer({ r: r++, frame: made })) offered.push(made)
          } else {
            const taken = Math.min(each.grant, underWay)
            underWay -= taken
            credit.grant(taken)
          }
        }
        while (credit.waiting > 0) {
          const taken = underWay
          underWay = 0
          credit.grant(taken)
        }
        expect(sent.map(each => each.byteLength)).toEqual(offered.map(each => each.byteLength))
      }),
    )
  })

  it('forgets what nobody waits for, and has room again', () => {
    const sent: number[] = []
    const credit = new Credit(({ byteLength }) => sent.push(byteLength))
    credit.grant(0)
    credit.offer({ r: 0, frame: frame(linkCreditBytes) })
    for (let r = 1; r <= 16; r++) expect(credit.offer({ r, frame: frame(1_048_576) })).toBe(true)
    expect(credit.offer({ r: 17, frame: frame(1) })).toBe(false)
    credit.drop(5)
    expect(credit.offer({ r: 18, frame: frame(1) })).toBe(true)
    for (let i = 0; i < 5; i++) credit.grant(linkCreditBytes)
    expect([sent.length, credit.waiting]).toEqual([17, 0])
  })
})
