/**
 * One try at a session with one replica: opened, hello said, welcome heard, signs of life asked for every second, until
 * it ends. It is dead when two pings in a row were not answered by the time of the third: counted rather than timed, so
 * that a process that stood still keeps its session.
 */
import { decode, encode } from '../protocol/codec.js'
import { type Message, type MessageOf, replicaFrameBytesMax } from '../protocol/messages.js'
import type { Transport, TransportEnd, TransportEvents } from './transport.js'
import type { Fate, Way } from './way.js'

export interface ConnectionOptions {
  /** Of the replica. */
  readonly url: string
  readonly way: Way
  readonly dial: (events: TransportEvents) => Transport
  readonly hello: () => MessageOf<'hello'>
  /** So many pings have to be answered before hello is said, which takes the session from whoever has it. */
  readonly proofs: number
}

export interface ConnectionEvents {
  onMessage(connection: Connection, message: Message): void
  onUnreadable(reason: string): void
  onEnd(connection: Connection, end: ConnectionEnd): void
}

export interface ConnectionEnd {
  readonly fate: Fate
  readonly reason: string
  /** How long it was welcome. */
  readonly liveMs: number
}

const pingEveryMs = 1_000
const missedMax = 2
/** Until frames pass, and from then until it is welcome. */
const openWithinMs = 3_000
const welcomeWithinMs = 5_000
const closeWithinMs = 1_000
const bufferedMax = 4 * 1024 * 1024

export class Connection {
  readonly #transport: Transport
  #helloSaid = false
  #liveSinceMs: number | undefined
  /** The replica said why it ends. */
  #told = false
  #silent = false
  #over = false
  #missed = 0
  #proofs: number
  #deadline: NodeJS.Timeout
  #pings: NodeJS.Timeout | undefined
  #answersLoads = false

  constructor(
    private readonly options: ConnectionOptions,
    private readonly events: ConnectionEvents,
  ) {
    this.#proofs = options.proofs
    this.#deadline = setTimeout(() => this.#transport.terminate(), openWithinMs)
    this.#transport = options.dial({
      onOpen: () => this.#onOpen(),
      onFrame: frame => this.#onFrame(frame),
      onHeard: () => this.#onHeard(),
      onEnd: end => this.#onEnd(end),
    })
  }

  get url(): string {
    return this.options.url
  }

  get way(): Way {
    return this.options.way
  }

  /** From then on, the replica takes the session for this one's. */
  get helloSaid(): boolean {
    return this.#helloSaid
  }

  get idle(): boolean {
    return this.#transport.bufferedAmount === 0
  }

  send(message: Message): void {
    if (this.#hasRoom()) this.#transport.send(encode(message))
  }

  /** The ping that would be due within a second goes along, or is spared: a load report is answered like one. */
  sendLoad(message: MessageOf<'load'>): void {
    if (!this.#hasRoom()) return
    if (this.#answersLoads) this.#transport.send(encode(message))
    else this.#transport.sendAndPing(encode(message))
    this.#missed++
    this.#pingLater()
  }

  close(): void {
    this.#transport.close()
    this.#restartDeadline(closeWithinMs)
  }

  terminate(): void {
    this.#transport.terminate()
  }

  #hasRoom(): boolean {
    if (!this.#transport.open) return false
    if (this.#transport.bufferedAmount <= bufferedMax) return true
    this.#transport.terminate()
    return false
  }

  #onOpen(): void {
    if (this.#proofs === 0) this.#sayHello()
    else this.#prove()
    this.#ping()
  }

  #prove(): void {
    this.#restartDeadline()
    this.#transport.ping()
  }

  #sayHello(): void {
    this.#helloSaid = true
    this.send(this.options.hello())
    this.#restartDeadline()
  }

  #restartDeadline(ms = welcomeWithinMs): void {
    clearTimeout(this.#deadline)
    if (!this.#over) this.#deadline = setTimeout(() => this.#transport.terminate(), ms)
  }

  #ping(): void {
    if (this.#missed >= missedMax) {
      this.#silent = true
      return this.#transport.terminate()
    }
    this.#missed++
    this.#transport.ping()
    this.#pingLater()
  }

  #pingLater(): void {
    clearTimeout(this.#pings)
    if (!this.#over) this.#pings = setTimeout(() => this.#ping(), pingEveryMs)
  }

  #onHeard(): void {
    this.#missed = 0
    if (this.#helloSaid || this.#proofs === 0) return
    if (--this.#proofs === 0) this.#sayHello()
    else this.#prove()
  }

  #onFrame(frame: Buffer): void {
    this.#onHeard()
    const decoded = decode(frame, replicaFrameBytesMax)
    if (decoded.kind === 'message') this.#onMessage(decoded.message)
    else if (decoded.kind === 'unknown') this.send({ t: 'error', about: decoded.type, message: 'unknown type' })
    else this.events.onUnreadable(decoded.reason)
  }

  #onMessage(message: Message): void {
    if (message.t === 'bye') this.#told = true
    if (message.t === 'welcome') {
      this.#liveSinceMs ??= performance.now()
      clearTimeout(this.#deadline)
      this.#answersLoads = message.answersLoads === true
    }
    this.events.onMessage(this, message)
  }

  #onEnd({ kind, reason }: TransportEnd): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#deadline)
    clearTimeout(this.#pings)
    const liveMs = this.#liveSinceMs === undefined ? 0 : performance.now() - this.#liveSinceMs
    const said = this.#silent ? 'it was silent' : reason
    this.events.onEnd(this, { fate: this.#fate(kind), reason: said, liveMs })
  }

  #fate(kind: TransportEnd['kind']): Fate {
    if (this.#told) return 'ended'
    if (this.#liveSinceMs !== undefined) return kind === 'closed' ? 'ended' : 'died'
    return kind === 'nobody' ? 'nobody' : 'blocked'
  }
}
