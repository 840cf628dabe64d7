/**
 * What was placed on one mothership lately, so that a load sample from before does not make it look empty. Kept in
 * buckets of time, four numbers each in one row, so that it stays small however much is placed, and nothing is made or
 * searched with each placement.
 */
import type { Resources } from '../records.js'
import { nothing, tidy } from './resources.js'

const bucketMs = 100
/** No sample that counts is older than this, whatever the settings say. */
const rememberMs = 35_000
/** Number of the bucket, cpu, ram, bandwidth. */
const width = 4
/** What is too old goes when there is a tenth more: taking it away is cheap for each that came then. */
const longest = (1.1 * width * rememberMs) / bucketMs

export class Recent {
  #row: number[] = []

  note({ cpu, ram, bandwidth }: Resources, nowMs: number): void {
    const number = Math.floor(nowMs / bucketMs)
    const row = this.#row
    const last = row.length - width
    if (last >= 0 && row[last]! >= number) {
      row[last + 1] = tidy(row[last + 1]! + cpu)
      row[last + 2] = tidy(row[last + 2]! + ram)
      row[last + 3] = tidy(row[last + 3]! + bandwidth)
      return
    }
    if (row.length >= longest) this.#forget(number - rememberMs / bucketMs)
    this.#row.push(number, cpu, ram, bandwidth)
  }

  /** At least what was placed since then: the bucket in which the moment lies counts as a whole. */
  since(atMs: number): Resources {
    const first = Math.floor(atMs / bucketMs)
    const row = this.#row
    let [cpu, ram, bandwidth] = [0, 0, 0]
    let at = row.length - width
    // Most look back a second or so, whatever is remembered.
    for (; at >= 0 && row[at]! >= first; at -= width) {
      cpu += row[at + 1]!
      ram += row[at + 2]!
      bandwidth += row[at + 3]!
    }
    if (at === row.length - width) return nothing
    return { cpu: tidy(cpu), ram: tidy(ram), bandwidth: tidy(bandwidth) }
  }

  /** Those before that bucket. */
  #forget(oldest: number): void {
    let at = 0
    while (at < this.#row.length && this.#row[at]! < oldest) at += width
    this.#row = this.#row.slice(at)
  }
}
