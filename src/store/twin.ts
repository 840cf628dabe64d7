/**
 * An etcd in memory, for tests and the simulation: what the store relies on of etcd's key space, transactions, leases
 * and watches, on an injected clock. The contract suite that runs on real members runs on it too.
 *
 * It is one server, always of one mind; what goes wrong between it and its users is the matter of their clients
 * (`twin-client.ts`), of which each has a link of its own.
 */
import type { Clock } from '../hypervisor/ports.js'
import {
  type Compare,
  EtcdFailure,
  type KeyValue,
  type Op,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  txnOpsMax,
} from './etcd.js'
import { TwinClient, type TwinServer, type Wire, wireOf } from './twin-client.js'
import { KeySpace, type News } from './twin-space.js'

export interface TwinOptions {
  /** How long each message to or from a client takes; absent: none takes any time of the clock. */
  readonly delayMs?: () => number
  /** As which it presents itself: one that was put back from a backup is another one. */
  readonly cluster?: string
}

interface Lease {
  readonly ttlMs: number
  readonly keys: Set<string>
  cancelTimer: () => void
}

/** etcd's own: one and a half of its election timeout. */
const ttlSMin = 2
const requestBytesMax = 1.5 * 1024 * 1024
const noLease = '0'

export class EtcdTwin implements TwinServer {
  readonly #space = new KeySpace()
  readonly #leases = new Map<string, Lease>()
  readonly #listeners = new Set<() => void>()
  #leaseNumber = 7_000_000_000
  #running = true

  constructor(
    readonly clock: Clock,
    private readonly options: TwinOptions = {},
  ) {}

  /** On a wire of its own; without one, on this twin's clock and with its delay. */
  client(wire: Wire = wireOf(this.clock, this.options.delayMs)): TwinClient {
    return new TwinClient(this, wire)
  }

  get revision(): number {
    return this.#space.revision
  }

  get compacted(): number {
    return this.#space.compacted
  }

  /** Throws `compacted` for a revision that is gone already or still to come, as etcd does. */
  compact(revision: number): void {
    this.#space.compact(revision)
  }

  /** Leases run out no more: it stops, or has lost its majority. */
  stop(): void {
    this.#running = false
    for (const lease of this.#leases.values()) lease.cancelTimer()
  }

  /** A new majority lets every lease run anew, as nobody could keep one meanwhile. */
  resume(): void {
    this.#running = true
    for (const [id, lease] of this.#leases) this.#prolong(id, lease)
  }

  /** All leases with the keys on them. */
  get leases(): ReadonlyMap<string, { readonly keys: ReadonlySet<string> }> {
    return this.#leases
  }

  onRevision(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  news(key: string, end: string, from: number): News | undefined {
    return this.#space.news(key, end, from)
  }

  range(request: RangeRequest): RangeResult {
    return { ...this.#space.range(request), revision: this.revision, cluster: this.options.cluster ?? 'twin' }
  }

  txn(request: TxnRequest): TxnResult {
    checkRequest(request)
    const succeeded = request.compare.every(each => this.#holds(each))
    const ops = succeeded ? request.success : (request.failure ?? [])
    for (const op of ops) if ('put' in op && op.lease) this.#leaseOf(op.lease)
    const found = ops.map(op => this.#run(op))
    this.#seal()
    return { succeeded, revision: this.revision, found }
  }

  grant(ttlS: number): { lease: string; ttlMs: number } {
    const ttlMs = Math.max(ttlSMin, ttlS) * 1000
    const id = String(++this.#leaseNumber)
    const lease: Lease = { ttlMs, keys: new Set(), cancelTimer: () => undefined }
    this.#leases.set(id, lease)
    this.#prolong(id, lease)
    return { lease: id, ttlMs }
  }

  keepAlive(id: string): number {
    const lease = this.#leases.get(id)
    if (!lease) return 0
    this.#prolong(id, lease)
    return lease.ttlMs
  }

  /** All keys of the lease go in one revision. */
  revoke(id: string): void {
    const lease = this.#leaseOf(id)
    lease.cancelTimer()
    this.#leases.delete(id)
    for (const key of lease.keys) this.#space.delete(key)
    this.#seal()
  }

  #prolong(id: string, lease: Lease): void {
    lease.cancelTimer()
    if (this.#running) lease.cancelTimer = this.clock.after(lease.ttlMs, () => this.revoke(id))
  }

  #leaseOf(id: string): Lease {
    const lease = this.#leases.get(id)
    if (!lease) throw new EtcdFailure('lease-gone', false, 'requested lease not found')
    return lease
  }

  #holds(compare: Compare): boolean {
    const item = this.#space.get(compare.key)
    if ('created' in compare) return (item?.created ?? 0) === compare.created
    if ('modified' in compare) return (item?.modified ?? 0) === compare.modified
    return item !== undefined
  }

  #run(op: Op): KeyValue | undefined {
    if ('get' in op) return this.#space.get(op.get)
    const key = 'put' in op ? op.put : op.delete
    this.#leases.get(this.#space.get(key)?.lease ?? noLease)?.keys.delete(key)
    if ('delete' in op) this.#space.delete(key)
    else {
      this.#space.put(key, op.value, op.lease || noLease)
      if (op.lease) this.#leaseOf(op.lease).keys.add(key)
    }
    return undefined
  }

  #seal(): void {
    if (this.#space.seal()) for (const listener of [...this.#listeners]) listener()
  }
}

/** What etcd refuses before it looks at the compares: both branches count, whichever would be taken. */
function checkRequest(request: TxnRequest): void {
  const branches = [request.success, request.failure ?? []]
  if ([request.compare, ...branches].some(each => each.length > txnOpsMax)) {
    throw new EtcdFailure('invalid', false, 'too many operations in txn request')
  }
  for (const branch of branches) checkKeys(branch)
  const bytes = branches.flat().reduce((sum, op) => sum + ('put' in op ? op.put.length + op.value.byteLength : 0), 0)
  if (bytes > requestBytesMax) throw new EtcdFailure('too-large', false, 'request is too large')
}

function checkKeys(ops: readonly Op[]): void {
  const puts = ops.flatMap(op => ('put' in op ? [op.put] : []))
  const unique = new Set(puts)
  const deletedToo = ops.some(op => 'delete' in op && unique.has(op.delete))
  if (unique.size < puts.length || deletedToo) {
    throw new EtcdFailure('invalid', false, 'duplicate key given in txn request')
  }
}
