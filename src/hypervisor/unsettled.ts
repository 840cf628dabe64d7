/**
 * Instances that the leader has to look at: those that something happened to first, the most important of them before
 * all others; then, in turn, those that were looked at and could not be helped yet. So neither holds up the other.
 */
export class Unsettled {
  /** By priority; of the same one, in the order in which they came in. */
  readonly #fresh = new Map<number, Set<string>>()
  readonly #waiting = new Set<string>()

  /** How many have not been looked at since something happened to them. */
  get fresh(): number {
    let sum = 0
    for (const ids of this.#fresh.values()) sum += ids.size
    return sum
  }

  get size(): number {
    return this.fresh + this.#waiting.size
  }

  add(id: string, priority: number): void {
    this.#waiting.delete(id)
    const ids = this.#fresh.get(priority)
    if (ids) ids.add(id)
    else this.#fresh.set(priority, new Set([id]))
  }

  /** It was looked at, and is not as it should be. */
  later(id: string): void {
    for (const ids of this.#fresh.values()) if (ids.has(id)) return
    this.#waiting.add(id)
  }

  /** At most so many; a quarter of them are those who wait, if there are. */
  take(most: number): string[] {
    const taken: string[] = []
    const room = most - Math.min(Math.floor(most / 4), this.#waiting.size)
    for (const priority of [...this.#fresh.keys()].sort((a, b) => b - a)) {
      const ids = this.#fresh.get(priority)!
      move(ids, taken, room)
      if (ids.size === 0) this.#fresh.delete(priority)
      if (taken.length >= room) break
    }
    move(this.#waiting, taken, most)
    return taken
  }
}

function move(from: Set<string>, to: string[], most: number): void {
  for (const id of from) {
    if (to.length >= most) return
    from.delete(id)
    to.push(id)
  }
}
