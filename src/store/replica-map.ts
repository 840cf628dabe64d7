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
import { type Etcd, EtcdFailure, type KeyValue, type RangeResult, type WatchEvent, type Watching } from './etcd.js'
import type { StoreEvents } from './events.js'
import { callMs, cloudErrorOf, pageMs, pause, retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { readValue } from './values.js'

const pageItems = 5_000
const askEveryMs = 500
/** Without a sign of life for this long, the memory is called stale. */
const staleAfterMs = 1_300
const silentMaxMs = 2_500
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
  /** Keys with values that could not be read, at the revision at which they were so. */
  readonly #unreadable = new Map<string, number>()
  /** Keys of kinds that this release does not know: a newer replica wrote them, and etcd counts them. */
  readonly #unknown = new Set<string>()
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
    return this.#unreadable.size
  }

  /** Resolves when the first snapshot is in; keeps the memory up from then on. */
  async open(): Promise<void> {
    await this.#snapshot('start')
    this.#watch()
    this.#tick()
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

  async catchUp(deadlineMs: number): Promise<Order> {
    const untilMs = this.ports.clock.nowMs() + deadlineMs
    const { keys } = this.ports
    const revision = await retryRead(this.ports.clock, deadlineMs, async callMs => {
      const request = { key: keys.map, end: keys.mapEnd, limit: 1, countOnly: true }
      return (await this.ports.etcd.range(request, callMs)).revision
    })
    const order = { era: this.#map.order.era, revision: await this.#reachable(revision) }
    await this.waitFor(order, Math.max(1, untilMs - this.ports.clock.nowMs()))
    return this.#map.order
  }

  /**
   * etcd's revision counts writes outside `map/` too, of which no event comes here. Every change that a client was
   * told of is a transaction of a leader, and raises the turn: so what is waited for is the turn as it was then.
   */
  async #reachable(revision: number): Promise<number> {
    if (this.#map.order.revision >= revision) return revision
    this.#watching?.requestProgress()
    return Math.min(revision, await this.#newestTurn(revision))
  }

  async #newestTurn(revision: number): Promise<number> {
    const { keys, etcd, clock } = this.ports
    const request = { key: keys.record('turn', ''), revision }
    const answer = await retryRead(clock, pageMs, callMs => etcd.range(request, callMs))
    return answer.items[0]?.modified ?? 0
  }

  onChange(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tick(): void {
    if (this.#closed) return
    const silentMs = this.ports.clock.nowMs() - Math.max(this.#heardAtMs, this.#watchedAtMs)
    if (this.#watching && silentMs > silentMaxMs) {
      this.#watching.abandon()
      this.#reopen('the watch was silent')
    } else this.#watching?.requestProgress()
    if (this.ports.clock.nowMs() >= this.#reconcileAtMs) void this.#reconcile()
    this.#cancelTimer = this.ports.clock.after(askEveryMs, () => this.#tick())
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
    const most = Math.min(5_000, 80 * 2 ** Math.min(this.#failures++, 6))
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
    const { revision, items, cluster } = await this.#readAll()
    // A later one has begun: beside it, this one would look like etcd put back to an earlier state.
    if (this.#closed || generation !== this.#generation) return
    const before = this.#map.order.revision
    const restored = revision < before || (this.#cluster !== '' && cluster !== this.#cluster)
    this.#cluster = cluster
    const changes = this.#differences(items, restored)
    if (restored) this.#map.resetRevision(0)
    this.#resumeAt = revision + 1
    this.#reconcileAtMs = this.ports.clock.nowMs() + reconcileEveryMs
    this.#heard()
    this.#apply(changes, revision)
    this.ports.log.info({ reason, revision, changed: changes.length, keys: items.length }, 'read the map')
  }

  /** All pages at one revision; compaction in between starts over. */
  async #readAll(): Promise<{ revision: number; cluster: string; items: KeyValue[] }> {
    const { etcd, keys, clock } = this.ports
    for (let attempt = 0; ; attempt++) {
      const items: KeyValue[] = []
      let revision: number | undefined
      let cluster = ''
      try {
        for (let key = keys.map; ; key = `${items.at(-1)!.key}\0`) {
          const request = { key, end: keys.mapEnd, limit: pageItems, ...(revision === undefined ? {} : { revision }) }
          const page = await etcd.range(request, pageMs)
          revision ??= page.revision
          cluster = page.cluster
          items.push(...page.items)
          if (!page.more) return { revision, cluster, items }
        }
      } catch (error) {
        const again = error instanceof EtcdFailure && (error.kind === 'compacted' || error.kind === 'unavailable')
        if (!again || attempt >= 5) throw cloudErrorOf(error)
        await pause(clock, 50 * 2 ** attempt)
      }
    }
  }

  #differences(items: readonly KeyValue[], restored: boolean): Applied[] {
    const changes: Applied[] = []
    const seen = new Set<string>()
    this.#forgetApart(new Set(items.map(item => item.key)))
    for (const item of items) {
      const place = this.ports.keys.parse(item.key)
      if (!place) {
        this.#unknown.add(item.key)
        continue
      }
      seen.add(`${place.kind}/${place.id}`)
      const known = this.#map.get(place.kind, place.id)
      const modified = known?.modified ?? this.#unreadable.get(item.key)
      if (!restored && modified === item.modified) continue
      changes.push(...this.#read(item.key, item.value, item.created, item.modified))
    }
    for (const kind of this.#kindsHeld()) {
      for (const [id] of this.#map.all(kind)) {
        if (!seen.has(`${kind}/${id}`)) changes.push({ kind, id, value: null, created: 0, modified: 0 } as Applied)
      }
    }
    return changes
  }

  /** What is kept apart from the map, and not in etcd any more. */
  #forgetApart(except: ReadonlySet<string>): void {
    for (const apart of [this.#unreadable, this.#unknown]) {
      for (const key of apart.keys()) if (!except.has(key)) apart.delete(key)
    }
  }

  #kindsHeld(): Kind[] {
    return this.#map.kinds()
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
      const changes = events.slice(from, to).flatMap(each => this.#read(each.key, each.value, each.created, revision))
      this.#apply(changes, revision)
      from = to
    }
    this.#resumeAt = last + 1
  }

  #read(key: string, value: Uint8Array | null, created: number, modified: number): Applied[] {
    const place = this.ports.keys.parse(key)
    if (!place) {
      if (value === null) this.#unknown.delete(key)
      else this.#unknown.add(key)
      return []
    }
    if (value === null) {
      this.#unreadable.delete(key)
      return [{ ...place, value: null, created, modified } as Applied]
    }
    const read = readValue(place.kind, value)
    if (read.kind === 'good') {
      this.#unreadable.delete(key)
      return [{ ...place, value: read.value, created, modified } as Applied]
    }
    this.#unreadable.set(key, modified)
    this.ports.events.onUnreadable?.(key, read.reason)
    this.ports.log.error({ key, reason: read.reason }, 'a value in etcd cannot be read and is left out')
    return [{ ...place, value: null, created, modified } as Applied]
  }

  #apply(changes: readonly Applied[], revision: number): void {
    this.#map.apply(changes, revision)
    const { order } = this.#map
    for (const listener of this.#listeners) {
      try {
        listener(changes, order)
      } catch (error) {
        this.ports.log.error({ err: error }, 'a listener of the map failed')
      }
    }
    for (const waiter of this.#waiters) {
      if (compareOrder(order, waiter.order) < 0) continue
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  /** The server itself could lose events: now and then the number of keys is compared at one revision. */
  async #reconcile(): Promise<void> {
    this.#reconcileAtMs = this.ports.clock.nowMs() + reconcileEveryMs
    const { etcd, keys } = this.ports
    const { revision } = this.#map.order
    const apart = this.#unreadable.size + this.#unknown.size
    const held = this.#kindsHeld().reduce((sum, kind) => sum + this.#map.count(kind), apart)
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
