/**
 * Which mothership next, where there is a choice: the one with most of what is still missing, over what it costs (greedy
 * multicover; Dobson 1982, Rajagopalan and Vazirani 1998). What one has of it only becomes less, so all but the first of
 * a heap are looked at again only when they come to be the first (lazy greedy; Minoux 1978).
 */
import { byId } from '../ids.js'

interface Open {
  missing: number
  readonly from: readonly Candidate[]
}

interface Candidate {
  readonly mothership: number
  readonly open: Open[]
  gain: number
  /** As it was when it was last looked at: at least what it is now. */
  worth: number
}

export class Choice {
  readonly #candidates = new Map<number, Candidate>()
  #heap: Candidate[] | undefined

  constructor(
    private readonly cost: (mothership: number) => number,
    private readonly name: (mothership: number) => string,
  ) {}

  /** So many of these are wanted. To be told before the first is taken. */
  add(missing: number, from: readonly number[]): void {
    const open: Open = { missing, from: from.map(each => this.#candidate(each)) }
    for (const each of open.from) {
      each.open.push(open)
      each.gain++
    }
  }

  #candidate(mothership: number): Candidate {
    let candidate = this.#candidates.get(mothership)
    if (!candidate) {
      candidate = { mothership, open: [], gain: 0, worth: 0 }
      this.#candidates.set(mothership, candidate)
    }
    return candidate
  }

  /** Undefined when nothing is missing. */
  take(): number | undefined {
    const heap = (this.#heap ??= this.#heaped())
    for (let first = heap[0]; first; first = heap[0]) {
      const worth = this.#worthOf(first)
      if (worth === first.worth && worth > 0) return this.#taken(heap, first)
      if (worth === 0) this.#removeFirst(heap)
      else first.worth = worth
      this.#sink(heap, 0)
    }
    return undefined
  }

  #heaped(): Candidate[] {
    const heap = [...this.#candidates.values()]
    for (const each of heap) each.worth = this.#worthOf(each)
    for (let index = heap.length >> 1; index >= 0; index--) this.#sink(heap, index)
    return heap
  }

  #worthOf({ gain, mothership }: Candidate): number {
    return gain === 0 ? 0 : gain / (1 + this.cost(mothership))
  }

  #taken(heap: Candidate[], candidate: Candidate): number {
    this.#removeFirst(heap)
    this.#sink(heap, 0)
    for (const open of candidate.open) {
      if (--open.missing === 0) for (const each of open.from) each.gain--
    }
    return candidate.mothership
  }

  #removeFirst(heap: Candidate[]): void {
    const last = heap.pop()!
    if (heap.length > 0) heap[0] = last
  }

  #sink(heap: Candidate[], from: number): void {
    const sinking = heap[from]
    if (!sinking) return
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!this.#isBefore(heap[child]!, sinking)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = sinking
  }

  #isBefore(a: Candidate, b: Candidate): boolean {
    return a.worth > b.worth || (a.worth === b.worth && byId(this.name(a.mothership), this.name(b.mothership)) < 0)
  }
}
