/**
 * When a process that does not answer has stalled. Looks are counted, not timed, so that a mothership that stood still
 * blames nobody; and one at which the process wanted a processor and hardly had any is not held against it: on a machine
 * that is too busy it could not have answered. Pure.
 */
export interface Turn {
  /** On a processor, since it began. */
  readonly cpuMs: number
  /** It runs, or waits for a processor. */
  readonly runnable: boolean
}

/** Of the time between two looks: to answer takes much less. */
const enough = 0.1
/** An endless loop that has the processor is over 1.5 to 1.75 s after it began, at four looks a second. */
export const unansweredMax = 6
/** However it came about: so long nobody can be served by it. */
export const silentMax = 24
/** When it has been silent for so many looks, callers are sent elsewhere. */
const untilBusy = 4

export type Verdict = 'fine' | 'stalled'

export class Silence {
  /** Looks since it said something. */
  #silent = 0
  /** Those at which it could have answered. */
  #unanswered = 0
  #cpuMs: number | undefined

  /** `everyMs`: between two looks. */
  constructor(private readonly everyMs: number) {}

  heard(): void {
    this.#silent = 0
    this.#unanswered = 0
    this.#cpuMs = undefined
  }

  get busy(): boolean {
    return this.#silent > untilBusy
  }

  /** It was asked at the last look, and is asked again now. `turn`: undefined where the kernel does not tell. */
  look(turn: () => Turn | undefined): Verdict {
    if (this.#unanswered >= unansweredMax || this.#silent >= silentMax) return 'stalled'
    // Whoever answered the last time costs nothing.
    const now = this.#silent === 0 ? undefined : turn()
    const had = now && this.#cpuMs !== undefined ? now.cpuMs - this.#cpuMs : Number.POSITIVE_INFINITY
    this.#cpuMs = now?.cpuMs
    this.#silent++
    if (now?.runnable !== true || had >= enough * this.everyMs) this.#unanswered++
    return 'fine'
  }
}
