/**
 * What the hypervisor needs of the world. Every port documents its promise: what is atomic, what may be stale, who
 * retries. Edge rooms implement them, `main.ts` connects them, tests and the simulation put their own in.
 */
import type { Answer, Envelope } from '../cloud/commands.js'
import type { Decided } from '../cloud/decide/verdict.js'
import type { NodeRef } from '../cloud/ids.js'
import type { Applied, CloudMap } from '../cloud/map.js'
import type { Order } from '../cloud/order.js'
import type { UseHistory } from '../cloud/placement/history.js'
import type { Change, Decision, LeaderRecord, ObservedRecord, ReplicaRecord, SessionRecord } from '../cloud/records.js'
import type { Resources } from '../cloud/resources.js'

/** Monotonic time for durations, wall time for what people read, timers that the simulation can drive. */
export interface Clock {
  /** Monotonic milliseconds. Never compared between processes. */
  nowMs(): number
  /** Milliseconds since 1970, for stamps that people read; nothing is ordered by it. */
  wallMs(): number
  /** Runs once after the delay, unless the returned function is called first. */
  after(delayMs: number, run: () => void): () => void
}

export interface Chance {
  /** Uniform in [0, 1). */
  next(): number
  /** Hex characters from a cryptographic source (in simulation: from the seed). */
  id(length: number): string
}

/** This replica's memory of `map/` (S1). */
export interface Maps {
  readonly map: CloudMap
  /** Since when the memory cannot be proved to be current; 0 while etcd is heard. */
  staleForMs(): number
  /** Resolves when the memory has reached the revision. Throws `timeout` after the deadline. */
  waitFor(order: Order, deadlineMs: number): Promise<void>
  /** Asks etcd for its revision (linearizable read) and waits for it. Throws `store-unavailable` or `timeout`. */
  catchUp(deadlineMs: number): Promise<Order>
  /** Called after the changes of a revision are applied, in order, once each. Returns the unsubscribe function. */
  onChange(listener: (changes: readonly Applied[], order: Order) => void): () => void
}

/** One change for the audit (S9). */
export interface AuditEntry {
  readonly requestId: string
  readonly actor: string
  readonly role: string
  readonly from?: string
  readonly op: string
  readonly subjects: readonly string[]
  /** What was done to them, where the operation alone does not say it. */
  readonly note?: string
  readonly at: string
}

/** The answer already given, or how far a bulk call has come (S8). */
export interface RequestRecord {
  readonly schema: 1
  readonly id: string
  /** SHA-256 of operation and body: the same key with another request is a conflict. Empty without a key. */
  readonly fingerprint: string
  /** False while transactions of a bulk call are still to come. */
  readonly done: boolean
  readonly answer: Omit<Answer, 'order' | 'replayed'>
  /** Of a call that needs several transactions: how many of its steps are written, and the subject of the last one. */
  readonly progress: number
  readonly last?: string
  /** The exact version that was meant by the fragment in the call. */
  readonly version?: string
  /** How many instances of a bulk call were refused, all for the reasons of the first, which alone is kept. */
  readonly refusedCount?: number
}

/** What one fenced transaction carries. Whole or not at all. At most `batchOpsMax` changes and requests together. */
export interface Batch {
  readonly changes: readonly Change[]
  readonly audit: readonly AuditEntry[]
  /** Of the instances that it places: kept in the log under the number of its turn. */
  readonly decisions?: readonly Decided[]
  /** Answers to calls with a key of their own. */
  readonly requests: readonly RequestRecord[]
  /** Answers to the other ones: all in one value, under the number of the turn. */
  readonly answers?: readonly RequestRecord[]
  /** Digests whose chunks must exist (deploy): missing ones fail the whole batch. */
  readonly needsBlobs?: readonly { readonly digest: string; readonly chunks: number }[]
  /** Packages whose chunks are deleted; each chunk is an operation. */
  readonly dropsBlobs?: readonly { readonly digest: string; readonly chunks: number }[]
}

/** etcd takes 128 operations by default; the turn, its audit, its decisions and its answers are four. */
export const batchOpsMax = 124

export type CommitResult =
  | { readonly kind: 'committed'; readonly revision: number }
  /** The term ended, nothing was written: drop the rest. */
  | { readonly kind: 'superseded' }
  /** The term ended before it could be learned what became of it. The request records tell the next leader. */
  | { readonly kind: 'unknown' }
  /** Nothing was written: chunks are missing (collected meanwhile). */
  | { readonly kind: 'missing-blobs'; readonly digests: readonly string[] }

/**
 * One leadership. `commit` is the only way in which a leader changes the map (S2): it compares the leader key's
 * create revision and the turn, has one transaction in flight at a time, and resolves an unknown outcome itself (reads
 * the turn, then sends the same transaction again or goes on) until the term is over. It never reports a failure that
 * might be a success; so it may take as long as etcd is away, and callers bound their own waiting.
 */
export interface Term {
  /** Create revision of the leader key. Terms are ordered by it. */
  readonly token: number
  /** False from the moment at which the key could vanish, by the monotonic clock. Planning stops then. */
  valid(): boolean
  /**
   * Whether the leader key still is this term's, by a linearizable read. An answer that writes nothing is told only
   * then: others may end a term whose lease still runs. False as well when etcd does not say before the term is over.
   */
  holds(): Promise<boolean>
  commit(batch: Batch): Promise<CommitResult>
  /** Resolves with a reason when the term is over, for whatever cause. */
  readonly ended: Promise<string>
}

/** What who stands for election has to know of the links between the replicas. */
export interface Standing {
  /** Called at every win, once this replica's memory has reached it. */
  onTerm(term: Term): void
  /** Whether this replica and those linked to it are a majority: who hears none lets the others try first. */
  hearsMajority(): boolean
  /** This replica led, and etcd has not answered it for so long that others had better end the term. */
  onCutOff(token: number): void
}

export interface Election {
  /** Stands for election from now on. */
  stand(standing: Standing): void
  /**
   * Deletes the leader key if it still is that of the given term: for a leader that is gone, or asks for it. Safe at
   * any time, because effects are fenced (S2): at worst it costs a term. False when nothing was deleted.
   */
  endTermOf(token: number): Promise<boolean>
  /** The leader as this replica's memory knows it. */
  leader(): LeaderRecord | undefined
  /** The queue reports that it made progress or has nothing to do: only then is the lease renewed. */
  healthy(): void
  /** Stop planning first, then call this: deletes the key if it is ours. */
  resign(): Promise<void>
}

/** Room in etcd. */
export interface Room {
  /** It takes no writes until an operator makes room; a second or so behind. */
  readonly full: boolean
}

export interface Requests {
  /** Linearizable. `since`: of an id that has no key, the turn after which its answer stands if there is one. */
  read(requestId: string, since?: number): Promise<RequestRecord | undefined>
}

export interface Decisions {
  /** Why the instance was placed as it was in that turn; undefined when that is not kept (any more). Linearizable. */
  read(turn: number, instance: string): Promise<Decision | undefined>
}

export interface Blobs {
  /** Writes the chunks that are absent (create-if-absent) and returns their number. */
  put(digest: string, bytes: Uint8Array): Promise<number>
  /** Undefined when chunks are missing; throws `unreadable-value` when the bytes do not match the digest. */
  get(digest: string, chunks: number): Promise<Uint8Array | undefined>
  /** How many chunks there are of each digest, whether or not anything refers to it. */
  list(): Promise<ReadonlyMap<string, number>>
}

/** Keys of this replica's presence lease: written directly, not through the leader (S7). */
export interface Presence {
  readonly replica: ReplicaRecord
  /**
   * Opens a session for a node, in place of whatever session it had, and returns its number (N2): the
   * modification revision of `sessions/{kind}/{id}`.
   */
  openSession(session: Omit<SessionRecord, 'schema' | 'replica'>): Promise<number>
  /** Deletes the session if it is still this number; a newer one stays. */
  closeSession(node: NodeRef, number: number): Promise<void>
}

export interface Observations {
  /**
   * Coalesces and writes what a mothership reports of its copies. Each write compares the session's number, that the
   * instance exists, and the record's own revision; what does not match is dropped.
   */
  report(mothership: string, session: number, items: readonly ObservedItem[]): void
}

export type ObservedItem = { readonly instance: string } & Pick<
  ObservedRecord,
  'epoch' | 'generation' | 'phase' | 'reason' | 'tried' | 'ended' | 'copy'
>

/** A measured load: cpu in millicores, ram in MiB, bandwidth in kbit/s, `atMs` by this replica's monotonic clock. */
export interface LoadSample {
  readonly cpu: number
  readonly ram: number
  readonly bandwidth: number
  readonly atMs: number
  readonly source: 'report' | 'prometheus'
  /** As placement takes it: rises at once and falls slowly, bandwidth by a high percentile. */
  readonly filtered: Resources
}

/** Calls of one component version on one mothership since its process started; latencies in a bounded histogram. */
export interface ComponentStats {
  readonly calls: number
  readonly errors: number
  readonly timeouts: number
  readonly restarts: number
  readonly cpu: number
  readonly ram: number
  readonly bandwidth: number
  /** Counts per bucket, upper bounds `latencyBucketsMs` of the protocol, one more for what lies above. */
  readonly latency: readonly number[]
}

export interface Loads {
  /** Latest known, wherever the node is connected (replicas relay them); its age is the reader's to judge. */
  latest(node: NodeRef): LoadSample | undefined
  /** What each `component/version` (normalised) there uses as a rule: peaks of the last hours are in it. */
  usual(mothership: string): ReadonlyMap<string, Resources>
  /** What one copy of each version used, hour by hour. */
  readonly history: UseHistory
  /** Keyed by `component/version` (normalised), then mothership. */
  statistics(componentVersion: string): ReadonlyMap<string, ComponentStats>
}

export interface Peers {
  /**
   * Carries an envelope to another replica, which answers as if it had been asked itself; by way of a third one where
   * there is no link to it. Throws `no-leader` when
   * that one does not lead or there is no link to it, `timeout` when the link closed or the time passed before the
   * answer, so that the outcome is unknown: the caller sends the same envelope again (S8 makes that safe). A refusal of the leader comes back as the CloudError that it threw.
   */
  forward(replica: string, envelope: Envelope, deadlineMs: number): Promise<Answer>
  /** Replicas with a link that is open and not silent, sorted. */
  linked(): readonly string[]
  /** Whether the link leads to that very process. */
  hears(leader: Pick<LeaderRecord, 'replica' | 'incarnation'>): boolean
  /** How long this replica has had no link to that one, when it had one and a majority has none now. */
  lostForMs(replica: string): number | undefined
  /** Called when a link was made or closed. Returns the unsubscribe function. */
  onLinks(listener: () => void): () => void
  /** Whether that replica, too, has lost sight of the leader of this term. False also when it does not answer. */
  agrees(peer: string, leader: LeaderRecord, term: number): Promise<boolean>
  /** Asks all who are linked to end this term of ours; nobody answers. */
  yield(term: number): void
}

/** Structured log; pino fits. Never given a secret. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
