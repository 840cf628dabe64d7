/** What is due at a time of its own, with one timer for all of it: most of it is taken back before. */

/** As much of a clock as this needs. */
interface Timer {
  /** Monotonic milliseconds. */
  nowMs(): number
  /** Runs once after the delay, unless the returned function is called first. */
  after(delayMs: number, run: () => void): () => void
}

export class Deadlines<Key> {
  readonly #dueMs = new Map<Key, number>()
  /** When the timer runs, by the clock; it stays when what it was for is taken back. */
  #armedMs = Number.POSITIVE_INFINITY
  #cancel: (() => void) | undefined

  constructor(
    private readonly clock: Timer,
    private readonly onDue: (key: Key) => void,
  ) {}

  /** Monotonic ms. */
  set(key: Key, dueMs: number): void {
    this.#dueMs.set(key, dueMs)
    if (dueMs < this.#armedMs) this.#arm(dueMs)
  }

  delete(key: Key): void {
    this.#dueMs.delete(key)
  }

  /** Nothing is due any more, and no timer runs. */
  clear(): void {
    this.#dueMs.clear()
    this.#cancel?.()
    this.#armedMs = Number.POSITIVE_INFINITY
  }

  #arm(dueMs: number): void {
    this.#cancel?.()
    this.#armedMs = dueMs
    this.#cancel = this.clock.after(Math.max(1, dueMs - this.clock.nowMs()), () => this.#look())
  }

  #look(): void {
    const nowMs = this.clock.nowMs()
    this.#armedMs = Number.POSITIVE_INFINITY
    const due: Key[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (const [key, dueMs] of this.#dueMs) {
      if (dueMs <= nowMs) due.push(key)
      else nextMs = Math.min(nextMs, dueMs)
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#arm(nextMs)
    for (const key of due) if (this.#dueMs.delete(key)) this.onDue(key)
  }
}
