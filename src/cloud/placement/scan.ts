/**
 * The loop over the motherships: who can take what is asked, and the best three of them. Everything that is not a sum,
 * a product or a comparison of numbers was worked out before; and where all have room, it looks closely only at those
 * that can be among the best three.
 */
import type { Resources } from '../records.js'
import { blockSize } from './bounds.js'
import type { Columns } from './columns.js'
import { stride, unreservedStride } from './layout.js'
import type { Formula } from './score.js'
import type { PreferenceCosts } from './standing.js'

/** What is looked for, as numbers. */
export interface Search {
  readonly need: Resources
  readonly formula: Formula
  readonly preferences: PreferenceCosts
  /** Only these, by their index; all when undefined. */
  readonly list: Int32Array | undefined
  /** Not those that are 1 here, by their index. */
  readonly barred: Uint8Array | undefined
  /** What a place costs beside that, by its index. */
  readonly extra?: ((index: number) => number) | undefined
}

const none = -1
const worse = Number.POSITIVE_INFINITY
/** More than the sums of a few shares differ by the order in which they are added. */
const rounding = 1e-9

/** The best three by what placing there costs, over as many ranges as are looked at. Ties fall to the lowest id. */
export class Scan {
  readonly #asked: readonly [cpu: number, ram: number, bandwidth: number]
  #best: [number, number, number] = [none, none, none]
  #costs: [number, number, number] = [worse, worse, worse]
  looked = 0
  fits = 0
  /** How many that take something are short of unreserved room; the others that do not fit are above a ceiling. */
  short = 0
  above = 0

  constructor(
    private readonly columns: Columns,
    /** By index: how many ids come before its own. */
    private readonly ranks: Int32Array,
    private readonly search: Search,
  ) {
    columns.bounds.prepare(columns.size, search.formula)
    this.#asked = askedOf(search.need)
  }

  /** By index, best first. */
  get best(): readonly number[] {
    const [first, second, third] = this.#best
    if (third !== none) return this.#best
    return second !== none ? [first, second] : first !== none ? [first] : []
  }

  /** Those from `from` to before `to`: of the list if there is one, else of all. */
  look(from: number, to: number): void {
    const { list, barred, extra } = this.search
    this.looked += to - from
    if (extra) return this.#lookWith(extra, from, to)
    if (list !== undefined || barred !== undefined) return this.#lookAtEach(from, to)
    this.#lookInBlocks(from, to)
  }

  #lookInBlocks(from: number, to: number): void {
    const { bounds, numbers, size } = this.columns
    bounds.freshen(numbers, from, to, size)
    const { rooms, open } = bounds
    const [askCpu, askRam, askBandwidth] = this.#asked
    let roomyFrom = from
    for (let at = from; at < to; ) {
      const block = Math.floor(at / blockSize)
      const end = Math.min(to, (block + 1) * blockSize)
      const whole = at === block * blockSize && end === Math.min(size, at + blockSize)
      const roomy =
        askCpu <= rooms[block * 3]! && askRam <= rooms[block * 3 + 1]! && askBandwidth <= rooms[block * 3 + 2]!
      if (whole && roomy) this.fits += open[block]!
      else {
        this.#lookWhereAllFit(roomyFrom, at)
        this.#lookAtEach(at, end)
        roomyFrom = end
      }
      at = end
    }
    this.#lookWhereAllFit(roomyFrom, to)
  }

  /**
   * Closely only at those that cost less than the third at least. Without a call in the loop, which would have it look up
   * everything anew each time.
   */
  #lookWhereAllFit(from: number, to: number): void {
    if (from >= to) return
    const { need, preferences, formula } = this.search
    const { kinds, costs } = preferences
    const { numbers, bounds } = this.columns
    const { ranks } = this
    const added = bounds.addedBy(need)
    const { bases, keys } = bounds
    const { cpu: needCpu, ram: needRam, bandwidth: needBandwidth } = need
    const { cpu: ofCpu, ram: ofRam, bandwidth: ofBandwidth, worst: ofWorst } = formula
    // One by one: by destructuring they would be boxed numbers in the loop.
    const best = this.#best
    const bestCosts = this.#costs
    let [first, second, third] = best
    let firstCost = bestCosts[0]
    let secondCost = bestCosts[1]
    let thirdCost = bestCosts[2]
    let bound = thirdCost + rounding
    for (let index = from; index < to; index++) {
      const preferred = costs[kinds[index]!]!
      if (bases[index]! + added[keys[index]!]! + preferred >= bound) continue
      const at = index * stride
      const cpu = numbers[at + 3]! + needCpu * numbers[at + 6]!
      const ram = numbers[at + 4]! + needRam * numbers[at + 7]!
      const bandwidth = numbers[at + 5]! + needBandwidth * numbers[at + 8]!
      const larger = cpu > ram ? cpu : ram
      const worst = larger > bandwidth ? larger : bandwidth
      const cost = ofCpu * cpu + ofRam * ram + ofBandwidth * bandwidth + ofWorst * worst + preferred
      if (cost > thirdCost || (cost === thirdCost && ranks[index]! > ranks[third]!)) continue
      if (cost > secondCost || (cost === secondCost && ranks[index]! > ranks[second]!)) {
        third = index
        thirdCost = cost
      } else {
        third = second
        thirdCost = secondCost
        if (cost > firstCost || (cost === firstCost && ranks[index]! > ranks[first]!)) {
          second = index
          secondCost = cost
        } else {
          second = first
          secondCost = firstCost
          first = index
          firstCost = cost
        }
      }
      bound = thirdCost + rounding
    }
    best[0] = first
    best[1] = second
    best[2] = third
    bestCosts[0] = firstCost
    bestCosts[1] = secondCost
    bestCosts[2] = thirdCost
  }

  #lookAtEach(from: number, to: number): void {
    const { need, list, barred, formula } = this.search
    const { kinds, costs } = this.search.preferences
    const { ranks } = this
    const { numbers, unreserved } = this.columns
    const [askCpu, askRam, askBandwidth] = this.#asked
    const { cpu: needCpu, ram: needRam, bandwidth: needBandwidth } = need
    const { cpu: ofCpu, ram: ofRam, bandwidth: ofBandwidth, worst: ofWorst } = formula
    let third = this.#costs[2]
    let thirdRank = this.#rank(2)
    let [fits, short, above] = [0, 0, 0]
    for (let each = from; each < to; each++) {
      const index = list === undefined ? each : list[each]!
      if (barred !== undefined && barred[index] === 1) continue
      // In the order that layout.ts says: room 0 to 2, pressure 3 to 5, of a unit 6 to 8.
      const at = index * stride
      if (askCpu <= numbers[at]! && askRam <= numbers[at + 1]! && askBandwidth <= numbers[at + 2]!) {
        fits++
        const cpu = numbers[at + 3]! + needCpu * numbers[at + 6]!
        const ram = numbers[at + 4]! + needRam * numbers[at + 7]!
        const bandwidth = numbers[at + 5]! + needBandwidth * numbers[at + 8]!
        const larger = cpu > ram ? cpu : ram
        const worst = larger > bandwidth ? larger : bandwidth
        const cost = ofCpu * cpu + ofRam * ram + ofBandwidth * bandwidth + ofWorst * worst + costs[kinds[index]!]!
        if (cost < third || (cost === third && ranks[index]! < thirdRank)) {
          this.#take(index, cost)
          third = this.#costs[2]
          thirdRank = this.#rank(2)
        }
      } else if (!Number.isNaN(numbers[at]!)) {
        // Who takes nothing is refused by the rules of the mothership alone.
        const left = index * unreservedStride
        const within =
          askCpu <= unreserved[left]! && askRam <= unreserved[left + 1]! && askBandwidth <= unreserved[left + 2]!
        if (within) above++
        else short++
      }
    }
    this.fits += fits
    this.short += short
    this.above += above
  }

  /** The same where a place costs something beside that: apart, because asking for it slows the other loop down by half. */
  #lookWith(extra: (index: number) => number, from: number, to: number): void {
    const { need, list, barred, formula, preferences } = this.search
    const { numbers, unreserved } = this.columns
    const asked = this.#asked
    const within = (of: Float64Array, at: number): boolean =>
      asked[0] <= of[at]! && asked[1] <= of[at + 1]! && asked[2] <= of[at + 2]!
    for (let each = from; each < to; each++) {
      const index = list === undefined ? each : list[each]!
      const at = index * stride
      if ((barred !== undefined && barred[index] === 1) || Number.isNaN(numbers[at]!)) continue
      if (within(numbers, at)) {
        this.fits++
        const cost = costAt(numbers, index, need, formula) + preferredAt(index, preferences) + extra(index)
        if (this.#beats(index, cost, 2)) this.#take(index, cost)
      } else if (within(unreserved, index * unreservedStride)) this.above++
      else this.short++
    }
  }

  /** Its place among the best three. */
  #take(index: number, cost: number): void {
    const [best, costs] = [this.#best, this.#costs]
    let place = 2
    while (place > 0 && this.#beats(index, cost, place - 1)) place--
    for (let each = 2; each > place; each--) {
      best[each] = best[each - 1]!
      costs[each] = costs[each - 1]!
    }
    best[place] = index
    costs[place] = cost
  }

  #beats(index: number, cost: number, place: number): boolean {
    const other = this.#costs[place]!
    return cost < other || (cost === other && this.ranks[index]! < this.#rank(place))
  }

  #rank(place: number): number {
    const index = this.#best[place]!
    return index === none ? Number.POSITIVE_INFINITY : this.ranks[index]!
  }
}

/** What is not asked for does not refuse, even where there is less than nothing left of it. */
function askedOf({ cpu, ram, bandwidth }: Resources): readonly [cpu: number, ram: number, bandwidth: number] {
  const none = Number.NEGATIVE_INFINITY
  return [cpu > 0 ? cpu : none, ram > 0 ? ram : none, bandwidth > 0 ? bandwidth : none]
}

const preferredAt = (index: number, { kinds, costs }: PreferenceCosts): number => costs[kinds[index]!]!

function costAt(numbers: Float64Array, index: number, need: Resources, formula: Formula): number {
  const at = index * stride
  const cpu = numbers[at + 3]! + need.cpu * numbers[at + 6]!
  const ram = numbers[at + 4]! + need.ram * numbers[at + 7]!
  const bandwidth = numbers[at + 5]! + need.bandwidth * numbers[at + 8]!
  const larger = cpu > ram ? cpu : ram
  const worst = larger > bandwidth ? larger : bandwidth
  return formula.cpu * cpu + formula.ram * ram + formula.bandwidth * bandwidth + formula.worst * worst
}
