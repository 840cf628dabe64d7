/**
 * This replica's memory of `map/` (S1): a snapshot at one revision, then one watch from the next on. The watch resumes
 * after the last event that was applied, never after what a header says; when the history is gone, or in doubt, a new
 * snapshot is compared with the memory and only real differences are told. Readers keep the memory meanwhile.
 */
import { CloudError } from '../cloud/errors.js'
import { type Applied, type CloudMap, MemoryMap } from '../cloud/map.js'
import { compareOrder, type Order } from '../cloud/order.js'
import type { Kind } from '../cloud/records.js'
import type { Chance, Clock, Log, Maps } from '../hypervisor/ports.js'
import type { Etcd, RangeResult, WatchEvent, Watching } from './etcd.js'
import type { StoreEvents } from './events.js'
import { callMs, pageMs, pause, retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { Apart, readChange } from './reading.js'
import { readSnapshot } from './snapshot.js'
import { Comparing, Filling } from './staging.js'

const askEveryMs = 500
/** Without a sign of life for this long, the memory is called stale. */
const staleAfterMs = 1_300
const silentMaxMs = 2_500
/** When etcd comes back, so late at most is it noticed. */
const reopenMaxMs = 1_000
const reconcileEveryMs = 180_000

interface Waiter {
  readonly order: Order
  readonly resolve: () => void
}

type Listener = (changes: readonly Applied[], order: Order) => void

export interface ReplicaMapPorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly events: StoreEvents
}

export class ReplicaMap implements Maps {
  readonly #map = new MemoryMap()
  readonly #listeners = new Set<Listener>()
  readonly #waiters = new Set<Waiter>()
  #apart = new Apart()
  #watching: Watching | undefined
  /** Raised with each watch, so that a late word of an old one is ignored. */
  #generation = 0
  #resumeAt = 0
  #heardAtMs = 0
  /** When the watch was asked for: from then on it has time to answer. */
  #watchedAtMs = 0
  #failures = 0
  #cluster = ''
  #closed = false
  #cancelTimer: (() => void) | undefined
  #reconcileAtMs = 0

  constructor(private readonly ports: ReplicaMapPorts) {}

  get map(): CloudMap {
    return this.#map
  }

  get unreadable(): number {
    return this.#apart.unreadable.size
  }

  /** Resolves when the first snapshot is in; keeps the memory up from then on. */
  async open(): Promise<void> {
    await this.#snapshot('start')
    this.#watch()
    this.#tick(this.ports.clock.nowMs())
  }

  close(): void {
    this.#closed = true
    this.#generation++
    this.#watching?.cancel()
    this.#cancelTimer?.()
  }

  staleForMs(): number {
    const silentMs = this.ports.clock.nowMs() - this.#heardAtMs
    return silentMs > staleAfterMs ? silentMs : 0
  }

  waitFor(order: Order, deadlineMs: number): Promise<void> {
    if (compareOrder(this.#map.order, order) >= 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const cancel = this.ports.clock.after(deadlineMs, () => {
        this.#waiters.delete(waiter)
        const { revision } = this.#map.order
        reject(new CloudError('timeout', `revision ${order.revision} has not arrived here in time, ${revision} has`))
      })
      const waiter: Waiter = {
        order,
        resolve: () => {
          cancel()
          resolve()
        },
      }
      this.#waiters.add(waiter)
    })
  }

  /**
   * etcd's revision counts writes outside `map/` too, of which no event comes here. Every change that a client was
   * told of is a transaction of a leader, and raises the turn: so what is waited for is the turn as it is now. (One key
   * is read: a count of the whole map takes etcd half a second for each million.)
   */
  async catchUp(deadlineMs: number): Promise<Order> {
    const untilMs = this.ports.clock.nowMs() + deadlineMs
    const { keys } = this.ports
    const turn = await retryRead(this.ports.clock, deadlineMs, async callMs => {
      const { revision, items } = await this.ports.etcd.range({ key: keys.record('turn', '') }, callMs)
      return { revision, modified: items[0]?.modified ?? 0 }
    })
    const { era, revision } = this.#map.order
    if (revision < turn.revision) this.#watching?.requestProgress()
    const order = { era, revision: revision < turn.revision ? turn.modified : turn.revision }
    await this.waitFor(order, Math.max(1, untilMs - this.ports.clock.nowMs()))
    return this.#map.order
  }

  onChange(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** `dueMs`: who stood still has not heard what came meanwhile. That is silence of its own, not of the watch. */
  #tick(dueMs: number): void {
    if (this.#closed) return
    const nowMs = this.ports.clock.nowMs()
    const silentMs = nowMs - Math.max(this.#heardAtMs, this.#watchedAtMs)
    if (this.#watching && silentMs > silentMaxMs && nowMs - dueMs < askEveryMs) {
      this.#watching.abandon()
      this.#reopen('the watch was silent')
    } else this.#watching?.requestProgress()
    if (nowMs >= this.#reconcileAtMs) void this.#reconcile()
    this.#cancelTimer = this.ports.clock.after(askEveryMs, () => this.#tick(nowMs + askEveryMs))
  }

  #watch(): void {
    const { etcd, keys, clock } = this.ports
    const generation = ++this.#generation
    this.#watchedAtMs = clock.nowMs()
    const mine = (): boolean => generation === this.#generation && !this.#closed
    this.#watching = etcd.watch(
      { key: keys.map, end: keys.mapEnd, start: this.#resumeAt },
      {
        onEvents: events => {
          if (mine()) this.#onEvents(events)
        },
        onHeard: () => {
          if (mine()) this.#heard()
        },
        onEnd: end => {
          if (!mine()) return
          if (end.compacted !== undefined) void this.#resync('the history was compacted')
          else this.#reopen(end.reason)
        },
      },
    )
  }

  #heard(): void {
    this.#heardAtMs = this.ports.clock.nowMs()
    this.#failures = 0
  }

  #reopen(reason: string): void {
    const generation = ++this.#generation
    this.#watching?.cancel()
    this.#watching = undefined
    this.ports.events.onReopen?.(reason)
    const most = Math.min(reopenMaxMs, 80 * 2 ** Math.min(this.#failures++, 6))
    const waitMs = 30 + this.ports.chance.next() * (most - 30)
    this.ports.clock.after(waitMs, () => {
      if (generation === this.#generation && !this.#closed) void this.#rejoin(generation)
    })
  }

  /** After a break, who answers may be an etcd that was put back to an earlier state: its watch would say nothing. */
  async #rejoin(generation: number): Promise<void> {
    const { etcd, keys } = this.ports
    let answer: RangeResult | undefined
    let reason = ''
    try {
      answer = await etcd.range({ key: keys.record('era', ''), countOnly: true }, callMs)
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
    if (generation !== this.#generation || this.#closed) return
    if (!answer) this.#reopen(reason)
    else if (answer.cluster !== this.#cluster || answer.revision < this.#resumeAt - 1) {
      void this.#resync('etcd was put back to an earlier state')
    } else this.#watch()
  }

  async #resync(reason: string): Promise<void> {
    const generation = ++this.#generation
    this.#watching?.cancel()
    this.#watching = undefined
    this.ports.log.warn({ reason }, 'reading the whole map anew')
    this.ports.events.onResync?.(reason)
    for (let attempt = 0; !this.#closed && generation === this.#generation; attempt++) {
      try {
        await this.#snapshot(reason)
        if (generation === this.#generation) this.#watch()
        return
      } catch (error) {
        this.ports.log.warn({ err: error }, 'the map could not be read')
        await pause(this.ports.clock, Math.min(5_000, 100 * 2 ** attempt) * (0.5 + this.ports.chance.next() / 2))
      }
    }
  }

  async #snapshot(reason: string): Promise<void> {
    const generation = this.#generation
    const first = this.#cluster === ''
    const staging = first
      ? new Filling(this.#map, this.ports)
      : new Comparing(this.#map, this.#apart, (...etcd) => this.#isRestored(...etcd), this.ports)
    const { revision, cluster, keys } = await readSnapshot(this.ports, staging)
    // A later one has begun: beside it, this one would look like etcd put back to an earlier state.
    if (this.#closed || generation !== this.#generation) return
    const changes = staging.differences()
    if (this.#isRestored(revision, cluster)) this.#map.resetRevision(0)
    this.#cluster = cluster
    this.#apart = staging.apart
    this.#resumeAt = revision + 1
    this.#reconcileAtMs = this.ports.clock.nowMs() + reconcileEveryMs
    this.#heard()
    this.#apply(changes, revision, first ? () => everything(this.#map) : () => changes)
    this.ports.log.info({ reason, revision, changed: first ? keys : changes.length, keys }, 'read the map')
  }

  #isRestored(revision: number, cluster: string): boolean {
    return revision < this.#map.order.revision || (this.#cluster !== '' && cluster !== this.#cluster)
  }

  #onEvents(events: readonly WatchEvent[]): void {
    this.#heard()
    const last = events.at(-1)!.modified
    if (events[0]!.modified < this.#resumeAt) {
      void this.#resync(`the watch went back to revision ${events[0]!.modified}`)
      return
    }
    for (let from = 0; from < events.length; ) {
      const revision = events[from]!.modified
      let to = from
      while (to < events.length && events[to]!.modified === revision) to++
      const changes = events.slice(from, to).flatMap(each => readChange(each, this.#apart, this.ports) ?? [])
      this.#apply(changes, revision)
      from = to
    }
    this.#resumeAt = last + 1
  }

  /** `told`: what listeners are told, made only when there are any. */
  #apply(changes: readonly Applied[], revision: number, told = () => changes): void {
    this.#map.apply(changes, revision)
    const { order } = this.#map
    if (this.#listeners.size > 0) this.#tell(told(), order)
    for (const waiter of this.#waiters) {
      if (compareOrder(order, waiter.order) < 0) continue
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  #tell(changes: readonly Applied[], order: Order): void {
    for (const listener of this.#listeners) {
      try {
        listener(changes, order)
      } catch (error) {
        this.ports.log.error({ err: error }, 'a listener of the map failed')
      }
    }
  }

  /** The server itself could lose events: now and then the number of keys is compared at one revision. */
  async #reconcile(): Promise<void> {
    this.#reconcileAtMs = this.ports.clock.nowMs() + reconcileEveryMs
    const { etcd, keys } = this.ports
    const { revision } = this.#map.order
    const held = this.#map.kinds().reduce((sum, kind) => sum + this.#map.count(kind), this.#apart.count)
    try {
      const request = { key: keys.map, end: keys.mapEnd, revision, countOnly: true }
      const { count } = await etcd.range(request, pageMs)
      if (count !== held && this.#map.order.revision === revision) {
        await this.#resync(`etcd has ${count} keys at revision ${revision}, the memory ${held}`)
      }
    } catch (error) {
      this.ports.log.warn({ err: error }, 'the map could not be compared with etcd')
    }
  }
}

function everything(map: CloudMap & { kinds(): Kind[] }): Applied[] {
  return map.kinds().flatMap(kind => [...map.all(kind)].map(([id, entry]) => ({ kind, id, ...entry }) as Applied))
}
