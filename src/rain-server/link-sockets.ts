/** Websockets of browsers as they go over one link to a mothership. */
import type { MessageOf } from '../protocol/messages.js'
import type { SessionChange } from '../protocol/session-change.js'

export interface SocketEvents {
  onText(text: string): void
  onSession(change: SessionChange): void
  /** Once; nothing comes after it. */
  onClose(code: number, reason: string): void
}

export interface LinkSocket {
  say(text: string): void
  close(code: number, reason: string): void
}

export type SocketRequest = Omit<MessageOf<'socket'>, 't' | 'r'>
type Sent = MessageOf<'socket-data'> | MessageOf<'socket-close'>

/** Comes again: a browser that is told so opens another one. */
const goneCode = 1012

export class LinkSockets {
  readonly #events = new Map<number, SocketEvents>()

  constructor(private readonly send: (message: Sent) => void) {}

  /** Before the mothership is asked: what the component says may come together with the answer. */
  expect(r: number, events: SocketEvents): void {
    this.#events.set(r, events)
  }

  refused(r: number): void {
    this.#events.delete(r)
  }

  opened(r: number): LinkSocket {
    return {
      say: text => {
        if (this.#events.has(r)) this.send({ t: 'socket-data', r, text })
      },
      close: (code, reason) => {
        if (this.#events.delete(r)) this.send({ t: 'socket-close', r, code, reason })
      },
    }
  }

  onMessage(message: Sent | MessageOf<'socket-session'>): void {
    const events = this.#events.get(message.r)
    if (!events) return
    if (message.t === 'socket-data') return events.onText(message.text)
    if (message.t === 'socket-session') return events.onSession(message.change)
    this.#events.delete(message.r)
    events.onClose(message.code, message.reason)
  }

  lost(reason: string): void {
    const all = [...this.#events.values()]
    this.#events.clear()
    for (const events of all) events.onClose(goneCode, reason)
  }
}
