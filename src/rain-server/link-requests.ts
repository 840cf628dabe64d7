/** What was asked over a link and is not answered yet: numbered, each with its deadline, what belongs together in one frame. */
import type { Clock } from '../hypervisor/ports.js'
import { encode } from '../protocol/codec.js'
import { type AskedView, frameBytesMax, type MessageOf, type Visit } from '../protocol/messages.js'
import { Deadlines } from '../sdk/deadlines.js'
import { Together } from '../sdk/together.js'

/** `unanswered`: the link is at fault, and not who was asked. */
export type Failed = {
  readonly kind: 'failed'
  readonly status: number
  readonly reason: string
  readonly unanswered: boolean
}
export type Answer =
  | {
      readonly kind: 'message'
      readonly message: MessageOf<'fragment'> | MessageOf<'answer'> | MessageOf<'socket-open'>
    }
  | Failed

export const failed = (status: number, reason: string, unanswered: boolean): Failed => ({
  kind: 'failed',
  status,
  reason,
  unanswered,
})

interface Pending {
  readonly settle: (answer: Answer) => void
  /** Of the time that it had, ms. */
  readonly deadlineMs: number
  /** Whether the mothership has heard of it. */
  sent: boolean
}

interface AskedOf {
  readonly visit: Visit
  readonly view: AskedView
}

/** Views in one frame. */
const rendersMax = 64

export class Requests {
  #next = 1
  /** Whether the mothership takes `renders`. */
  takesRenders = false
  readonly #pending = new Map<number, Pending>()
  readonly #deadlines: Deadlines<number>
  readonly #renders = new Together<AskedOf>(
    run => process.nextTick(run),
    rendersMax,
    list => this.#sendRenders(list),
  )

  constructor(
    private readonly clock: Clock,
    private readonly transmit: (frame: Uint8Array) => void,
  ) {
    this.#deadlines = new Deadlines(clock, r => this.#late(r))
  }

  get size(): number {
    return this.#pending.size
  }

  /** Returns its number; `settle` is called once, unless it is cancelled. */
  begin(deadlineMs: number, settle: (answer: Answer) => void): number {
    const r = this.#next++
    this.#pending.set(r, { settle, deadlineMs, sent: false })
    this.#deadlines.set(r, this.clock.nowMs() + deadlineMs)
    return r
  }

  /** What a page asks for in one go is sent as one; `visit` is the same object for all of it. */
  render(visit: Visit, asked: Omit<AskedView, 'r'>, settle: (answer: Answer) => void): number {
    const r = this.begin(asked.deadlineMs, settle)
    this.#renders.add({ visit, view: { r, ...asked } })
    return r
  }

  send(r: number, frame: Uint8Array): void {
    const pending = this.#pending.get(r)
    if (!pending) return
    // The mothership would close the link for it, and with it lose what others wait for.
    if (frame.byteLength > frameBytesMax) {
      return this.settle(r, failed(500, `a request of ${frame.byteLength} bytes does not fit into a frame`, false))
    }
    pending.sent = true
    this.transmit(frame)
  }

  settle(r: number, answer: Answer): void {
    const pending = this.#forget(r)
    pending?.settle(answer)
  }

  /** Nobody waits for it any more. */
  cancel(r: number): void {
    const pending = this.#forget(r)
    if (pending) this.#sayCancelled(r, pending)
  }

  failAll(reason: string): void {
    for (const r of [...this.#pending.keys()]) this.settle(r, failed(502, reason, true))
  }

  stop(): void {
    this.#deadlines.clear()
  }

  #forget(r: number): Pending | undefined {
    const pending = this.#pending.get(r)
    this.#pending.delete(r)
    this.#deadlines.delete(r)
    return pending
  }

  #late(r: number): void {
    const pending = this.#forget(r)
    if (!pending) return
    pending.settle(failed(504, `no answer in ${Math.round(pending.deadlineMs)} ms`, false))
    this.#sayCancelled(r, pending)
  }

  #sayCancelled(r: number, { sent }: Pending): void {
    if (sent) this.transmit(encode({ t: 'cancel', r }))
  }

  /** One frame for each visit, without what has been given up meanwhile. */
  #sendRenders(list: readonly AskedOf[]): void {
    const byVisit = new Map<Visit, AskedView[]>()
    for (const { visit, view } of list) {
      if (!this.#pending.has(view.r)) continue
      const views = byVisit.get(visit)
      if (views) views.push(view)
      else byVisit.set(visit, [view])
    }
    for (const [visit, views] of byVisit) this.#sendVisit(visit, views)
  }

  #sendVisit(visit: Visit, views: AskedView[]): void {
    if (views.length > 1 && this.takesRenders) {
      const frame = encode({ t: 'renders', list: views, ...visit })
      if (frame.byteLength <= frameBytesMax) {
        for (const { r } of views) this.#pending.get(r)!.sent = true
        return this.transmit(frame)
      }
    }
    for (const view of views) this.send(view.r, encode({ t: 'render', ...view, ...visit }))
  }
}
