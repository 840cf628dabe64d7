/** One link over a channel that the test holds, on a clock that it drives. */
import { describe, expect, it } from 'vitest'
import { Link } from '../../src/peers/link.js'
import type { Channel, ChannelEvents } from '../../src/peers/network.js'
import { encode } from '../../src/protocol/codec.js'
import { FakeClock } from '../support/fake-clock.js'

/** A clock whose process can stand still: its timers come late, all at once, when it goes on. */
class StandingClock extends FakeClock {
  #lateMs = 0
  override nowMs(): number {
    return super.nowMs() + this.#lateMs
  }
  standStillFor(ms: number): void {
    this.#lateMs += ms
  }
}

function aLink(clock = new StandingClock()) {
  let events!: ChannelEvents
  const sent: Uint8Array[] = []
  let terminated = 0
  const channel: Channel = {
    listen: each => {
      events = each
    },
    send: frame => sent.push(frame) > 0,
    close: () => undefined,
    terminate: () => void terminated++,
  }
  const closed: string[] = []
  const link = new Link(channel, clock, {
    onMessage: () => undefined,
    onClosed: reason => void closed.push(reason),
    alive: () => ({ t: 'alive', staleForMs: 0 }),
  })
  const hear = (): void => events.onFrame(encode({ t: 'alive' }))
  return { link, clock, sent, closed, hear, terminated: () => terminated }
}

describe('a link', () => {
  it('is over after a second of silence, and not before', () => {
    const { clock, closed, hear, terminated } = aLink()
    clock.advance(900)
    hear()
    clock.advance(990)
    expect(closed).toEqual([])
    clock.advance(10)
    expect([closed, terminated()]).toEqual([['silent'], 1])
  })

  it('says that it is alive four times a second when there is nothing else to say', () => {
    const { clock, sent, hear } = aLink()
    for (let passed = 0; passed < 2_000; passed += 500) {
      clock.advance(500)
      hear()
    }
    expect(sent).toHaveLength(8)
  })

  it('is not called silent by a process that stood still itself before it has read on', () => {
    const { clock, closed, hear } = aLink()
    clock.advance(700)
    hear()
    clock.standStillFor(5_000)
    clock.advance(310)
    expect(closed).toEqual([])
    hear()
    clock.advance(900)
    expect(closed).toEqual([])
  })

  it('is over all the same when nothing had come meanwhile', () => {
    const { clock, closed } = aLink()
    clock.advance(700)
    clock.standStillFor(5_000)
    clock.advance(400)
    expect(closed).toEqual(['silent'])
  })
})
