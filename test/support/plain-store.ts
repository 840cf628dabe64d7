/** A term over a MemoryMap, for tests of the leader: applies what is committed, keeps it for looking at. */
import { CloudError } from '../../src/cloud/errors.js'
import { type Applied, MemoryMap } from '../../src/cloud/map.js'
import type { Order } from '../../src/cloud/order.js'
import type { Change, Decision } from '../../src/cloud/records.js'
import type {
  Batch,
  Clock,
  CommitResult,
  Decisions,
  Maps,
  RequestRecord,
  Requests,
  Term,
} from '../../src/hypervisor/ports.js'

export class PlainStore implements Maps, Requests, Decisions, Term {
  readonly map = new MemoryMap()
  readonly token = 1
  readonly batches: Batch[] = []
  readonly records = new Map<string, RequestRecord>()
  reads = 0
  /** Asked before each commit; what it returns instead of undefined is the result. */
  verdict: (batch: Batch) => CommitResult | undefined | Promise<CommitResult | undefined> = () => undefined
  readonly ended: Promise<string>
  readonly end: (reason: string) => void
  readonly #listeners = new Set<(changes: readonly Applied[], order: Order) => void>()
  #valid = true

  constructor() {
    let end!: (reason: string) => void
    this.ended = new Promise(resolve => (end = resolve))
    this.end = reason => {
      this.#valid = false
      end(reason)
    }
  }

  valid(): boolean {
    return this.#valid
  }

  holds(): Promise<boolean> {
    return Promise.resolve(this.#valid)
  }

  staleForMs(): number {
    return 0
  }

  waitFor(order: Order): Promise<void> {
    if (order.revision <= this.map.order.revision) return Promise.resolve()
    return Promise.reject(new CloudError('timeout', 'not there'))
  }

  catchUp(): Promise<Order> {
    return Promise.resolve(this.map.order)
  }

  onChange(listener: (changes: readonly Applied[], order: Order) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  read(requestId: string, since?: number): Promise<RequestRecord | undefined>
  read(turn: number, instance: string): Promise<Decision | undefined>
  read(what: string | number, of?: string | number): Promise<unknown> {
    if (typeof what === 'number') return Promise.resolve(this.#decided(what, of))
    this.reads++
    return Promise.resolve(this.records.get(what))
  }

  #decided(turn: number, instance: unknown): Decision | undefined {
    return this.batches[turn - 1]?.decisions?.find(each => each.instance === instance)?.decision
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const result = await this.verdict(batch)
    if (result) return result
    this.batches.push(batch)
    for (const record of [...batch.requests, ...(batch.answers ?? [])]) this.records.set(record.id, record)
    return { kind: 'committed', revision: this.apply(batch.changes) }
  }

  apply(changes: readonly Change[]): number {
    const revision = this.map.order.revision + 1
    const applied = changes.map(change => ({
      ...change,
      created: this.map.get(change.kind, change.id)?.created ?? revision,
      modified: revision,
    })) as Applied[]
    this.map.apply(applied, revision)
    for (const listener of this.#listeners) listener(applied, this.map.order)
    return revision
  }
}

/** Real time; timers of a test end with it. */
export const testClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
