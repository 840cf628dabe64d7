/**
 * What the coming hours may be like. Three kinds of moments: now; what may follow, which is what is used now, changed as
 * it changed after those hours of the last week that were most like the last one (forecast by analogues: E. N. Lorenz,
 * "Atmospheric predictability as revealed by naturally occurring analogues", 1969); and other hours of the week as they
 * were, evenly spread. Always whole hours, with all that was used in them, so that what peaks together is seen to peak
 * together, whatever the reason and however seldom. Weights and numbers were chosen on July of a trace.
 */
import type { CloudMap } from '../map.js'
import type { Resources } from '../resources.js'
import { axes, hourOf, type UseHistory } from './history.js'
import { nothing, plus } from './resources.js'

/** Before a day is known there is no outlook. */
const hoursMin = 24
const likeMax = 12
const likeWeight = 1
/** Every fifth hour of a week, so that each time of day is among them. */
const spreadMax = 34
const spreadWeight = 0.2
const nowWeight = 1

export interface Replayed {
  readonly hour: number
  readonly weight: number
  /** As it was, or what is used now with the change of that hour from the one before. */
  readonly as: 'it was' | 'a change'
}

/** How many copies of a component version there are, and how many of them are on which mothership. */
export interface Standing {
  readonly version: string
  readonly copies: number
  readonly on: ReadonlyMap<string, number>
}

export function* standing(map: CloudMap): Iterable<Standing> {
  for (const [version] of map.all('components')) {
    const { copies: on } = map.tallyOf(version)
    let copies = 0
    for (const each of on.values()) copies += each
    if (copies > 0) yield { version, copies, on }
  }
}

/** Outlooks on a cloud as time goes by; which hours they play again is worked out once an hour. */
export class Horizon {
  #hour = Number.NaN
  #replayed: readonly Replayed[] | undefined

  constructor(private readonly history: UseHistory) {}

  /** Undefined while too little is known. */
  at(map: CloudMap, nowMs: number): Outlook | undefined {
    const hour = hourOf(nowMs)
    if (hour !== this.#hour) {
      this.#hour = hour
      let capacity = nothing
      for (const [, { value }] of map.all('motherships')) capacity = plus(capacity, value.capacity)
      this.#replayed = hoursToReplay(this.history, standing(map), capacity, nowMs)
    }
    return this.#replayed && new Outlook(this.history, this.#replayed)
  }
}

export class Outlook {
  /** Of each moment: first now, then the hours that are played again. */
  readonly weights: readonly number[]
  readonly #patterns = new Map<string, Float64Array>()
  readonly #before = new Float64Array(axes)
  readonly #most = new Float64Array(axes)

  constructor(
    private readonly history: UseHistory,
    private readonly replayed: readonly Replayed[],
  ) {
    this.weights = [nowWeight, ...replayed.map(({ weight }) => weight)]
  }

  /** What one copy uses: three numbers for each moment. Undefined for what nobody heard of. */
  patternOf(version: string): Float64Array | undefined {
    let pattern = this.#patterns.get(version)
    if (!pattern && this.history.knows(version)) {
      pattern = new Float64Array(this.weights.length * axes)
      this.history.readNow(version, pattern, 0)
      this.history.readMost(version, this.#most, 0)
      for (const [index, { hour, as }] of this.replayed.entries()) {
        const at = (index + 1) * axes
        this.history.readHour(version, hour, pattern, at)
        if (as === 'a change') this.#follow(version, hour, pattern, at)
      }
      this.#patterns.set(version, pattern)
    }
    return pattern
  }

  /** Never below nothing, nor above what was ever used in an hour of the week. */
  #follow(version: string, hour: number, pattern: Float64Array, at: number): void {
    this.history.readHour(version, hour - 1, this.#before, 0)
    for (let axis = 0; axis < axes; axis++) {
      const changed = pattern[axis]! + pattern[at + axis]! - this.#before[axis]!
      pattern[at + axis] = Math.max(0, Math.min(changed, Math.max(this.#most[axis]!, pattern[axis]!)))
    }
  }
}

/**
 * The hours to play again, from what is known at that time; it changes with the hour. Undefined while too little is
 * known. `capacity`: of all motherships together, to compare resources with each other.
 */
export function hoursToReplay(
  history: UseHistory,
  standing: Iterable<Standing>,
  capacity: Resources,
  nowMs: number,
): readonly Replayed[] | undefined {
  const known = history.hoursKnown(nowMs)
  if (known < hoursMin) return undefined
  const last = hourOf(nowMs) - 1
  const distances = distancesTo(last, known, history, standing, capacity)
  const like = distances.sort((a, b) => a.distance - b.distance || b.hour - a.hour).slice(0, likeMax)
  const every = Math.ceil(known / spreadMax)
  const spread = Array.from({ length: Math.ceil(known / every) }, (_, index) => last - index * every)
  return [
    ...like.map(({ hour }): Replayed => ({ hour: hour + 1, weight: likeWeight / like.length, as: 'a change' })),
    ...spread.map((hour): Replayed => ({ hour, weight: spreadWeight / spread.length, as: 'it was' })),
  ]
}

/** How unlike the last one the known hours before it are: the sum of all differences, in shares of the whole cloud. */
function distancesTo(
  last: number,
  known: number,
  history: UseHistory,
  standing: Iterable<Standing>,
  capacity: Resources,
): { readonly hour: number; distance: number }[] {
  const distances = Array.from({ length: known - 1 }, (_, index) => ({ hour: last - 1 - index, distance: 0 }))
  const [then, before] = [new Float64Array(axes), new Float64Array(axes)]
  for (const { version, copies } of standing) {
    if (copies === 0 || !history.knows(version)) continue
    history.readHour(version, last, then, 0)
    for (const each of distances) {
      history.readHour(version, each.hour, before, 0)
      const cpu = Math.abs(then[0]! - before[0]!) / Math.max(capacity.cpu, 1e-9)
      const ram = Math.abs(then[1]! - before[1]!) / Math.max(capacity.ram, 1e-9)
      const bandwidth = Math.abs(then[2]! - before[2]!) / Math.max(capacity.bandwidth, 1e-9)
      each.distance += copies * (cpu + ram + bandwidth)
    }
  }
  return distances
}
