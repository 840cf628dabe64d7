/**
 * A websocket as a component's handler has it, with the methods of RAIN's (socket.io's). A message is a JSON text:
 * `{"event": "said", "args": [...], "ack": 1}`, and `{"ack": 1, "args": [error, data]}` when the other side asked for it.
 */
import { EventEmitter } from 'node:events'
import { socketTextBytesMax } from '../protocol/socket-text.js'

type Listener = (...args: unknown[]) => unknown

export interface SocketPorts {
  say(text: string): void
  /** By the component's own wish, or because what came cannot be understood. */
  close(code: number, reason: string): void
  /** Runs code of the component, with what belongs to it; resolves when that is done. */
  run(code: () => unknown): Promise<unknown>
  /** What went wrong in code of the component. */
  broken(event: string, error: unknown): void
  /** Sockets of the same channel, itself included. */
  all(): Iterable<ComponentSocket>
}

/** What browsers cannot send: those that the socket itself tells of. */
const own: ReadonlySet<string> = new Set(['connect', 'disconnect', 'error'])
const acksMax = 1_000

export class ComponentSocket {
  readonly #events = new EventEmitter()
  readonly #acks = new Map<number, Listener>()
  #nextAck = 1
  #open = true
  /** To all others on this channel that the same process has. */
  readonly broadcast = {
    emit: (event: string, ...args: unknown[]): void => {
      for (const each of this.ports.all()) if (each !== this) each.emit(event, ...args)
    },
  }

  constructor(
    readonly id: string,
    private readonly ports: SocketPorts,
  ) {
    this.#events.setMaxListeners(0)
  }

  on(event: string, listener: Listener): this {
    this.#events.on(event, listener)
    return this
  }

  addListener(event: string, listener: Listener): this {
    return this.on(event, listener)
  }

  once(event: string, listener: Listener): this {
    this.#events.once(event, listener)
    return this
  }

  removeListener(event: string, listener: Listener): this {
    this.#events.removeListener(event, listener)
    return this
  }

  removeAllListeners(event?: string): this {
    this.#events.removeAllListeners(event)
    return this
  }

  /** With a function last, that is called with what the browser acknowledges. Throws what is too large to send. */
  emit(event: string, ...args: unknown[]): this {
    if (!this.#open) return this
    const last = args.at(-1)
    if (typeof last !== 'function') return this.#say({ event, args })
    if (this.#acks.size >= acksMax) throw new Error(`${acksMax} messages wait to be acknowledged already`)
    const ack = this.#nextAck++
    this.#say({ event, args: args.slice(0, -1), ack })
    this.#acks.set(ack, last as Listener)
    return this
  }

  send(message: unknown): this {
    return this.emit('message', message)
  }

  disconnect(): this {
    if (this.#open) this.ports.close(1000, 'closed by the component')
    return this
  }

  get connected(): boolean {
    return this.#open
  }

  /** What came from the browser. */
  heard(text: string): void {
    let message: unknown
    try {
      message = JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
    } catch {
      return this.ports.close(1007, 'a message has to be JSON')
    }
    const { event, ack, args = [] } = (message ?? {}) as { event?: unknown; ack?: unknown; args?: unknown }
    const asksAck = Number.isSafeInteger(ack)
    if (!Array.isArray(args)) return this.ports.close(1007, 'args has to be a list')
    if (typeof event === 'string' && !own.has(event))
      return void this.#fire(event, args, asksAck ? Number(ack) : undefined)
    if (event === undefined && asksAck) return this.#acknowledged(Number(ack), args)
    this.ports.close(1007, 'a message has to name an event, or what it acknowledges')
  }

  /** The other end is gone: the component is told, once. */
  closed(reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#acks.clear()
    void this.#fire('disconnect', [reason], undefined)
  }

  async #fire(event: string, args: unknown[], ack: number | undefined): Promise<void> {
    let error: unknown = null
    let data: unknown
    try {
      for (const listener of this.#events.rawListeners(event)) {
        data = await this.ports.run(() => listener.apply(this, args))
      }
    } catch (thrown) {
      error = thrown ?? 'failed'
      this.ports.broken(event, thrown)
    }
    if (ack === undefined || !this.#open) return
    try {
      this.#say({ ack, args: error === null ? [null, data] : [textOf(error)] })
    } catch (unsayable) {
      this.ports.broken(event, unsayable)
    }
  }

  #acknowledged(ack: number, args: unknown[]): void {
    const listener = this.#acks.get(ack)
    this.#acks.delete(ack)
    if (listener) this.ports.run(() => listener(...args)).catch(error => this.ports.broken('ack', error))
  }

  #say(message: object): this {
    const text = JSON.stringify(message)
    if (Buffer.byteLength(text) > socketTextBytesMax) {
      throw new Error(`a message of more than ${socketTextBytesMax} bytes`)
    }
    this.ports.say(text)
    return this
  }
}

/** A page is told that it failed, and what the component says of it, not from where in its code. */
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 500)
