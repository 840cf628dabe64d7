/**
 * A node's one session to the hypervisor: to any replica, moved to another one when that goes away, for as long as the
 * node runs; by websockets, or by polls where these do not pass (`way.ts`). Level-triggered: the replica sends what is
 * wanted, the node applies it (`wanted-book.ts`); what it observed is told again in each session, so a lost message
 * costs latency only.
 */
import type { NodeRef } from '../cloud/ids.js'
import type { Order } from '../cloud/order.js'
import type { Message, MessageOf } from '../protocol/messages.js'
import { Backoff } from './backoff.js'
import { Connection, type ConnectionEnd } from './connection.js'
import { Dialer, type DialerOptions } from './dialer.js'
import { type Refused, WantedBook, type WantedState } from './wanted-book.js'
import { afterEnding, afterProbe, firstWays, type Way, type Ways } from './way.js'

export type { Refused, WantedState } from './wanted-book.js'

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
  /** Through proxies, and how long polls are held. */
  readonly network?: DialerOptions
  readonly log: SessionLog
  readonly random?: () => number
}

export type SessionStatus = 'connecting' | 'live' | 'stopped'

/** After a bye that asks not to come back: another process has this identity, or what it says is refused. */
const unwantedWaitMs = 5_000
/** A websocket that is tried beside polls answers so many pings before it takes the session. */
const probeProofs = 2
const stopWithinMs = 500

export class NodeSession {
  #status: SessionStatus = 'connecting'
  #main: Connection | undefined
  /** A websocket tried beside polls, which takes their place once it is welcome. */
  #probe: Connection | undefined
  /** The probe has taken the session: what is left of the polls goes nowhere. */
  #given = false
  #ways: Ways = firstWays
  #reconnectWithinMs = 0
  #unwanted = false
  #known: readonly string[]
  readonly #wanted: WantedBook
  readonly #observed = new Map<string, Observed>()
  readonly #backoff: Backoff
  readonly #random: () => number
  readonly #dialer: Dialer
  #retry: NodeJS.Timeout | undefined
  #probeTimer: NodeJS.Timeout | undefined

  constructor(private readonly options: NodeSessionOptions) {
    this.#known = options.hypervisors
    this.#random = options.random ?? Math.random
    this.#backoff = new Backoff(100, 2_000, this.#random)
    this.#dialer = new Dialer(options.node.id, options.token, options.network)
    this.#wanted = new WantedBook({
      ...(options.initialOrder ? { initialOrder: options.initialOrder } : {}),
      onWanted: options.onWanted,
      answer: message => this.#send(message),
      onError: error => options.log.error({ err: error }, 'a wanted state could not be applied'),
    })
  }

  get status(): SessionStatus {
    return this.#status
  }

  /** How the session is carried, or is to be. */
  get way(): Way {
    return this.#main?.way ?? this.#ways.way
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
    clearTimeout(this.#retry)
    this.#endProbe()
    const main = this.#main
    if (main) {
      main.send({ t: 'bye', code: 'stopping', reconnect: false })
      await new Promise<void>(resolve => {
        const timer = setTimeout(() => main.terminate(), stopWithinMs)
        this.#onStopped = () => {
          clearTimeout(timer)
          resolve()
        }
        main.close()
      })
    }
  }

  #onStopped: (() => void) | undefined

  /** Told at once when there is a session, else in the next one (the newest word on each instance). */
  observed(items: readonly Observed[]): void {
    if (this.#status === 'live') this.#send({ t: 'observed', items: [...items] })
    // While a probe has, or may have, the session, the word may be lost with the polls.
    if (this.#status !== 'live' || this.#probe?.helloSaid) {
      for (const item of items) this.#observed.set(item.instance, item)
    }
  }

  load(load: Load): void {
    if (this.#status === 'live' && this.#main?.idle) this.#main.sendLoad({ t: 'load', ...load })
  }

  #setStatus(status: SessionStatus): void {
    // Who stops goes on stopping, though a welcome was on its way.
    if (this.#status === status || this.#status === 'stopped') return
    this.#status = status
    this.options.onStatus?.(status)
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
    this.#unwanted = false
    this.#given = false
    this.#main = this.#dial(this.#choose(failed), this.#ways.way, 0)
  }

  #dial(url: string, way: Way, proofs: number): Connection {
    const dial: ConstructorParameters<typeof Connection>[0]['dial'] = events => this.#dialer.dial(url, way, events)
    const events = {
      onMessage: (from: Connection, message: Message) => this.#onMessage(from, message),
      onUnreadable: (reason: string) => this.options.log.warn({ reason }, 'a frame of the replica cannot be read'),
      onEnd: (ended: Connection, end: ConnectionEnd) => this.#onEnd(ended, end),
    }
    return new Connection({ url, way, dial, hello: () => this.#hello(), proofs }, events)
  }

  #hello(): MessageOf<'hello'> {
    const { node, hello } = this.options
    const { era, revision } = this.#wanted.order
    return { t: 'hello', kind: node.kind, id: node.id, o: [era, revision], ...hello() }
  }

  #onEnd(ended: Connection, end: ConnectionEnd): void {
    if (ended === this.#probe) return this.#onProbeEnd(ended, end)
    if (ended !== this.#main) return
    this.#main = undefined
    if (this.#status === 'stopped') return this.#onStopped?.()
    // The probe has the session, and its welcome is on the way.
    if (!(this.#given && this.#probe)) this.#onLost(ended, end)
  }

  #onLost(ended: Connection, end: ConnectionEnd): void {
    this.#endProbe()
    const wasLive = this.#status === 'live'
    this.#setStatus('connecting')
    this.#ways = afterEnding(this.#ways, end, performance.now(), this.#random())
    const waitMs = this.#waitMs(wasLive)
    this.options.log.warn(
      { replica: ended.url, reason: end.reason, way: this.#ways.way, againInMs: Math.round(waitMs) },
      'no session: trying another replica',
    )
    this.#retry = setTimeout(() => this.#connect(ended.url), waitMs)
  }

  /** Two processes with one credential would otherwise take the session from each other as fast as they can. */
  #waitMs(wasLive: boolean): number {
    if (this.#unwanted) return unwantedWaitMs * (1 + this.#random())
    return wasLive ? this.#random() * this.#reconnectWithinMs : this.#backoff.nextMs()
  }

  #onMessage(from: Connection, message: Message): void {
    if (from === this.#probe) return this.#onProbeMessage(from, message)
    if (from !== this.#main) return
    switch (message.t) {
      case 'welcome':
        return this.#onWelcome(from, message)
      case 'replicas':
        this.#known = urlsOf(message.replicas)
        return
      case 'wanted':
        return this.#wanted.onWanted(message)
      case 'hint':
        this.options.onHint?.(message.weights)
        return
      case 'bye':
        return this.#onBye(from, message)
      case 'error':
        this.options.log.warn({ about: message.about, said: message.message }, 'the replica did not understand')
        return
      default:
        this.#send({ t: 'error', about: message.t, message: 'not for a node' })
    }
  }

  #onBye(from: Connection, message: MessageOf<'bye'>): void {
    // It is this node itself that has taken the session: what becomes of the probe decides.
    if (message.code === 'replaced' && this.#probe?.helloSaid) {
      this.#given = true
      return
    }
    this.options.log.info({ code: message.code, reason: message.reason }, 'the replica says good-bye')
    this.#unwanted = !message.reconnect
    from.close()
  }

  #onWelcome(from: Connection, message: MessageOf<'welcome'>): void {
    if (message.replicas.length > 0) this.#known = urlsOf(message.replicas)
    this.#reconnectWithinMs = message.reconnectWithinMs
    this.#backoff.reset()
    this.#wanted.forgetBase()
    this.#setStatus('live')
    this.options.log.info({ replica: from.url, session: message.session, way: from.way }, 'session is live')
    const items = [...this.#observed.values()]
    this.#observed.clear()
    if (items.length > 0) this.#send({ t: 'observed', items })
    if (from.way === 'polling') this.#probeLater()
  }

  #probeLater(): void {
    clearTimeout(this.#probeTimer)
    const inMs = Math.max(0, this.#ways.probeAtMs - performance.now())
    this.#probeTimer = setTimeout(() => this.#startProbe(), inMs)
  }

  #startProbe(): void {
    const main = this.#main
    if (this.#status !== 'live' || main?.way !== 'polling' || this.#probe) return
    this.#probe = this.#dial(main.url, 'websocket', probeProofs)
  }

  #onProbeMessage(probe: Connection, message: Message): void {
    if (message.t === 'bye') return probe.terminate()
    if (message.t !== 'welcome') return
    const polls = this.#main
    this.#main = probe
    this.#probe = undefined
    this.#ways = afterProbe(this.#ways, true, performance.now(), this.#random())
    polls?.close()
    this.#onWelcome(probe, message)
  }

  #onProbeEnd(probe: Connection, end: ConnectionEnd): void {
    this.#probe = undefined
    this.#ways = afterProbe(this.#ways, false, performance.now(), this.#random())
    this.options.log.info({ reason: end.reason }, 'websockets still do not pass')
    if (!this.#given) this.#probeLater()
    // The replica has given the session to the probe, which never heard of it.
    else if (this.#main) this.#main.terminate()
    else this.#onLost(probe, { ...end, fate: 'ended' })
  }

  #endProbe(): void {
    clearTimeout(this.#probeTimer)
    const probe = this.#probe
    this.#probe = undefined
    probe?.terminate()
  }

  #send(message: Message): void {
    this.#main?.send(message)
  }
}

/** A replica may have been started under an url that is none; dialling that one would throw. */
const urlsOf = (replicas: MessageOf<'replicas'>['replicas']): string[] =>
  replicas.map(each => each.url).filter(url => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))
