/**
 * The needs of everything that runs, counted, and the most frequent of them: kept so that a decision need not sort them.
 * A function of what runs alone, however it came to be.
 */
import { byId } from '../ids.js'
import type { Resources } from '../resources.js'

interface Counted {
  readonly key: string
  readonly need: Resources
  count: number
}

export class Population {
  readonly #counted = new Map<string, Counted>()
  #top: readonly Counted[] | undefined
  #key = ''
  #frequent: readonly Resources[] = []
  /** The highest count of those that are not among the most frequent. */
  #below = 0

  constructor(private readonly most: number) {}

  count(need: Resources, by: 1 | -1): void {
    const key = `${need.cpu} ${need.ram} ${need.bandwidth}`
    let counted = this.#counted.get(key)
    if (!counted) this.#counted.set(key, (counted = { key, need, count: 0 }))
    counted.count += by
    if (counted.count <= 0) this.#counted.delete(key)
    if (!this.#top) return
    if (this.#top.includes(counted)) {
      if (counted.count <= this.#below) this.#top = undefined
    } else {
      this.#below = Math.max(this.#below, counted.count)
      const least = Math.min(...this.#top.map(each => each.count))
      if (this.#top.length < this.most || counted.count >= least) this.#top = undefined
    }
  }

  /** The most frequent needs; of equally frequent ones those whose text is lowest. The same list while it is the same. */
  get frequent(): readonly Resources[] {
    if (!this.#top) {
      const all = [...this.#counted.values()].sort((a, b) => b.count - a.count || byId(a.key, b.key))
      this.#top = all.slice(0, this.most)
      this.#below = all[this.most]?.count ?? 0
      const key = [...this.#top]
        .map(each => each.key)
        .sort(byId)
        .join()
      if (key !== this.#key) {
        this.#key = key
        this.#frequent = this.#top.map(each => each.need)
      }
    }
    return this.#frequent
  }
}
