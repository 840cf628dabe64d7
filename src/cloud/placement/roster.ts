/**
 * Who is registered, in the order of the columns: by a hash of their ids, so that neighbours have nothing in common, a
 * stretch of the columns is a fair sample, and the order depends on who is registered alone.
 */
import { byId } from '../ids.js'
import { defaultSettings } from '../records.js'
import { Columns } from './columns.js'
import type { Asked } from './host.js'
import { nothing } from './resources.js'
import { firstObjection, isAsWished } from './rules/index.js'
import type { Registered, Slot } from './slot.js'

/** Who is left of all motherships for a wish, by index (undefined: all), and how many open ones each rule refused. */
export interface Wished {
  readonly list: Int32Array | undefined
  readonly refused: ReadonlyMap<string, number>
}

/** So many different wishes are remembered until a mothership changes. */
const wishesMax = 256

export class Roster {
  readonly columns = new Columns()
  /** By index. */
  readonly registered: Registered[] = []
  readonly ids: string[] = []
  #sorted: readonly Registered[] | undefined
  #ranks: Int32Array | undefined
  #closed: ReadonlyMap<string, number> | undefined
  readonly #wished = new Map<string, Wished>()

  /** Lowest id first. */
  get sorted(): readonly Registered[] {
    this.#sorted ??= [...this.registered].sort((a, b) => byId(a.id, b.id))
    return this.#sorted
  }

  /** By index: how many ids of registered ones come before its own. */
  get ranks(): Int32Array {
    if (!this.#ranks) {
      this.#ranks = new Int32Array(this.registered.length)
      for (const [rank, host] of this.sorted.entries()) this.#ranks[host.index] = rank
    }
    return this.#ranks
  }

  /** How many motherships each rule refuses that looks at the mothership alone. */
  get closed(): ReadonlyMap<string, number> {
    this.#closed ??= tally(this.registered, each => !each.open, nobody)
    return this.#closed
  }

  asWished(asked: Asked): Wished {
    const { labels, zones } = asked.wish
    if ((zones?.length ?? 0) === 0 && Object.keys(labels ?? {}).length === 0) return everybody
    const key = JSON.stringify([labels, zones])
    let wished = this.#wished.get(key)
    if (!wished) {
      if (this.#wished.size >= wishesMax) this.#wished.clear()
      this.#wished.set(key, (wished = this.#find(asked)))
    }
    return wished
  }

  register(slot: Registered): void {
    const index = this.#placeOf(slot)
    this.registered.splice(index, 0, slot)
    this.ids.splice(index, 0, slot.id)
    this.columns.insert(index)
    this.#number(index)
  }

  unregister(slot: Slot): void {
    const { index } = slot
    this.registered.splice(index, 1)
    this.ids.splice(index, 1)
    this.columns.remove(index)
    slot.index = -1
    this.#number(index)
  }

  /** Something about a mothership as such has changed. */
  forget(): void {
    this.#closed = undefined
    this.#wished.clear()
  }

  #find(asked: Asked): Wished {
    const list = new Int32Array(this.registered.length)
    let length = 0
    for (const [index, slot] of this.registered.entries()) if (isAsWished(slot, asked)) list[length++] = index
    const refused = tally(this.registered, each => each.open && !isAsWished(each, asked), asked)
    return { list: list.slice(0, length), refused }
  }

  #number(from: number): void {
    for (let index = from; index < this.registered.length; index++) this.registered[index]!.index = index
    this.#sorted = undefined
    this.#ranks = undefined
  }

  /** The first index whose mothership comes after this one. */
  #placeOf({ order, id }: Slot): number {
    let [low, high] = [0, this.registered.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.registered[middle]!
      if (other.order < order || (other.order === order && byId(other.id, id) < 0)) low = middle + 1
      else high = middle
    }
    return low
  }
}

const everybody: Wished = { list: undefined, refused: new Map() }

/** Asks nothing that a mothership could refuse for what it has. */
const nobody: Asked = {
  component: '',
  version: '',
  need: nothing,
  wish: {},
  taken: [],
  overcommit: defaultSettings.overcommit,
  ceilings: defaultSettings.ceilings,
}

/** How many of them each rule refuses first. */
function tally(
  hosts: readonly Registered[],
  which: (host: Registered) => boolean,
  asked: Asked,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const host of hosts) {
    const rule = which(host) ? firstObjection(host, asked)?.rule : undefined
    if (rule !== undefined) counts.set(rule, (counts.get(rule) ?? 0) + 1)
  }
  return counts
}
