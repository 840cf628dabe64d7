/**
 * A hypervisor replica as its edges see it: what the API, the gateway and the links may ask of it. Built by
 * `createReplica`; the tests of the edges put a small one of their own in its place.
 */
import type { Answer, Envelope } from '../cloud/commands.js'
import type { PlacementQuestion, PlacementResult } from '../cloud/decide/verdict.js'
import type { NodeRef } from '../cloud/ids.js'
import type { CloudMap } from '../cloud/map.js'
import type { RebalancePlan } from '../cloud/placement/plan.js'
import type { Applied } from './applied.js'
import type { Blobs, Decisions, Loads, Maps, Observations, Presence, Requests } from './ports.js'
import type { Wires } from './wires.js'

export interface Hypervisor {
  readonly id: string
  readonly url: string
  readonly maps: Maps
  readonly blobs: Blobs
  readonly requests: Requests
  readonly decisions: Decisions
  readonly loads: Loads
  readonly applied: Applied
  readonly wires: Wires
  readonly presence: Presence
  readonly observations: Observations
  /**
   * Carries a command to the leader, wherever it is, and answers once this replica's memory has reached the answer's
   * revision. Sends again, under the same request id, when the leader goes away meanwhile (S8). Throws the leader's
   * refusal, `no-leader` or `store-unavailable` when the deadline passes and nothing was accepted, `timeout` when the
   * outcome could not be learned in time.
   */
  submit(envelope: Envelope, deadlineMs: number): Promise<Answer>
  /** As the leader itself, for calls that came over a link: throws `no-leader` when this replica does not lead. */
  accept(envelope: Envelope): Promise<Answer>
  /** For a replica without a link to the leader: as `accept`, or passed on to who leads. */
  relay(envelope: Envelope, deadlineMs: number): Promise<Answer>
  /** Whether the leader of this term has gone out of this replica's sight, too. */
  agreesThatGone(leader: Suspected): boolean
  /** At the word of its leader, which etcd does not hear any more. */
  endTerm(term: number): Promise<void>
  /** What placement would answer now, on this replica's memory or a draft over it; changes nothing. */
  place(map: CloudMap, question: PlacementQuestion): PlacementResult
  /** What a rebalance would move now, at most so many instances, by this replica's memory; changes nothing. */
  plan(movesMax: number): RebalancePlan
  /** How long a node has been without a session, as this replica saw it; undefined while it has one. */
  goneForMs(node: NodeRef): number | undefined
  status(): Status
}

export interface Suspected {
  readonly replica: string
  readonly incarnation: string
  readonly term: number
}

export interface Status {
  /** Replica id of the leader that this replica's memory names; null when there is none. */
  readonly leader: string | null
  readonly leading: boolean
  /** Token of the leadership that the memory shows. */
  readonly term: number | null
  /** True once the first snapshot is in. */
  readonly ready: boolean
  readonly queued: number
  /** etcd takes no writes until an operator makes room. */
  readonly storeFull: boolean
}
