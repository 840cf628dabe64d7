/** So many at once, the others in turn, and not more than can wait. */
import { CloudError } from '../cloud/errors.js'

const waitingMax = 2_000
const retryAfterS = 5

export class Gate {
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(
    private readonly atOnce: number,
    private readonly what: string,
  ) {}

  /** Throws `busy` when too many wait already. */
  async pass<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.atOnce) {
      if (this.#waiting.length >= waitingMax) throw new CloudError('busy', `too many ${this.what}`, { retryAfterS })
      // Whoever leaves gives its place on, so that nobody who comes meanwhile takes it.
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    } else this.#running++
    try {
      return await run()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }
}
