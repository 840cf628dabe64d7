/**
 * How full motherships are now and would be in the hours that an outlook looks at, and what a move would be worth. The
 * measure is how full the fullest one is, added up over these moments; with the eighth norm in the place of the maximum,
 * which would forget all but one. Moves are compared by its slope: the sum of the eighth powers of the worst shares, each
 * moment with a weight that holds until it is weighed anew, so that quiet moments are levelled, too. Only what is used
 * counts here, not what is reserved: whether there is room is the placer's to say.
 */
import { byId } from '../ids.js'
import type { Resources } from '../resources.js'
import { axes } from './history.js'
import type { Outlook, Standing } from './outlook.js'

export interface Ground {
  readonly id: string
  readonly capacity: Resources
}

export interface Transfer<T> {
  readonly what: T
  readonly to: string
  /** By how much the measure becomes less. */
  readonly relieves: number
  /** By how much less full it is where it goes, at the moment at which that is most, in shares of capacity. */
  readonly gain: number
}

/** Where there are no more motherships than this, all of them are looked at; else so many, those that are least full. */
const allUpTo = 32
const targetsMax = 8
/** A rounding error is no relief. */
const least = 1e-9
/** Of what nobody uses, no share is worth anything. */
const idle = 1e-6

interface Place {
  readonly id: string
  readonly capacity: readonly [number, number, number]
  /** Three shares for each moment, and the worst of them. */
  readonly shares: Float64Array
  readonly worst: Float64Array
  cost: number
}

export class Foresight {
  readonly #places: Place[]
  readonly #byId: ReadonlyMap<string, Place>
  #weights = new Float64Array()
  /** Emptiest first, until something changes. */
  #order: readonly Place[] | undefined

  constructor(
    private readonly outlook: Outlook,
    grounds: readonly Ground[],
    standing: Iterable<Standing>,
  ) {
    const moments = outlook.weights.length
    this.#places = grounds.map(({ id, capacity: { cpu, ram, bandwidth } }) => ({
      id,
      capacity: [Math.max(cpu, 1e-9), Math.max(ram, 1e-9), Math.max(bandwidth, 1e-9)],
      shares: new Float64Array(moments * axes),
      worst: new Float64Array(moments),
      cost: 0,
    }))
    this.#byId = new Map(this.#places.map(each => [each.id, each]))
    for (const { version, on } of standing) {
      const pattern = outlook.patternOf(version)
      if (!pattern) continue
      for (const [id, copies] of on) add(this.#byId.get(id), pattern, copies)
    }
    for (const place of this.#places) fill(place)
    this.weigh()
  }

  /** By how things stand now. */
  weigh(): void {
    this.#weights = Float64Array.from(this.outlook.weights, (weight, moment) => {
      const powers = this.#places.reduce((sum, each) => sum + eighth(each.worst[moment]!), 0)
      return powers < eighth(idle) ? 0 : weight * powers ** (1 / 8 - 1)
    })
    for (const place of this.#places) place.cost = this.#costOf(place.worst)
    this.#order = undefined
  }

  /** How much fuller the fullest one is than the mean, at the moment at which that is most. */
  imbalance(): number {
    let most = 0
    for (let moment = 0; moment < this.#weights.length; moment++) {
      let [worst, sum] = [0, 0]
      for (const place of this.#places) {
        const share = place.worst[moment]!
        if (share > worst) worst = share
        sum += share
      }
      most = Math.max(most, worst - sum / this.#places.length)
    }
    return most
  }

  /** Those that weigh most in the measure first: all of them where there are few. */
  fullest(amongThese: (id: string) => boolean, max: number): string[] {
    const found = this.#places.filter(({ id }) => amongThese(id))
    found.sort((a, b) => b.cost - a.cost || byId(a.id, b.id))
    return found.slice(0, found.length <= allUpTo ? allUpTo : max).map(({ id }) => id)
  }

  /** How much the measure becomes less when a copy goes; undefined of what nobody heard of. */
  relief(from: string, version: string): number | undefined {
    const [place, pattern] = [this.#byId.get(from), this.outlook.patternOf(version)]
    return place && pattern && place.cost - this.#costWith(place, pattern, -1)
  }

  /** The best places to go to, best first: those where the measure becomes less and at least so much is gained. */
  transfers<T>(from: string, version: string, what: T, minGain: number): Transfer<T>[] {
    const [source, pattern] = [this.#byId.get(from), this.outlook.patternOf(version)]
    if (!source || !pattern) return []
    const relief = source.cost - this.#costWith(source, pattern, -1)
    const found: Transfer<T>[] = []
    for (const place of this.#emptiest()) {
      if (place === source) continue
      const relieves = relief - (this.#costWith(place, pattern, 1) - place.cost)
      if (relieves <= least * source.cost) continue
      const gain = gainOf(source, place, pattern)
      if (gain >= minGain) found.push({ what, to: place.id, relieves, gain })
    }
    return found.sort((a, b) => b.relieves - a.relieves || byId(a.to, b.to))
  }

  /** A copy goes from there; without another place it is on its way to one that is counted already. */
  move(version: string, from: string, to: string | undefined): void {
    const pattern = this.outlook.patternOf(version)
    if (!pattern) return
    const changed = [this.#byId.get(from), to === undefined ? undefined : this.#byId.get(to)]
    add(changed[0], pattern, -1)
    add(changed[1], pattern, 1)
    this.#order = undefined
    for (const place of changed) {
      if (!place) continue
      fill(place)
      place.cost = this.#costOf(place.worst)
    }
  }

  /** One more than are looked at, for who moves off one of them. */
  #emptiest(): readonly Place[] {
    const max = this.#places.length <= allUpTo ? allUpTo : targetsMax
    this.#order ??= [...this.#places].sort((a, b) => a.cost - b.cost || byId(a.id, b.id)).slice(0, max + 1)
    return this.#order
  }

  #costOf(worst: Float64Array): number {
    const weights = this.#weights
    let cost = 0
    for (let moment = 0; moment < worst.length; moment++) cost += weights[moment]! * eighth(worst[moment]!)
    return cost
  }

  #costWith({ shares, capacity }: Place, pattern: Float64Array, copies: 1 | -1): number {
    const [cpu, ram, bandwidth] = [copies / capacity[0], copies / capacity[1], copies / capacity[2]]
    const weights = this.#weights
    let cost = 0
    for (let moment = 0, at = 0; moment < weights.length; moment++, at += axes) {
      const a = shares[at]! + pattern[at]! * cpu
      const b = shares[at + 1]! + pattern[at + 1]! * ram
      const c = shares[at + 2]! + pattern[at + 2]! * bandwidth
      cost += weights[moment]! * eighth(a > b ? (a > c ? a : c) : b > c ? b : c)
    }
    return cost
  }
}

function add(place: Place | undefined, pattern: Float64Array, copies: number): void {
  if (!place) return
  for (let at = 0; at < pattern.length; at++) place.shares[at]! += (copies * pattern[at]!) / place.capacity[at % axes]!
}

function fill({ shares, worst }: Place): void {
  for (let moment = 0, at = 0; moment < worst.length; moment++, at += axes) {
    worst[moment] = Math.max(shares[at]!, shares[at + 1]!, shares[at + 2]!)
  }
}

function gainOf(from: Place, { shares, capacity }: Place, pattern: Float64Array): number {
  const [cpu, ram, bandwidth] = [1 / capacity[0], 1 / capacity[1], 1 / capacity[2]]
  const { worst } = from
  let most = Number.NEGATIVE_INFINITY
  for (let moment = 0, at = 0; moment < worst.length; moment++, at += axes) {
    const a = shares[at]! + pattern[at]! * cpu
    const b = shares[at + 1]! + pattern[at + 1]! * ram
    const c = shares[at + 2]! + pattern[at + 2]! * bandwidth
    const gain = worst[moment]! - (a > b ? (a > c ? a : c) : b > c ? b : c)
    if (gain > most) most = gain
  }
  return most
}

const eighth = (share: number): number => {
  const square = share * share
  return square * square * square * square
}
