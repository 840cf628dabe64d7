/**
 * A node's one session to the hypervisor: to any replica, moved to another one when that goes away, for as long as the
 * node runs. Level-triggered: the replica sends what is wanted, the node applies it, keeps the highest order that it has
 * seen and refuses lower ones; what it observed is told again in each session, so a lost message costs latency only.
 */
import WebSocket from 'ws'
import { CloudError } from '../cloud/errors.js'
import type { NodeRef } from '../cloud/ids.js'
import { beginning, compareOrder, type Order } from '../cloud/order.js'
import { decode, encode } from '../protocol/codec.js'
import { type Message, type MessageOf, nodePath, replicaFrameBytesMax, subprotocol } from '../protocol/messages.js'
import { Backoff } from './backoff.js'

export interface WantedState {
  readonly order: Order
  /** The whole, merged. */
  readonly entries: ReadonlyMap<string, unknown>
}

export interface Refused {
  readonly key: string
  readonly reason: string
}

type Hello = Omit<MessageOf<'hello'>, 't' | 'kind' | 'id' | 'o'>
type Observed = MessageOf<'observed'>['items'][number]
type Load = Omit<MessageOf<'load'>, 't'>

/** Where a session says what becomes of it; pino fits. */
export interface SessionLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface NodeSessionOptions {
  readonly node: NodeRef
  /** Urls of replicas to begin with; more are learned. */
  readonly hypervisors: readonly string[]
  readonly token: string
  readonly hello: () => Hello
  /** Applies a wanted state; returns what it could not apply. Never called twice at a time. */
  readonly onWanted: (state: WantedState) => Promise<readonly Refused[]>
  readonly onHint?: (weights: Readonly<Record<string, number>>) => void
  readonly onStatus?: (status: SessionStatus) => void
  /** The highest order applied in an earlier life. */
  readonly initialOrder?: Order
  readonly log: SessionLog
  readonly random?: () => number
}

export type SessionStatus = 'connecting' | 'live' | 'stopped'

const pingEveryMs = 1_000
const silentMaxMs = 2_500
const openWithinMs = 5_000
/** After a bye that asks not to come back: another process has this identity, or what it says is refused. */
const unwantedWaitMs = 5_000
const bufferedMax = 4 * 1024 * 1024

export class NodeSession {
  #status: SessionStatus = 'connecting'
  #socket: WebSocket | undefined
  #replica = ''
  #heardAtMs = 0
  #reconnectWithinMs = 0
  #unwanted = false
  #known: readonly string[]
  #order: Order
  #entries = new Map<string, unknown>()
  #haveBase = false
  #pending: WantedState | undefined
  #applying = false
  readonly #observed = new Map<string, Observed>()
  readonly #backoff: Backoff
  readonly #random: () => number
  #timers = new Set<NodeJS.Timeout>()

  constructor(private readonly options: NodeSessionOptions) {
    this.#known = options.hypervisors
    this.#order = options.initialOrder ?? beginning
    this.#random = options.random ?? Math.random
    this.#backoff = new Backoff(100, 2_000, this.#random)
  }

  get status(): SessionStatus {
    return this.#status
  }

  /** Urls of the replicas as last heard. */
  get replicas(): readonly string[] {
    return this.#known
  }

  start(): void {
    this.#connect(undefined)
  }

  async stop(): Promise<void> {
    this.#setStatus('stopped')
    for (const timer of this.#timers) clearTimeout(timer)
    const socket = this.#socket
    this.#socket = undefined
    if (!socket || socket.readyState === WebSocket.CLOSED) return
    if (socket.readyState === WebSocket.OPEN) {
      this.#sendOn(socket, { t: 'bye', code: 'stopping', reconnect: false })
    }
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => socket.terminate(), 500)
      socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      socket.close(1000)
    })
  }

  /** Told at once when there is a session, else in the next one (the newest word on each instance). */
  observed(items: readonly Observed[]): void {
    if (this.#status === 'live') this.#send({ t: 'observed', items: [...items] })
    else for (const item of items) this.#observed.set(item.instance, item)
  }

  load(load: Load): void {
    const socket = this.#socket
    if (this.#status === 'live' && socket && socket.bufferedAmount === 0) this.#send({ t: 'load', ...load })
  }

  #setStatus(status: SessionStatus): void {
    if (this.#status === status) return
    this.#status = status
    this.options.onStatus?.(status)
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }

  /** Another replica than the one that failed, by chance. */
  #choose(failed: string | undefined): string {
    const all = [...new Set([...this.#known, ...this.options.hypervisors])]
    const others = all.filter(url => url !== failed)
    const from = others.length > 0 ? others : all
    return from[Math.floor(this.#random() * from.length)]!
  }

  #connect(failed: string | undefined): void {
    if (this.#status === 'stopped') return
    const url = this.#choose(failed)
    const socket = new WebSocket(url.replace(/^http/, 'ws') + nodePath, subprotocol, {
      headers: { authorization: `Bearer ${this.options.token}` },
      maxPayload: replicaFrameBytesMax,
      perMessageDeflate: false,
      handshakeTimeout: openWithinMs,
    })
    this.#socket = socket
    this.#replica = url
    this.#unwanted = false
    let said = ''
    socket.on('unexpected-response', (_request, response) => {
      said = `it answered ${response.statusCode}`
      if (response.statusCode === 401 || response.statusCode === 403) said += ': is the credential of this node right?'
      response.resume()
      socket.terminate()
    })
    socket.on('error', error => {
      said ||= error.message
    })
    socket.on('open', () => this.#onOpen(socket))
    socket.on('message', data => this.#onFrame(socket, data as Buffer))
    socket.on('pong', () => this.#heard(socket))
    socket.on('ping', () => this.#heard(socket))
    socket.on('close', code => this.#onClose(socket, said || `closed (${code})`))
  }

  #onOpen(socket: WebSocket): void {
    this.#heard(socket)
    this.#haveBase = false
    const { node, hello } = this.options
    const o: [number, number] = [this.#order.era, this.#order.revision]
    this.#sendOn(socket, { t: 'hello', kind: node.kind, id: node.id, o, ...hello() })
    this.#later(openWithinMs, () => {
      if (this.#socket === socket && this.#status !== 'live') socket.terminate()
    })
    this.#ping(socket)
  }

  #ping(socket: WebSocket): void {
    if (this.#socket !== socket) return
    if (performance.now() - this.#heardAtMs > silentMaxMs) {
      socket.terminate()
      return
    }
    if (socket.readyState === WebSocket.OPEN) socket.ping()
    this.#later(pingEveryMs, () => this.#ping(socket))
  }

  #heard(socket: WebSocket): void {
    if (this.#socket === socket) this.#heardAtMs = performance.now()
  }

  #onClose(socket: WebSocket, reason: string): void {
    if (this.#socket !== socket || this.#status === 'stopped') return
    const wasLive = this.#status === 'live'
    this.#socket = undefined
    this.#setStatus('connecting')
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    const waitMs = this.#waitMs(wasLive)
    this.options.log.warn(
      { replica: this.#replica, reason, againInMs: Math.round(waitMs) },
      'no session: trying another replica',
    )
    const failed = this.#replica
    this.#later(waitMs, () => this.#connect(failed))
  }

  /** Two processes with one credential would otherwise take the session from each other as fast as they can. */
  #waitMs(wasLive: boolean): number {
    if (this.#unwanted) return unwantedWaitMs * (1 + this.#random())
    return wasLive ? this.#random() * this.#reconnectWithinMs : this.#backoff.nextMs()
  }

  #onFrame(socket: WebSocket, data: Buffer): void {
    if (this.#socket !== socket) return
    this.#heard(socket)
    const decoded = decode(data, replicaFrameBytesMax)
    if (decoded.kind === 'message') this.#onMessage(socket, decoded.message)
    else if (decoded.kind === 'unknown') this.#send({ t: 'error', about: decoded.type, message: 'unknown type' })
    else this.options.log.warn({ reason: decoded.reason }, 'a frame of the replica cannot be read')
  }

  #onMessage(socket: WebSocket, message: Message): void {
    switch (message.t) {
      case 'welcome':
        return this.#onWelcome(message)
      case 'replicas':
        this.#known = urlsOf(message.replicas)
        return
      case 'wanted':
        return this.#onWanted(message)
      case 'hint':
        this.options.onHint?.(message.weights)
        return
      case 'bye':
        this.options.log.info({ code: message.code, reason: message.reason }, 'the replica says good-bye')
        this.#unwanted = !message.reconnect
        socket.close(1000)
        return
      case 'error':
        this.options.log.warn({ about: message.about, said: message.message }, 'the replica did not understand')
        return
      default:
        this.#send({ t: 'error', about: message.t, message: 'not for a node' })
    }
  }

  #onWelcome(message: MessageOf<'welcome'>): void {
    if (message.replicas.length > 0) this.#known = urlsOf(message.replicas)
    this.#reconnectWithinMs = message.reconnectWithinMs
    this.#backoff.reset()
    this.#setStatus('live')
    this.options.log.info({ replica: this.#replica, session: message.session }, 'session is live')
    const items = [...this.#observed.values()]
    this.#observed.clear()
    if (items.length > 0) this.#send({ t: 'observed', items })
  }

  #onWanted(message: MessageOf<'wanted'>): void {
    const order: Order = { era: message.o[0], revision: message.o[1] }
    const o = message.o
    if (compareOrder(order, this.#order) < 0) {
      const reason = `older than ${this.#order.era}.${this.#order.revision}, which is applied here`
      this.#send({ t: 'applied', o, refused: [{ key: '', reason }] })
      return
    }
    if (message.base === null) this.#entries = new Map(Object.entries(message.put))
    else if (!this.#haveBase || message.base[0] !== this.#order.era || message.base[1] !== this.#order.revision) {
      this.#send({ t: 'applied', o, refused: [{ key: '', reason: 'the base is not what is here: send the whole' }] })
      return
    } else {
      this.#entries = new Map(this.#entries)
      for (const [key, value] of Object.entries(message.put)) this.#entries.set(key, value)
      for (const key of message.gone) this.#entries.delete(key)
    }
    this.#haveBase = true
    this.#order = order
    this.#pending = { order, entries: this.#entries }
    if (!this.#applying) void this.#apply()
  }

  /** One at a time; of what came meanwhile only the newest. */
  async #apply(): Promise<void> {
    this.#applying = true
    for (let state = this.#pending; state; state = this.#pending) {
      this.#pending = undefined
      const o: [number, number] = [state.order.era, state.order.revision]
      try {
        const refused = await this.options.onWanted(state)
        this.#send({ t: 'applied', o, ...(refused.length > 0 ? { refused: [...refused] } : {}) })
      } catch (error) {
        const reason = error instanceof CloudError ? error.message : 'could not be applied'
        this.options.log.error({ err: error }, 'a wanted state could not be applied')
        this.#send({ t: 'applied', o, refused: [{ key: '', reason }] })
      }
    }
    this.#applying = false
  }

  #send(message: Message): void {
    if (this.#socket) this.#sendOn(this.#socket, message)
  }

  #sendOn(socket: WebSocket, message: Message): void {
    if (socket.readyState !== WebSocket.OPEN) return
    if (socket.bufferedAmount > bufferedMax) socket.terminate()
    else socket.send(encode(message))
  }
}

/** A replica may have been started under an url that is none; dialling that one would throw. */
const urlsOf = (replicas: MessageOf<'replicas'>['replicas']): string[] =>
  replicas.map(each => each.url).filter(url => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))
