/**
 * The world of a simulated cloud: one clock that jumps from event to event, and one queue of events. What an event sets
 * off (promises that wait for nothing but each other) is done before the next one begins, so a run is a sequence of
 * events that the seed alone decides. A running hash of all of them tells whether two runs were the same.
 */
import { Dice, hashOf } from './dice.js'

interface Event {
  readonly atMs: number
  /** Of events at the same time, the one that was asked for first. */
  readonly number: number
  readonly label: string
  run: (() => void) | undefined
}

/** Who counts what happened, by name. */
export class Counts {
  readonly #counts = new Map<string, number>()

  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by)
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  get all(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}

/** Node runs all microtasks between two immediates. */
const drained = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

export class World {
  readonly dice: Dice
  readonly counts = new Counts()
  #nowMs = 0
  #number = 0
  #events = 0
  #hash = 0x2545f491
  readonly #heap: Event[] = []

  constructor(
    readonly seed: number,
    /** Told of everything that happens; absent: nobody looks. */
    readonly trace?: (line: string) => void,
  ) {
    this.dice = new Dice(seed)
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** How many events have happened. */
  get events(): number {
    return this.#events
  }

  /** Of all that has happened so far. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0')
  }

  /** Calls once after the delay, unless the returned function is called first. The label is part of the hash. */
  after(delayMs: number, label: string, run: () => void): () => void {
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), number: this.#number++, label, run }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  /** Something that happened and that two equal runs must agree on. */
  note(what: string): void {
    this.#hash = hashOf(what, Math.imul(this.#hash, 31))
    this.trace?.(`${this.#nowMs.toFixed(3).padStart(10)}  ${what}`)
  }

  /** Lets the given time pass, or less when the condition holds after an event. True when it does. */
  async run(ms: number, until: () => boolean = () => false): Promise<boolean> {
    const untilMs = this.#nowMs + ms
    await drained()
    if (until()) return true
    for (let next = this.#heap[0]; next && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop()
      if (!next.run) continue
      this.#nowMs = next.atMs
      this.#events++
      this.#hash = hashOf(next.label, Math.imul(this.#hash, 31) + Math.floor(next.atMs * 1000))
      next.run()
      await drained()
      if (until()) return true
    }
    this.#nowMs = untilMs
    return false
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

const before = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number)
