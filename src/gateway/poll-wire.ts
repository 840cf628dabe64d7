/**
 * A session's wire made of HTTP requests. What the node says comes in requests that are answered at once; what it is to
 * hear goes out in the answer to one that is held for it. Requests and answers may be lost, doubled or late: frames are
 * numbered (`protocol/poll.ts`), and only the held answer carries any, so it alone is said again when it was lost.
 */
import type { Clock } from '../hypervisor/ports.js'
import { type Batch, encodeBatch, Inbox, Outbox } from '../protocol/poll.js'
import type { Wire, WireEnd } from './wire.js'

interface Held {
  readonly answer: (batch: Buffer) => void
  readonly cancel: () => void
}

export interface Poll {
  readonly batch: Batch
  /** 0: answered at once. */
  readonly holdMs: number
  /** The node closes after this. */
  readonly last: boolean
}

export class PollWire implements Wire {
  readonly #out = new Outbox()
  readonly #in = new Inbox()
  #state: 'open' | 'closing' | 'closed' = 'open'
  #end: WireEnd | undefined
  #held: Held | undefined
  #flushing = false
  /** Why it is over. */
  said = 'the node said nothing for too long'

  constructor(
    private readonly clock: Clock,
    private readonly onOver: () => void,
  ) {}

  get open(): boolean {
    return this.#state === 'open'
  }

  get bufferedAmount(): number {
    return this.#out.bytes
  }

  carry(end: WireEnd): void {
    this.#end = end
  }

  /** Each poll is answered anyway. */
  answer(): void {}

  send(frame: Uint8Array): void {
    if (this.#state !== 'open') return
    this.#out.add(frame)
    this.#flushSoon()
  }

  close(status: number, reason = ''): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.said = `closed (${status})${reason === '' ? '' : `: ${reason}`}`
    if (this.#out.empty) this.terminate()
    else this.#flushSoon()
  }

  terminate(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#release()
    this.onOver()
    this.#end?.onClosed()
  }

  /** The answer, as soon as there is one. */
  receive({ batch, holdMs, last }: Poll): Promise<Buffer> {
    this.#end?.onHeard()
    if (!this.#out.arrived(batch.arrived)) return this.#give('frames arrived there that were never sent')
    const frames = this.#in.take(batch)
    if (!frames) return this.#give('frames are missing')
    for (const frame of frames) if (this.#state === 'open') this.#end?.onFrame(frame as Buffer)
    if (last) this.close(1000)
    // All that was to be heard before the end has arrived.
    if (this.#state === 'closing' && (last || this.#out.empty)) this.terminate()
    if (holdMs === 0 || this.#state === 'closed') return Promise.resolve(this.#word())
    return this.#hold(holdMs)
  }

  #hold(holdMs: number): Promise<Buffer> {
    this.#release()
    if (!this.#out.empty && !this.#flushing) return Promise.resolve(this.#frames())
    return new Promise(answer => {
      const cancel = this.clock.after(holdMs, () => this.#release())
      this.#held = { answer, cancel }
    })
  }

  /** Nobody waits for the answer any more. */
  forsake(): void {
    this.#release()
  }

  /** What is sent in one go goes in one answer. */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      if (!this.#out.empty) this.#release(this.#frames())
    })
  }

  #release(batch = this.#word()): void {
    const held = this.#held
    if (!held) return
    this.#held = undefined
    held.cancel()
    held.answer(batch)
  }

  /** Says how many frames there have been, so that the node notices when a held answer was lost. */
  #word(): Buffer {
    return encodeBatch({ first: this.#out.next, arrived: this.#in.count, frames: [] })
  }

  #frames(): Buffer {
    return encodeBatch({ ...this.#out.batch(), arrived: this.#in.count })
  }

  #give(reason: string): Promise<Buffer> {
    this.#end?.onTrouble(reason)
    this.said = reason
    this.terminate()
    return Promise.resolve(this.#word())
  }
}
