/**
 * When the leader moves instances unasked, and how many: two thresholds, so that it does not begin and end all the
 * time; a budget per minute; a quiet period after motherships came or went; and a pause after each round, until what is
 * measured shows what was done.
 */
import type { Evenness } from '../cloud/placement/plan.js'
import type { Settings } from '../cloud/settings.js'

const minuteMs = 60_000
const lookEveryMs = 2_000
/** With nothing to gain, it is looked again when this time is over. */
const tryAgainMs = 30_000
const pauseHalfLives = 2

export class Rebalancing {
  readonly #movedAtMs: number[] = []
  /** A term begins as if all motherships had just come. */
  #changedAtMs: number
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #nextAtMs = Number.NEGATIVE_INFINITY
  #under = false

  constructor(private readonly nowMs: () => number) {
    this.#changedAtMs = nowMs()
  }

  /** A mothership came, went, or became larger or smaller. */
  onChange(): void {
    this.#changedAtMs = this.nowMs()
    this.#nextAtMs = Number.NEGATIVE_INFINITY
  }

  /** How many instances may be moved now; 0 most of the time. */
  allowance({ rebalance, policy }: Settings, evenness: () => Evenness): number {
    const nowMs = this.nowMs()
    if (!rebalance.automatic || nowMs - this.#lookedAtMs < lookEveryMs) return 0
    this.#lookedAtMs = nowMs
    if (nowMs - this.#changedAtMs < rebalance.quietMs || nowMs < this.#nextAtMs) return 0
    const left = rebalance.movesPerMinute - this.#lately(nowMs)
    if (left <= 0) return 0
    if (policy !== 'pack') {
      const { imbalance } = evenness()
      this.#under = imbalance > (this.#under ? rebalance.stopBelow : rebalance.startAbove)
      if (!this.#under) return 0
    }
    return left
  }

  /** What came of it: so many moves were planned. */
  planned(moves: number, { load }: Settings): void {
    const nowMs = this.nowMs()
    for (let each = 0; each < moves; each++) this.#movedAtMs.push(nowMs)
    if (moves === 0) this.#under = false
    this.#nextAtMs = nowMs + (moves === 0 ? tryAgainMs : Math.max(lookEveryMs, load.halfLifeMs * pauseHalfLives))
  }

  #lately(nowMs: number): number {
    while (this.#movedAtMs[0] !== undefined && this.#movedAtMs[0] <= nowMs - minuteMs) this.#movedAtMs.shift()
    return this.#movedAtMs.length
  }
}
