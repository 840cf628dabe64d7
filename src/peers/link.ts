/** One link to another replica: messages both ways, and four times a second a sign of life. */
import type { Clock } from '../hypervisor/ports.js'
import { decode, encode } from '../protocol/codec.js'
import { type Message, replicaFrameBytesMax } from '../protocol/messages.js'
import type { Channel } from './network.js'

const aliveEveryMs = 250
const silentMaxMs = 1_000
/** A timer that comes later than this says that this process stood still: what was sent meanwhile is yet to be read. */
const lateMs = 250
const readOnMs = 50

export interface LinkEvents {
  onMessage(message: Message): void
  /** What a sign of life says. */
  alive(): Message
  onClosed(reason: string): void
}

export class Link {
  #heardAtMs: number
  #closed = false
  #cancelAlive: (() => void) | undefined
  #cancelSilence: (() => void) | undefined

  constructor(
    private readonly channel: Channel,
    private readonly clock: Clock,
    private readonly events: LinkEvents,
  ) {
    this.#heardAtMs = clock.nowMs()
    // The first word is that of who opened the link: it says who is there.
    this.#cancelAlive = clock.after(aliveEveryMs, () => this.#sayAlive())
    this.#expectWord(silentMaxMs)
    channel.listen({ onFrame: frame => this.#onFrame(frame), onClosed: reason => this.#end(reason) })
  }

  /** False when the link is closed or congested: nothing was sent then. */
  send(message: Message): boolean {
    return !this.#closed && this.channel.send(encode(message))
  }

  close(reason: string): void {
    this.#end(reason)
    this.channel.close()
  }

  #sayAlive(): void {
    this.send(this.events.alive())
    if (!this.#closed) this.#cancelAlive = this.clock.after(aliveEveryMs, () => this.#sayAlive())
  }

  /** Looks again when a second of silence would be over. */
  #expectWord(withinMs: number): void {
    const dueMs = this.clock.nowMs() + withinMs
    this.#cancelSilence = this.clock.after(withinMs, () => {
      const nowMs = this.clock.nowMs()
      const leftMs = this.#heardAtMs + silentMaxMs - nowMs
      if (leftMs > 0) return this.#expectWord(leftMs)
      if (nowMs - dueMs > lateMs) return this.#expectWord(readOnMs)
      this.#end('silent')
      this.channel.terminate()
    })
  }

  #onFrame(frame: Uint8Array): void {
    this.#heardAtMs = this.clock.nowMs()
    const decoded = decode(frame, replicaFrameBytesMax)
    if (decoded.kind === 'message') this.events.onMessage(decoded.message)
    else if (decoded.kind === 'unknown') this.send({ t: 'error', about: decoded.type, message: 'unknown type' })
    else this.close(`a frame that cannot be read: ${decoded.reason}`)
  }

  #end(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#cancelAlive?.()
    this.#cancelSilence?.()
    this.events.onClosed(reason)
  }
}
