/**
 * Deciding commands: plain functions from the map (with what is pending) to complete changes. A verdict leaves
 * nothing to choose later; it says in which atomic steps the changes go out, in order, when they are too many for one
 * transaction.
 */
import type { Actor, Answer } from '../commands.js'
import { CloudError, type Code, type Details, type Refusal } from '../errors.js'
import type { CloudMap } from '../map.js'
import type { RebalancePlan } from '../placement/plan.js'
import type { Change, Decision, InstanceRecord, PlacementWish, Resources } from '../records.js'
import { complete, type Settings } from '../settings.js'

export interface Decided {
  readonly instance: string
  readonly decision: Decision
}

/** Changes that are written together or not at all, and the subjects that the audit names. */
export interface Step {
  readonly changes: readonly Change[]
  readonly subjects: readonly string[]
  /** What the audit says beside them. */
  readonly note?: string
  /** Why the instances of this step are placed as they are. Their records learn in which turn that was decided. */
  readonly decisions?: readonly Decided[]
  /** A package that nothing refers to any more: its chunks go with the step. */
  readonly dropsBlobs?: { readonly digest: string; readonly chunks: number }
}

export type AnswerBody = Omit<Answer, 'order' | 'replayed'>

export type Verdict =
  | {
      readonly kind: 'do'
      /** Empty when the map already is as asked. */
      readonly steps: readonly Step[]
      readonly answer: AnswerBody
      readonly needsBlobs?: { readonly digest: string; readonly chunks: number }
      /** The exact version that a fragment meant: whoever goes on with the request means that one. */
      readonly version?: string
    }
  | { readonly kind: 'refuse'; readonly error: CloudError }

export interface PlacementQuestion {
  readonly component: string
  /** Normalised. */
  readonly version: string
  readonly need: Resources
  readonly wish: PlacementWish
  /** How many more motherships are wanted. */
  readonly copies: number
  /** The instance whose further copies these are: never where it has one already. */
  readonly instance?: InstanceRecord
  /** Decides which motherships are looked at where there are too many to look at all of them. */
  readonly seed?: string
  /** Only this mothership will do. */
  readonly only?: string
  /** Tell why others refuse, also when there is a place. */
  readonly explain?: boolean
}

export type PlacementResult =
  /** At least one; fewer than asked when no more fit. The first one is to be the primary. */
  | {
      readonly kind: 'placed'
      readonly on: readonly string[]
      readonly decision: Decision
      /** How many of the copies found no mothership, and why the others refused. */
      readonly missing?: number
      /** Where copies are missing, or reasons were asked for. */
      readonly reasons?: readonly Refusal[]
    }
  | { readonly kind: 'nowhere'; readonly reasons: readonly Refusal[] }

/** What deciding needs beside the map; all of it values or pure. */
export interface Context {
  readonly actor: Actor
  /** How far this very request had come under an earlier leader. */
  readonly resume?: {
    readonly progress: number
    readonly last?: string
    readonly version?: string
    readonly ids: readonly string[]
  }
  readonly requestId: string
  /** For stamps that people read. */
  readonly at: string
  /** The one placement function: same for placing, moving, dry run and explanation. Sees what this batch placed. */
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  /** What would be moved so that motherships are alike, at most so many. */
  readonly plan: (map: CloudMap, movesMax: number) => RebalancePlan
}

const noSettings = {}
export const settingsOf = (map: CloudMap): Settings => complete(map.get('settings')?.value ?? noSettings)

export function refuse(code: Code, message: string, details: Details = {}): Verdict {
  return { kind: 'refuse', error: new CloudError(code, message, details) }
}

export const unknown = (what: string, id: string): Verdict => refuse('unknown-thing', `there is no ${what} ${id}`)

export function done(answer: AnswerBody, ...steps: readonly Step[]): Verdict {
  return { kind: 'do', steps, answer }
}

/** A verdict of one step whose subjects are the ids of the answer. */
export function change(answer: AnswerBody, ...changes: readonly Change[]): Verdict {
  return { kind: 'do', steps: [{ changes, subjects: answer.ids }], answer }
}

/** `If-Match`: undefined when the object is as the caller saw it. */
export function staleRevision(modified: number, ifRevision: number | undefined): Verdict | undefined {
  if (ifRevision === undefined || ifRevision === modified) return undefined
  const now = modified === 0 ? 'is just being changed' : `is at revision ${modified} now`
  return refuse('conflict', `the object ${now}, not at ${ifRevision}: read it again`)
}
