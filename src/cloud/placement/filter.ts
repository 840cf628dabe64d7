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

export class LoadFilter {
  #value: Resources | undefined
  #atMs = 0
  #bandwidths: { readonly atMs: number; readonly amount: number }[] = []

  /** Undefined before the first sample. */
  get value(): Resources | undefined {
    return this.#value
  }

  note(sample: Resources, atMs: number, smoothing: Smoothing): void {
    const before = this.#value ?? sample
    const elapsedMs = atMs - this.#atMs
    const { halfLifeMs, bandwidthPercentile, bandwidthWindowMs } = smoothing
    this.#bandwidths = [...this.#bandwidths, { atMs, amount: sample.bandwidth }]
      .filter(each => each.atMs > atMs - bandwidthWindowMs)
      .slice(-samplesMax)
    this.#value = {
      cpu: eased(before.cpu, sample.cpu, elapsedMs, halfLifeMs),
      ram: eased(before.ram, sample.ram, elapsedMs, halfLifeMs),
      bandwidth: percentileOf(
        this.#bandwidths.map(each => each.amount),
        bandwidthPercentile,
      ),
    }
    this.#atMs = atMs
  }
}

function percentileOf(amounts: readonly number[], percentile: number): number {
  const sorted = [...amounts].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(percentile * sorted.length) - 1)] ?? 0
}
