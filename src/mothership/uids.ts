/** Users that components run as: one for all, or one of a range for each process. */
import { CloudError } from '../cloud/errors.js'
import type { UidRange } from '../config/parse.js'

export class Uids {
  readonly #taken = new Set<number>()
  #next: number

  /** Throws `misconfigured` where this process may not become somebody else. */
  constructor(private readonly range: UidRange) {
    if (process.getuid?.() !== 0) throw new CloudError('misconfigured', '--component-uid needs a mothership of root')
    this.#next = range.first
  }

  /** The one that was free the longest. Throws when all are taken. */
  take(): number {
    const { first, last } = this.range
    if (first === last) return first
    for (let uid = this.#next, tried = first; tried <= last; tried++) {
      this.#next = uid === last ? first : uid + 1
      if (!this.#taken.has(uid)) {
        this.#taken.add(uid)
        return uid
      }
      uid = this.#next
    }
    throw new Error(`all users of --component-uid ${first}-${last} have a process: give more of them`)
  }

  free(uid: number): void {
    this.#taken.delete(uid)
  }
}
