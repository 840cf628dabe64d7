/**
 * What the leader answered lately, so that the same request sent again needs no read of etcd. Two generations, of which
 * the older one goes as a whole: taking the oldest entry out of one map each time is slow, as a map walks over all the
 * places where deleted entries were.
 */
import type { Answer } from '../cloud/commands.js'

export interface Answered {
  readonly fingerprint: string
  readonly answer: Answer
}

export class AnsweredBook {
  #newer = new Map<string, Answered>()
  #older: ReadonlyMap<string, Answered> = new Map()

  /** Keeps at least half as many, the newest ones. */
  constructor(private readonly max: number) {}

  get(requestId: string): Answered | undefined {
    return this.#newer.get(requestId) ?? this.#older.get(requestId)
  }

  set(requestId: string, answered: Answered): void {
    if (this.#newer.size >= this.max / 2) {
      this.#older = this.#newer
      this.#newer = new Map()
    }
    this.#newer.set(requestId, answered)
  }
}
