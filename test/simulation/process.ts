/**
 * A simulated process: its clock has a rate and an offset of its own, and everything that reaches it (timers and
 * messages alike) comes through one door, which is shut while it stands still, slow while it is slow, and gone when it
 * crashed: then nothing that it had set off runs any more.
 */
import type { Clock } from '../../src/hypervisor/ports.js'
import type { World } from './world.js'

const startOfTime = Date.UTC(2026, 0, 1)

export class SimProcess implements Clock {
  readonly #waiting: (() => void)[] = []
  readonly #onEnd: (() => void)[] = []
  #alive = true
  #paused = false
  #pumping = false
  #slowMs = 0

  constructor(
    readonly world: World,
    readonly name: string,
    /** How fast its clock goes, and from where. */
    readonly rate = 1,
    readonly offsetMs = 0,
  ) {}

  get alive(): boolean {
    return this.#alive
  }

  get paused(): boolean {
    return this.#paused
  }

  nowMs(): number {
    return this.offsetMs + this.world.nowMs * this.rate
  }

  wallMs(): number {
    return startOfTime + Math.floor(this.nowMs())
  }

  after(delayMs: number, run: () => void): () => void {
    let wanted = true
    const cancel = this.world.after(delayMs / this.rate, this.name, () => this.enter(() => wanted && run()))
    return () => {
      wanted = false
      cancel()
    }
  }

  /** Lets something in: at once, in its turn when it stands still or is slow, never when it is no more. */
  enter(run: () => void): void {
    if (!this.#alive) return
    if (!this.#paused && this.#slowMs === 0 && !this.#pumping) return run()
    this.#waiting.push(run)
    this.#pump()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#pump()
  }

  /** How long each event takes it, at most. */
  slow(mostMs: number): void {
    this.#slowMs = mostMs
  }

  /** For good. Whoever was told of its end by `onEnd` is called. */
  crash(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#waiting.length = 0
    for (const run of this.#onEnd.splice(0)) run()
  }

  onEnd(run: () => void): void {
    this.#onEnd.push(run)
  }

  /** One event after the other, each an event of the world. */
  #pump(): void {
    if (this.#pumping || this.#paused || this.#waiting.length === 0) return
    this.#pumping = true
    const costMs = this.#slowMs * this.world.dice.next()
    this.world.after(costMs, `${this.name} goes on`, () => {
      this.#pumping = false
      if (!this.#alive || this.#paused) return
      this.#waiting.shift()?.()
      this.#pump()
    })
  }
}
