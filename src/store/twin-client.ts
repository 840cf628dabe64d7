/**
 * One user's link to the twin, and all that can go wrong on it: the link is refused or falls silent, a request or its
 * reply is lost, a request is kept in the network and arrives late, a watch is slow. A call fails exactly as the
 * transport reports it: `sent` false only when the request certainly did not arrive.
 */
import type { Clock } from '../hypervisor/ports.js'
import {
  type Etcd,
  EtcdFailure,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  type WatchHandlers,
  type Watching,
} from './etcd.js'
import type { News } from './twin-space.js'

/** The twin as its clients see it: it answers at once, and has no idea of what gets through. */
export interface TwinServer {
  readonly revision: number
  readonly compacted: number
  range(request: RangeRequest): RangeResult
  txn(request: TxnRequest): TxnResult
  grant(ttlS: number): { lease: string; ttlMs: number }
  keepAlive(lease: string): number
  revoke(lease: string): void
  /** Events in [key, end) from a revision on; undefined when that is compacted. */
  news(key: string, end: string, from: number): News | undefined
  /** Called after each revision, until the returned function is called. */
  onRevision(listener: () => void): () => void
}

/**
 * What becomes of a transaction. `twice`: its request arrives a second time, as late as the wire makes it. A promise:
 * its request arrives once that is fulfilled, however late.
 */
export type Fate = 'passes' | 'refused' | 'request-lost' | 'reply-lost' | 'twice' | Promise<unknown>

/** What carries messages between one client and the twin, and the time that passes at that client. */
export interface Wire {
  readonly clock: Clock
  /** Resolves when what is sent now arrives at the twin; never, when it is lost. */
  up(): Promise<void>
  /** The same, from the twin to its client: all that the client is told comes through here. */
  down(): Promise<void>
}

/** A wire that loses nothing. */
export function wireOf(clock: Clock, delayMs: (() => number) | undefined): Wire {
  const hop = (): Promise<void> =>
    delayMs ? new Promise(resolve => clock.after(delayMs(), resolve)) : Promise.resolve()
  return { clock, up: hop, down: hop }
}

type Link = 'whole' | 'refused' | 'silent'

const never = new Promise<never>(() => undefined)
const refused = (): EtcdFailure => new EtcdFailure('unavailable', false, 'the twin: connection refused')
const unknown = (why: string): EtcdFailure => new EtcdFailure('unavailable', true, `the twin: ${why}`)

export class TwinClient implements Etcd {
  #link: Link = 'whole'
  #closed = false
  #gone = false
  #watchesHeld = false
  readonly #planned: Fate[] = []
  /** How to fail the calls that wait for an answer. */
  readonly #pending = new Set<(failure: EtcdFailure) => void>()
  readonly #watches = new Set<TwinWatch>()

  constructor(
    private readonly twin: TwinServer,
    private readonly wire: Wire,
  ) {}

  /**
   * `refused`: connections break and new ones are refused, so calls in flight have an unknown outcome and later ones
   * are certainly not sent. `silent`: nothing arrives any more, in either direction, and nobody is told.
   */
  cut(how: 'refused' | 'silent' = 'refused'): void {
    this.#link = how
    if (how === 'silent') return
    const pending = [...this.#pending]
    void this.wire.down().then(() => {
      for (const fail of pending) fail(unknown('the connection was lost'))
    })
    for (const watch of [...this.#watches]) watch.end({ reason: 'the connection was lost' })
  }

  /** Connections break, and can be opened again at once: calls in flight have an unknown outcome, watches end. */
  reset(): void {
    this.cut()
    this.heal()
  }

  /** The watches end, and nothing else happens. */
  endWatches(reason: string): void {
    for (const watch of [...this.#watches]) watch.end({ reason })
  }

  /** Its process is no more: nobody is told anything, and what it sent arrives. */
  vanish(): void {
    this.#gone = true
    for (const watch of [...this.#watches]) watch.cancel()
  }

  heal(): void {
    this.#link = 'whole'
    this.#wakeWatches()
  }

  /** The next transaction is applied, and its caller does not learn that. */
  loseNextReply(): void {
    this.plan('reply-lost')
  }

  /** The next transaction stays in the network until the returned function is called, whoever still waits for it. */
  holdNextTxn(): () => void {
    let release!: () => void
    this.plan(new Promise<void>(resolve => (release = resolve)))
    return release
  }

  /** What becomes of the next transactions, in the order in which they are sent. */
  plan(...fates: readonly Fate[]): void {
    this.#planned.push(...fates)
  }

  /** Watches hear nothing until they are released; then they get everything, late. */
  holdWatches(): void {
    this.#watchesHeld = true
  }

  releaseWatches(): void {
    this.#watchesHeld = false
    this.#wakeWatches()
  }

  range(request: RangeRequest, deadlineMs: number): Promise<RangeResult> {
    return this.#call('passes', deadlineMs, () => this.twin.range(request))
  }

  txn(request: TxnRequest, deadlineMs: number): Promise<TxnResult> {
    return this.#call(this.#planned.shift() ?? 'passes', deadlineMs, () => this.twin.txn(request))
  }

  grant(ttlS: number, deadlineMs: number): Promise<{ lease: string; ttlMs: number }> {
    return this.#call('passes', deadlineMs, () => this.twin.grant(ttlS))
  }

  keepAlive(lease: string, deadlineMs: number): Promise<number> {
    return this.#call('passes', deadlineMs, () => this.twin.keepAlive(lease))
  }

  revoke(lease: string, deadlineMs: number): Promise<void> {
    return this.#call('passes', deadlineMs, () => this.twin.revoke(lease))
  }

  watch(request: { key: string; end: string; start: number }, handlers: WatchHandlers): Watching {
    const over = this.twin.onRevision(() => watch.wake())
    const watch = new TwinWatch(request, handlers, {
      twin: this.twin,
      wire: this.wire,
      hears: () => this.#passes() && !this.#watchesHeld,
      onOver: () => {
        over()
        this.#watches.delete(watch)
      },
    })
    this.#watches.add(watch)
    if (this.#link === 'refused' || this.#closed) watch.end({ reason: 'connection refused' })
    else void watch.open()
    return watch
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const fail of [...this.#pending]) fail(unknown('the client was closed'))
    for (const watch of [...this.#watches]) watch.cancel()
  }

  #passes(): boolean {
    return this.#link === 'whole' && !this.#closed
  }

  #wakeWatches(): void {
    for (const watch of this.#watches) watch.wake()
  }

  #call<T>(fate: Fate, deadlineMs: number, serve: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const settle = (): void => {
        cancel()
        this.#pending.delete(fail)
      }
      const fail = (failure: unknown): void => {
        settle()
        if (!this.#gone) reject(failure)
      }
      const cancel = this.wire.clock.after(deadlineMs, () => fail(unknown('no answer in time')))
      this.#pending.add(fail)
      this.#travel(fate, serve).then(answer => {
        settle()
        if (!this.#gone) resolve(answer)
      }, fail)
    })
  }

  /** To the twin and back. What is lost on a silent link never ends: the caller's deadline does. */
  async #travel<T>(fate: Fate, serve: () => T): Promise<T> {
    if (fate === 'refused' || this.#link === 'refused' || this.#closed) {
      await this.wire.down()
      throw refused()
    }
    if (fate instanceof Promise) await fate
    await this.wire.up()
    if (fate === 'request-lost') throw unknown('the request was lost')
    if (!this.#passes()) return never
    const answer = attempt(serve)
    if (fate === 'twice') void this.wire.up().then(() => attempt(serve))
    await this.wire.down()
    if (fate === 'reply-lost') throw unknown('the reply was lost')
    if (!this.#passes()) return never
    return answer()
  }
}

/** What was answered, be it a failure, to be opened where it arrives. */
function attempt<T>(serve: () => T): () => T {
  try {
    const value = serve()
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}

interface WatchPorts {
  readonly twin: TwinServer
  readonly wire: Wire
  /** Whether news gets through at the moment. */
  hears(): boolean
  onOver(): void
}

/** Asks the twin for news whenever it is woken, one delivery at a time, so that events stay in order. */
class TwinWatch implements Watching {
  #next: number
  /** The twin has the request. */
  #asked = false
  #made = false
  #over = false
  #busy = false
  #wokenMeanwhile = false

  constructor(
    private readonly request: { readonly key: string; readonly end: string; readonly start: number },
    private readonly handlers: WatchHandlers,
    private readonly ports: WatchPorts,
  ) {
    this.#next = request.start
  }

  async open(): Promise<void> {
    await this.ports.wire.up()
    this.#asked = true
    this.wake()
  }

  wake(): void {
    if (!this.#asked) return
    this.#wokenMeanwhile = true
    if (!this.#busy) void this.#deliver()
  }

  requestProgress(): void {
    const { wire } = this.ports
    void wire
      .up()
      .then(() => wire.down())
      .then(() => {
        if (!this.#over && this.#made && this.ports.hears()) this.handlers.onHeard()
      })
  }

  cancel(): void {
    this.#over = true
    this.ports.onOver()
  }

  /** There is no other twin to ask. */
  abandon(): void {
    this.cancel()
  }

  end(how: { readonly reason: string; readonly compacted?: number }): void {
    if (this.#over) return
    this.cancel()
    void this.ports.wire.down().then(() => this.handlers.onEnd(how))
  }

  /** What there is to tell is looked up when it is sent, and is as old as the wire is slow when it arrives. */
  async #deliver(): Promise<void> {
    this.#busy = true
    while (this.#wokenMeanwhile && !this.#over) {
      this.#wokenMeanwhile = false
      if (!this.ports.hears()) break
      const news = this.#news()
      if (!news) break
      await this.ports.wire.down()
      if (!this.#over && this.ports.hears()) this.#tell(news)
    }
    this.#busy = false
  }

  #news(): News | undefined {
    const { twin } = this.ports
    const news = twin.news(this.request.key, this.request.end, this.#next)
    if (!news) this.end({ reason: 'required revision has been compacted', compacted: twin.compacted })
    return news
  }

  #tell(news: News): void {
    if (!this.#made) this.handlers.onHeard()
    this.#made = true
    this.#next = news.next
    if (news.events.length > 0) this.handlers.onEvents(news.events)
    if (this.#next <= this.ports.twin.revision) this.#wokenMeanwhile = true
  }
}
