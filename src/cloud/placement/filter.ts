/**
 * Measured load, smoothed so that placement does not run after every breath: cpu and ram rise at once and fall slowly
 * (an exponential average that a higher sample restarts, after the two-speed filter of Orleans' placement); bandwidth,
 * which comes in bursts, counts by a high percentile of the last samples (nearest rank).
 */
import type { Resources } from '../resources.js'
import type { Settings } from '../settings.js'

type Smoothing = Pick<Settings['load'], 'halfLifeMs' | 'bandwidthPercentile' | 'bandwidthWindowMs'>

/** At most so many samples of bandwidth are kept: five minutes of them at one a second. */
const samplesMax = 300

/** A value that was `before` and is measured as `sample` now, `elapsedMs` later. */
export function eased(before: number, sample: number, elapsedMs: number, halfLifeMs: number): number {
  if (sample >= before || halfLifeMs <= 0) return sample
  return sample + (before - sample) * 0.5 ** (Math.max(0, elapsedMs) / halfLifeMs)
}

/** The last samples in the order in which they came; a thousand nodes report each second, so nothing is copied. */
class Window {
  #atMs = new Float64Array(4)
  #amounts = new Float64Array(4)
  #first = 0
  #count = 0

  note(amount: number, atMs: number, afterMs: number): void {
    while (this.#count > 0 && (this.#atMs[this.#first]! <= afterMs || this.#count === samplesMax)) {
      this.#first = (this.#first + 1) % this.#atMs.length
      this.#count--
    }
    if (this.#count === this.#atMs.length) this.#grow()
    const at = (this.#first + this.#count++) % this.#atMs.length
    this.#atMs[at] = atMs
    this.#amounts[at] = amount
  }

  percentile(percentile: number): number {
    const sorted = new Float64Array(this.#count)
    for (let i = 0; i < this.#count; i++) sorted[i] = this.#amounts[(this.#first + i) % this.#amounts.length]!
    sorted.sort()
    return sorted[Math.max(0, Math.ceil(percentile * sorted.length) - 1)] ?? 0
  }

  #grow(): void {
    const grown = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(Math.min(samplesMax, 2 * from.length))
      for (let i = 0; i < this.#count; i++) to[i] = from[(this.#first + i) % from.length]!
      return to
    }
    this.#amounts = grown(this.#amounts)
    this.#atMs = grown(this.#atMs)
    this.#first = 0
  }
}

export class LoadFilter {
  #cpu = 0
  #ram = 0
  #atMs = Number.NaN
  #percentile = 0
  readonly #bandwidths = new Window()
  /** Worked out when it is asked for: most samples of most nodes are not. */
  #value: Resources | undefined

  /** Undefined before the first sample. */
  get value(): Resources | undefined {
    if (Number.isNaN(this.#atMs)) return undefined
    this.#value ??= { cpu: this.#cpu, ram: this.#ram, bandwidth: this.#bandwidths.percentile(this.#percentile) }
    return this.#value
  }

  note(sample: Resources, atMs: number, smoothing: Smoothing): void {
    const { halfLifeMs, bandwidthPercentile, bandwidthWindowMs } = smoothing
    const isFirst = Number.isNaN(this.#atMs)
    const elapsedMs = isFirst ? 0 : atMs - this.#atMs
    this.#cpu = isFirst ? sample.cpu : eased(this.#cpu, sample.cpu, elapsedMs, halfLifeMs)
    this.#ram = isFirst ? sample.ram : eased(this.#ram, sample.ram, elapsedMs, halfLifeMs)
    this.#bandwidths.note(sample.bandwidth, atMs, atMs - bandwidthWindowMs)
    this.#percentile = bandwidthPercentile
    this.#atMs = atMs
    this.#value = undefined
  }
}
