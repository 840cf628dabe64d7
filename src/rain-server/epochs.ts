/**
 * Which epoch of each instance with kept state has been seen here: what a copy answers in an earlier one, or one of an
 * earlier instance of that name, is not shown any more (reliability.md, section 3, rule 9).
 */
import type { MessageOf } from '../protocol/messages.js'

type Shown = NonNullable<MessageOf<'fragment'>['state']>

const instancesMax = 10_000

export class Epochs {
  readonly #seen = new Map<string, Pick<Shown, 'since' | 'epoch'>>()

  /** False: it is of before what was seen already. */
  accepts(instance: string, { since, epoch }: Pick<Shown, 'since' | 'epoch'>): boolean {
    const seen = this.#seen.get(instance)
    if (seen && (since < seen.since || (since === seen.since && epoch < seen.epoch))) return false
    this.#seen.delete(instance)
    this.#seen.set(instance, { since, epoch })
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > instancesMax) this.#seen.delete(oldest!)
    return true
  }
}
