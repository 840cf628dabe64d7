/** The websockets that one rain server has opened over its link: numbered by it, ended with it. */
import type { Message, MessageOf } from '../protocol/messages.js'
import type { Failed } from './component-process.js'
import { busyCode, type OpenSocket, type SocketEvents } from './process-sockets.js'

export type SocketMessage = MessageOf<'socket'> | MessageOf<'socket-data'> | MessageOf<'socket-close'>

export interface LinkSocketsPorts {
  open(message: MessageOf<'socket'>, events: SocketEvents): Promise<OpenSocket | Failed>
  send(message: Message): void
  /** Whether the rain server is slower than what is sent to it. */
  overloaded(): boolean
}

const socketsMax = 10_000

export class LinkSockets {
  /** Undefined while it is being opened. */
  readonly #sockets = new Map<number, OpenSocket | undefined>()

  constructor(private readonly ports: LinkSocketsPorts) {}

  async onMessage(message: SocketMessage): Promise<void> {
    const { r } = message
    if (message.t === 'socket') return this.#open(message)
    if (message.t === 'socket-data') return this.#sockets.get(r)?.hear(message.text)
    this.end(r)
  }

  /** The rain server does not want it any more. */
  end(r: number): void {
    const socket = this.#sockets.get(r)
    this.#sockets.delete(r)
    socket?.close()
  }

  endAll(): void {
    for (const r of [...this.#sockets.keys()]) this.end(r)
  }

  async #open(message: MessageOf<'socket'>): Promise<void> {
    const { r } = message
    const { open, send, overloaded } = this.ports
    if (this.#sockets.size >= socketsMax) {
      return send({ t: 'failed', r, status: 503, reason: `${socketsMax} sockets are open on this link already` })
    }
    this.#sockets.set(r, undefined)
    /** What is said before the rain server knows that it is open. */
    let early: Message[] | undefined = []
    const say = (said: Message): void => {
      if (early) early.push(said)
      else send(said)
    }
    const opened = await open(message, {
      onSaid: text => {
        if (!this.#sockets.has(r)) return
        if (!overloaded()) return say({ t: 'socket-data', r, text })
        this.end(r)
        say({ t: 'socket-close', r, code: busyCode, reason: 'what is sent is not fetched fast enough' })
      },
      onSession: change => {
        if (this.#sockets.has(r)) say({ t: 'socket-session', r, change })
      },
      onClosed: (code, reason) => {
        if (this.#sockets.delete(r)) say({ t: 'socket-close', r, code, reason: reason.slice(0, 100) })
      },
    })
    if ('kind' in opened) {
      this.#sockets.delete(r)
      return send({ t: 'failed', r, status: opened.status, reason: opened.reason })
    }
    const closedMeanwhile = early.some(each => each.t === 'socket-close')
    // Given up by the rain server while it was being opened.
    if (!this.#sockets.has(r) && !closedMeanwhile) return opened.close()
    if (!closedMeanwhile) this.#sockets.set(r, opened)
    send({ t: 'socket-open', r })
    for (const said of early) send(said)
    early = undefined
  }
}
