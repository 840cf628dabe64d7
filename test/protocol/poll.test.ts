import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Batch, decodeBatch, encodeBatch, Inbox, Outbox } from '../../src/protocol/poll.js'

const plain = (batch: Batch | undefined) => batch && { ...batch, frames: batch.frames.map(each => [...each]) }

describe('a batch', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.array(fc.uint8Array({ maxLength: 50 })), (first, arrived, frames) => {
        const batch = { first, arrived, frames }
        expect(plain(decodeBatch(encodeBatch(batch)))).toEqual(plain(batch))
      }),
    )
  })

  it('is none when it is cut, or of somebody else', () => {
    const whole = encodeBatch({ first: 3, arrived: 4, frames: [Buffer.from('abc'), Buffer.from('defg')] })
    const ends = new Set([12, 12 + 4 + 3, whole.byteLength])
    for (let end = 0; end <= whole.byteLength; end++) {
      expect([end, decodeBatch(whole.subarray(0, end)) !== undefined]).toEqual([end, ends.has(end)])
    }
    expect(decodeBatch(Buffer.from('<html><body>please log in</body></html>'))).toBeUndefined()
  })

  it('of any bytes does no harm', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void decodeBatch(Buffer.from(bytes))))
  })
})

/** What a network does with a request: lost on the way there, or back; doubled; held back and delivered later. */
const fate = fc.constantFrom('well', 'lost', 'answer-lost', 'doubled', 'late')

describe('frames over requests that fail', () => {
  it('arrive once and in order, whatever is lost, doubled or late; and all of them once the network is well (P1)', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fate, fc.nat(3)), { maxLength: 60 }), steps => {
        const [out, inbox] = [new Outbox(), new Inbox()]
        const handedOn: number[] = []
        const late: Buffer[] = []
        let said = 0
        const deliver = (bytes: Buffer): number => {
          const fresh = inbox.take(decodeBatch(bytes)!)
          expect(fresh).toBeDefined()
          handedOn.push(...fresh!.map(each => each[0]!))
          return inbox.count
        }
        const request = (how: string): void => {
          const bytes = encodeBatch({ ...out.batch(), arrived: 0 })
          if (how === 'lost') return
          if (how === 'late') return void late.push(bytes)
          const arrived = deliver(bytes)
          if (how === 'doubled') deliver(bytes)
          if (how !== 'answer-lost') expect(out.arrived(arrived)).toBe(true)
        }
        for (const [how, count] of steps) {
          for (let i = 0; i < count; i++) out.add(Uint8Array.of(said++ % 256))
          request(how)
          if (how === 'doubled' && late.length > 0) deliver(late.shift()!)
          expect(handedOn).toEqual(Array.from({ length: handedOn.length }, (_, i) => i % 256))
        }
        request('well')
        expect(handedOn).toHaveLength(said)
        expect([out.empty, out.bytes]).toEqual([true, 0])
      }),
    )
  })

  it('are bounded in each batch, and one that is larger goes alone', () => {
    const out = new Outbox()
    for (const mib of [0.4, 0.4, 0.4, 3, 0.1]) out.add(new Uint8Array(mib * 1024 * 1024))
    const lengths: number[] = []
    while (!out.empty) {
      const { first, frames } = out.batch()
      lengths.push(frames.length)
      out.arrived(first + frames.length)
    }
    expect(lengths).toEqual([2, 1, 1, 1])
  })

  it('are not believed to have arrived when there never were so many, nor taken after a gap', () => {
    const out = new Outbox()
    out.add(Uint8Array.of(1))
    expect(out.arrived(2)).toBe(false)
    expect(out.bytes).toBe(1)
    expect(new Inbox().take({ first: 1, arrived: 0, frames: [Uint8Array.of(1)] })).toBeUndefined()
  })
})
