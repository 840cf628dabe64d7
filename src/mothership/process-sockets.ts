/** Websockets that go into a component's process, as its mothership has them: numbered, bounded, ended with it. */
import type { SessionChange } from '../protocol/session-change.js'
import type { FromWorker, ToWorker } from './ipc.js'

export interface SocketEvents {
  onSaid(text: string): void
  onSession(change: SessionChange): void
  /** Once; nothing comes after it. `code` as in RFC 6455. */
  onClosed(code: number, reason: string): void
}

export interface OpenSocket {
  hear(text: string): void
  close(): void
}

/** Comes again: another copy, or the same one in a moment, may take it. */
export const goneCode = 1012
export const busyCode = 1013
/** Characters on their way into the process, of all its sockets. */
const underWayMax = 4 * 1024 * 1024

type Tell = (message: ToWorker, sent: () => void) => void

export class ProcessSockets {
  readonly #events = new Map<number, SocketEvents>()
  #underWay = 0

  constructor(private readonly tell: Tell) {}

  get count(): number {
    return this.#events.size
  }

  /** Before the process is asked: what it says may come together with its word that the socket is open. */
  expect(n: number, events: SocketEvents): void {
    this.#events.set(n, events)
  }

  refused(n: number): void {
    this.#events.delete(n)
  }

  opened(n: number): OpenSocket {
    return { hear: text => this.#hear(n, text), close: () => this.#drop(n) }
  }

  onMessage(message: Extract<FromWorker, { k: 'say' | 'session' | 'closed' }>): void {
    const events = this.#events.get(message.n)
    if (!events) return
    if (message.k === 'say') return events.onSaid(message.text)
    if (message.k === 'session') return events.onSession(message.change)
    this.#events.delete(message.n)
    events.onClosed(message.code, message.reason)
  }

  endAll(reason: string): void {
    const all = [...this.#events.values()]
    this.#events.clear()
    this.#underWay = 0
    for (const events of all) events.onClosed(goneCode, reason)
  }

  #hear(n: number, text: string): void {
    const events = this.#events.get(n)
    if (!events) return
    if (this.#underWay > underWayMax) {
      this.#drop(n)
      return events.onClosed(busyCode, 'the component is slower than what is sent to it')
    }
    this.#underWay += text.length
    this.tell({ k: 'hear', n, text }, () => {
      this.#underWay = Math.max(0, this.#underWay - text.length)
    })
  }

  #drop(n: number): void {
    if (this.#events.delete(n)) this.tell({ k: 'close', n }, () => undefined)
  }
}
