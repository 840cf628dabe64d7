/**
 * What the store needs of etcd: a narrow port over its v3 API. Two things implement it, the transport to real members
 * and the in-memory twin, and one contract suite runs on both; everything above it cannot tell them apart.
 *
 * Revisions are numbers (safe up to 2^53), lease ids are text (64 bits). Every unary call names its deadline.
 */
export interface KeyValue {
  readonly key: string
  readonly value: Uint8Array
  readonly created: number
  readonly modified: number
  readonly lease: string
}

export interface RangeRequest {
  readonly key: string
  /** Exclusive; absent: the one key. */
  readonly end?: string
  /** Absent: now. */
  readonly revision?: number
  readonly limit?: number
  /** From whatever member answers, maybe behind. Default: linearizable. */
  readonly serializable?: boolean
  readonly countOnly?: boolean
  /** Values come empty. */
  readonly keysOnly?: boolean
}

export interface RangeResult {
  readonly revision: number
  readonly cluster: string
  readonly items: readonly KeyValue[]
  readonly count: number
  readonly more: boolean
}

export type Compare =
  /** 0: the key does not exist. */
  | { readonly key: string; readonly created: number }
  | { readonly key: string; readonly modified: number }
  | { readonly key: string; readonly exists: true }

export type Op =
  | { readonly put: string; readonly value: Uint8Array; readonly lease?: string }
  | { readonly delete: string }
  | { readonly get: string }

export interface TxnRequest {
  readonly compare: readonly Compare[]
  readonly success: readonly Op[]
  readonly failure?: readonly Op[]
}

export interface TxnResult {
  readonly succeeded: boolean
  readonly revision: number
  /** What each `get` of the branch taken found, in order of the ops; undefined for other ops and missing keys. */
  readonly found: readonly (KeyValue | undefined)[]
}

export interface WatchEvent {
  readonly key: string
  /** Null: deleted. */
  readonly value: Uint8Array | null
  readonly created: number
  readonly modified: number
}

export interface WatchHandlers {
  /** Complete revisions only: all events of a revision come in one call, in order. */
  onEvents(events: readonly WatchEvent[]): void
  /** Something was heard; `revision` where it proves that everything up to it has been delivered. */
  onHeard(revision?: number): void
  /** The watch is over. `compacted`: the start is gone, a snapshot is needed. */
  onEnd(end: { readonly reason: string; readonly compacted?: number; readonly fatal?: boolean }): void
}

export interface Watching {
  /** Asks for a sign of life. */
  requestProgress(): void
  cancel(): void
  /** Cancels a watch of which nothing is heard: whoever was to answer it is left, and the next watch asks another. */
  abandon(): void
}

export interface Etcd {
  range(request: RangeRequest, deadlineMs: number): Promise<RangeResult>
  txn(request: TxnRequest, deadlineMs: number): Promise<TxnResult>
  /** From `start` on, all keys in [key, end). */
  watch(request: { key: string; end: string; start: number }, handlers: WatchHandlers): Watching
  grant(ttlS: number, deadlineMs: number): Promise<{ readonly lease: string; readonly ttlMs: number }>
  /** The time granted anew; 0 when the lease is gone. */
  keepAlive(lease: string, deadlineMs: number): Promise<number>
  revoke(lease: string, deadlineMs: number): Promise<void>
  /** Whether it has raised its NOSPACE alarm, as the member that answers knows. Absent: it never does. */
  isFull?(deadlineMs: number): Promise<boolean>
  close(): Promise<void>
}

export type FailureKind =
  /** No answer, or none from a member with a quorum. */
  'unavailable' | 'compacted' | 'lease-gone' | 'too-large' | 'not-allowed' | 'quota' | 'invalid'

/** How a call to etcd failed. For a write: `sent` false says that it certainly had no effect. */
export class EtcdFailure extends Error {
  override readonly name = 'EtcdFailure'
  constructor(
    readonly kind: FailureKind,
    readonly sent: boolean,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The end of the range of all keys that begin with the prefix. */
export function prefixEnd(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1)
  return prefix.slice(0, -1) + String.fromCharCode(last + 1)
}

/** What etcd's limits allow in one transaction (`--max-txn-ops` default), counted per branch. */
export const txnOpsMax = 128
