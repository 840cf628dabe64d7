/** Time that stands still until a test moves it. */
import type { Clock } from '../../src/hypervisor/ports.js'

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>()

  constructor(private ms = 1_000_000) {}

  nowMs(): number {
    return this.ms
  }

  wallMs(): number {
    return 1_800_000_000_000 + this.ms
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.ms + delayMs, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** As when the process gets no processor time: what becomes due meanwhile runs afterwards, late. */
  standStill(forMs: number): void {
    this.ms += forMs
    this.advance(0)
  }

  /** Runs what becomes due, in its order, each at its own time. */
  advance(byMs: number): void {
    const untilMs = this.ms + byMs
    for (let next = this.#next(untilMs); next; next = this.#next(untilMs)) {
      this.#timers.delete(next)
      this.ms = Math.max(this.ms, next.atMs)
      next.run()
    }
    this.ms = untilMs
  }

  #next(untilMs: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.atMs <= untilMs && (!next || timer.atMs < next.atMs)) next = timer
    }
    return next
  }
}
