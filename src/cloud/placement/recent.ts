/**
 * What was placed on one mothership lately, so that a load sample from before does not make it look empty. Kept in
 * buckets of time, so that it stays small however much is placed.
 */
import type { Resources } from '../records.js'
import { nothing, plus } from './resources.js'

const bucketMs = 100
/** No sample that counts is older than this, whatever the settings say. */
const rememberMs = 35_000

export class Recent {
  #buckets: { readonly number: number; sum: Resources }[] = []

  note(need: Resources, nowMs: number): void {
    const number = Math.floor(nowMs / bucketMs)
    const last = this.#buckets.at(-1)
    if (last && last.number >= number) {
      last.sum = plus(last.sum, need)
      return
    }
    const oldest = number - rememberMs / bucketMs
    if (this.#buckets[0] && this.#buckets[0].number < oldest) {
      this.#buckets = this.#buckets.filter(each => each.number >= oldest)
    }
    this.#buckets.push({ number, sum: need })
  }

  /** At least what was placed since then: the bucket in which the moment lies counts as a whole. */
  since(atMs: number): Resources {
    const first = Math.floor(atMs / bucketMs)
    let sum = nothing
    // Most look back a second or so, whatever is remembered.
    for (let index = this.#buckets.length - 1; index >= 0; index--) {
      const bucket = this.#buckets[index]!
      if (bucket.number < first) break
      sum = sum === nothing ? bucket.sum : plus(sum, bucket.sum)
    }
    return sum
  }
}
