/**
 * The loop over the motherships: who can take what is asked, and the best three of them. Everything that is not a sum,
 * a product or a comparison of numbers was worked out before.
 */
import { byId } from '../ids.js'
import type { Resources } from '../records.js'
import type { Columns } from './columns.js'
import { pressureAt, roomAt, stride, unitAt, unreservedAt } from './columns.js'
import type { Formula } from './score.js'

/** What is looked for, as numbers. */
export interface Search {
  readonly need: Resources
  readonly formula: Formula
  /** Only these, by their index; all when undefined. */
  readonly list: Int32Array | undefined
  /** Not those that are 1 here, by their index. */
  readonly barred: Uint8Array | undefined
}

const none = -1
const worse = Number.POSITIVE_INFINITY

/** The best three by what placing there costs, over as many ranges as are looked at. Ties fall to the lowest id. */
export class Scan {
  #best: [number, number, number] = [none, none, none]
  #costs: [number, number, number] = [worse, worse, worse]
  looked = 0
  fits = 0
  /** How many that take something are short of unreserved room; the others that do not fit are above a ceiling. */
  short = 0
  above = 0

  constructor(
    private readonly columns: Columns,
    private readonly ids: readonly string[],
    private readonly search: Search,
  ) {}

  /** By index, best first. */
  get best(): readonly number[] {
    return this.#best.filter(index => index !== none)
  }

  /** Those from `from` to before `to`: of the list if there is one, else of all. */
  look(from: number, to: number): void {
    const { need, list, barred, formula } = this.search
    const { numbers } = this.columns
    // What is not asked for does not refuse, even where there is less than nothing left of it.
    const askCpu = need.cpu > 0 ? need.cpu : Number.NEGATIVE_INFINITY
    const askRam = need.ram > 0 ? need.ram : Number.NEGATIVE_INFINITY
    const askBandwidth = need.bandwidth > 0 ? need.bandwidth : Number.NEGATIVE_INFINITY
    const { cpu: needCpu, ram: needRam, bandwidth: needBandwidth } = need
    const { cpu: ofCpu, ram: ofRam, bandwidth: ofBandwidth, worst: ofWorst } = formula
    let [, , third] = this.#costs
    let [fits, short, above] = [this.fits, this.short, this.above]
    for (let each = from; each < to; each++) {
      const index = list === undefined ? each : list[each]!
      if (barred !== undefined && barred[index] === 1) continue
      const at = index * stride
      if (
        askCpu <= numbers[at + roomAt]! &&
        askRam <= numbers[at + roomAt + 1]! &&
        askBandwidth <= numbers[at + roomAt + 2]!
      ) {
        fits++
        const cpu = numbers[at + pressureAt]! + needCpu * numbers[at + unitAt]!
        const ram = numbers[at + pressureAt + 1]! + needRam * numbers[at + unitAt + 1]!
        const bandwidth = numbers[at + pressureAt + 2]! + needBandwidth * numbers[at + unitAt + 2]!
        const larger = cpu > ram ? cpu : ram
        const cost =
          ofCpu * cpu + ofRam * ram + ofBandwidth * bandwidth + ofWorst * (larger > bandwidth ? larger : bandwidth)
        if (cost <= third) third = this.#take(index, cost)
      } else if (Number.isNaN(numbers[at]!)) {
        // Takes nothing: the rules of the mothership alone say why.
      } else if (
        askCpu > numbers[at + unreservedAt]! ||
        askRam > numbers[at + unreservedAt + 1]! ||
        askBandwidth > numbers[at + unreservedAt + 2]!
      )
        short++
      else above++
    }
    this.looked += to - from
    this.fits = fits
    this.short = short
    this.above = above
  }

  /** Its place among the best three if it has one. Returns what one has to cost less than, or as much as, from now on. */
  #take(index: number, cost: number): number {
    const [best, costs] = [this.#best, this.#costs]
    let place = 3
    while (place > 0 && this.#beats(index, cost, place - 1)) place--
    for (let each = 2; each > place; each--) {
      best[each] = best[each - 1]!
      costs[each] = costs[each - 1]!
    }
    if (place < 3) {
      best[place] = index
      costs[place] = cost
    }
    return costs[2]
  }

  #beats(index: number, cost: number, place: number): boolean {
    const other = this.#best[place]!
    if (other === none || cost < this.#costs[place]!) return true
    return cost === this.#costs[place]! && byId(this.ids[index]!, this.ids[other]!) < 0
  }
}
