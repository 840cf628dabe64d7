/** Time that passes when a test says so. Between any two timers everything that was set off by the first is done. */
import type { Clock } from '../../src/hypervisor/ports.js'

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

/** Promises that wait for nothing but each other are settled. */
export const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

export class ManualClock implements Clock {
  #nowMs = 1_000
  #timers: Timer[] = []

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return Date.UTC(2026, 0, 1) + this.#nowMs
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(each => each !== timer)
    }
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms
    await settled()
    for (let next = this.#next(); next && next.atMs <= untilMs; next = this.#next()) {
      this.#timers = this.#timers.filter(each => each !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settled()
    }
    this.#nowMs = untilMs
  }

  /** As for a process that stands still: time passes, and no timer runs until it goes on. */
  standStill(ms: number): void {
    this.#nowMs += ms
  }

  /** Lets time pass in steps until the condition holds, and says how much that was. */
  async advanceUntil(what: string, check: () => boolean, withinMs = 60_000): Promise<number> {
    const startMs = this.#nowMs
    await settled()
    while (!check()) {
      if (this.#nowMs - startMs >= withinMs) throw new Error(`not in ${withinMs} ms of the clock: ${what}`)
      await this.advance(10)
    }
    return this.#nowMs - startMs
  }

  /** Lets time pass until the promise is settled. */
  async during<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    let over = false
    const mark = (): void => void (over = true)
    promise.then(mark, mark)
    await this.advanceUntil('the promise is settled', () => over, withinMs)
    return promise
  }

  /** The earliest one; of those at the same time, the one that was set first. */
  #next(): Timer | undefined {
    return this.#timers.reduce<Timer | undefined>(
      (first, each) => (first && first.atMs <= each.atMs ? first : each),
      undefined,
    )
  }
}
