/** What a rebalance would do. */
import type { Decision, Resources } from '../records.js'

export interface PlannedMove {
  readonly instance: string
  readonly component: string
  readonly version: string
  readonly from: string
  readonly to: string
  /** By how much better the new place is by the score. */
  readonly gain: number
  /** What is measured of it where it runs; its need where nobody knows. */
  readonly used: Resources
  readonly decision: Decision
}

/**
 * How far the fullest mothership, or the emptiest one that takes instances, is from the mean, in shares of capacity; and
 * how many hold anything.
 */
export interface Evenness {
  readonly imbalance: number
  readonly inUse: number
}

export interface RebalancePlan {
  readonly before: Evenness
  readonly after: Evenness
  readonly moves: readonly PlannedMove[]
  /** Why instances on motherships that are too full stay, and how many. */
  readonly staying: Readonly<Record<string, number>>
}

/** Of a cloud where there is nothing to move. */
export const noPlan: RebalancePlan = {
  before: { imbalance: 0, inUse: 0 },
  after: { imbalance: 0, inUse: 0 },
  moves: [],
  staying: {},
}
