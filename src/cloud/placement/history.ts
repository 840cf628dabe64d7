/**
 * What one copy of each component version used in each hour of the last week, and what it uses now: the memory from
 * which a rebalance tells what is likely to be used together. Kept by version over the whole cloud, not by mothership:
 * an instance that moves brings its pattern along. Pure: time comes with each sample, by a clock of the caller that
 * never goes back. Bounded: three numbers an hour for a version, and versions not heard of for a week are forgotten.
 */
import type { Resources } from '../resources.js'

export const hourMs = 3_600_000
/** A week, because many patterns are weekly and few are longer. */
export const hoursKept = 168
/** Numbers in an hour: cpu, ram, bandwidth, in the units of resources. */
export const axes = 3
/** What is used now is a mean with this half-life: long enough to look over a burst of seconds. */
const nowHalfLifeMs = 900_000

export const hourOf = (atMs: number): number => Math.floor(atMs / hourMs)

interface Pattern {
  readonly first: number
  /** The hour that is being added up, and how many samples of it there are. */
  hour: number
  count: number
  readonly sum: Float64Array
  /** Means of the hours before, each at its number modulo the week. */
  readonly means: Float32Array
  /** The largest of them. */
  readonly most: Float64Array
  readonly now: Float64Array
  nowAtMs: number
}

export class UseHistory {
  readonly #patterns = new Map<string, Pattern>()
  #first: number | undefined
  #hour = Number.NEGATIVE_INFINITY

  /** `used` by one copy of `component/version`, as measured on some mothership. What comes late counts as of now. */
  note(version: string, used: Resources, atMs: number): void {
    const hour = Math.max(this.#hour, hourOf(atMs))
    if (hour > this.#hour) this.#begin(hour)
    const sample = [used.cpu, used.ram, used.bandwidth]
    let pattern = this.#patterns.get(version)
    if (!pattern) this.#patterns.set(version, (pattern = begun(sample, hour, atMs)))
    if (hour > pattern.hour) close(pattern, hour)
    pattern.count++
    const kept = 0.5 ** (Math.max(0, atMs - pattern.nowAtMs) / nowHalfLifeMs)
    for (let axis = 0; axis < axes; axis++) {
      pattern.sum[axis]! += sample[axis]!
      pattern.now[axis] = sample[axis]! + (pattern.now[axis]! - sample[axis]!) * kept
    }
    pattern.nowAtMs = Math.max(pattern.nowAtMs, atMs)
  }

  /** How many hours are known that were over at that time, the latest of which is the one before. */
  hoursKnown(nowMs: number): number {
    return this.#first === undefined ? 0 : Math.max(0, Math.min(hoursKept, hourOf(nowMs) - this.#first))
  }

  knows(version: string): boolean {
    return this.#patterns.has(version)
  }

  /** What a copy uses now, into three places of `into`. Nothing of a version that nobody heard of. */
  readNow(version: string, into: Float64Array, at: number): void {
    const now = this.#patterns.get(version)?.now
    for (let axis = 0; axis < axes; axis++) into[at + axis] = now?.[axis] ?? 0
  }

  /**
   * What a copy used in an hour that is over and within the week. Of an hour before the version was first heard of:
   * what it uses now; of one in which nobody heard of it, nothing.
   */
  readHour(version: string, hour: number, into: Float64Array, at: number): void {
    const pattern = this.#patterns.get(version)
    if (!pattern || hour < pattern.first) return this.readNow(version, into, at)
    for (let axis = 0; axis < axes; axis++) {
      if (hour === pattern.hour) into[at + axis] = pattern.sum[axis]! / pattern.count
      else into[at + axis] = hour > pattern.hour ? 0 : pattern.means[placeOf(hour) + axis]!
    }
  }

  /** The most that a copy used in any hour of the week that is over. */
  readMost(version: string, into: Float64Array, at: number): void {
    const pattern = this.#patterns.get(version)
    for (let axis = 0; axis < axes; axis++) into[at + axis] = pattern?.most[axis] ?? 0
  }

  #begin(hour: number): void {
    this.#first ??= hour
    this.#hour = hour
    for (const [version, pattern] of this.#patterns) {
      if (pattern.hour < hour - hoursKept) this.#patterns.delete(version)
    }
  }
}

const placeOf = (hour: number): number => (((hour % hoursKept) + hoursKept) % hoursKept) * axes

const begun = (sample: readonly number[], hour: number, atMs: number): Pattern => ({
  first: hour,
  hour,
  count: 0,
  sum: new Float64Array(axes),
  means: new Float32Array(hoursKept * axes),
  most: new Float64Array(axes),
  now: Float64Array.from(sample),
  nowAtMs: atMs,
})

/** Hours in which nobody heard of it count as without use. */
function close(pattern: Pattern, hour: number): void {
  const { sum, count, means } = pattern
  for (let axis = 0; axis < axes; axis++) means[placeOf(pattern.hour) + axis] = sum[axis]! / count
  for (let silent = pattern.hour + 1; silent < Math.min(hour, pattern.hour + hoursKept); silent++) {
    means.fill(0, placeOf(silent), placeOf(silent) + axes)
  }
  pattern.most.fill(0)
  for (let at = 0; at < means.length; at++) pattern.most[at % axes] = Math.max(pattern.most[at % axes]!, means[at]!)
  sum.fill(0)
  pattern.hour = hour
  pattern.count = 0
}
