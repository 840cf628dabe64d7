/**
 * What happened in a run as its users saw it. Each call and read notes the newest revision of etcd when it began and
 * when it ended: what lies between is exactly what it may rest on.
 */
import type { Answer, Envelope } from '../../src/cloud/commands.js'
import type { Order } from '../../src/cloud/order.js'

export interface Span {
  /** etcd's revision then; the call's own effects come later. */
  readonly begunAt: number
  /** etcd's revision then. Infinity: it never ended. */
  endedAt: number
}

export type Outcome =
  /** `seenAt`: the revision of the replica's memory when it answered. */
  | { readonly kind: 'ok'; readonly answer: Answer; readonly seenAt: number }
  /** The leader's refusal: nothing was changed. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /** It was said that nothing was changed, as there was no leader or no etcd. */
  | { readonly kind: 'not-done'; readonly code: string }
  | { readonly kind: 'unknown' }

export interface Call extends Span {
  readonly client: string
  readonly envelope: Envelope
  /** Whether the caller sent it again itself, under the same id. */
  readonly keyed: boolean
  /** How often it was sent, by whomever. */
  sent: number
  outcome: Outcome
  /** What later repetitions under the same id were answered. */
  readonly repeated: Answer[]
}

export interface Read extends Span {
  readonly client: string
  readonly replica: string
  /** `memory`: whatever the replica has. `current`: nothing that was done before may be missing. */
  readonly kind: 'memory' | 'current'
  readonly order: Order
  /** Modification revisions by key of all that the memory held. */
  readonly held: ReadonlyMap<string, number>
}

/** A change of kept state, which adds its id to a list and answers how long that is then. Times of the world. */
export interface StateUpdate {
  readonly client: string
  readonly instance: string
  readonly since: number
  readonly id: string
  readonly begunMs: number
  /** Infinity: it was never answered. */
  endedMs: number
  outcome:
    | { readonly kind: 'made'; readonly seq: number; readonly reply: unknown }
    | { readonly kind: 'refused' | 'unknown' }
}

export interface StateLook {
  readonly client: string
  readonly mothership: string
  readonly instance: string
  readonly since: number
  readonly begunMs: number
  readonly endedMs: number
  readonly seq: number
  /** As it said itself; 0: whatever was made before it began is in it. */
  readonly staleForMs: number
  readonly log: readonly string[]
  /** After everything was healed and had settled. */
  readonly last: boolean
}

export class History {
  readonly calls: Call[] = []
  readonly reads: Read[] = []
  readonly updates: StateUpdate[] = []
  readonly looks: StateLook[] = []
}
