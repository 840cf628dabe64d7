/**
 * How far kept state was that has been shown here. What a copy answers in an earlier epoch, or one of an earlier instance
 * of that name, is not shown any more (reliability.md, section 3, rule 9); and nobody is shown what is older than what he
 * was shown before, whichever copy it comes from (V5). What is kept of a view is shown for as long as the view allows it.
 * Pure. After a restart, or at another rain server, it begins anew.
 */
import type { MessageOf } from '../protocol/messages.js'

export type Reached = NonNullable<MessageOf<'fragment'>['state']>

const instancesMax = 10_000
const sessionsMax = 10_000
/** Of one session. */
const rememberedMax = 100

/** Sequence numbers go on from one epoch to the next, but of two epochs the later one is right. */
export const isBefore = (one: Reached, other: Reached): boolean =>
  one.since !== other.since
    ? one.since < other.since
    : one.epoch !== other.epoch
      ? one.epoch < other.epoch
      : one.seq < other.seq

export const later = (one: Reached | undefined, other: Reached | undefined): Reached | undefined =>
  one && other ? (isBefore(one, other) ? other : one) : (one ?? other)

export class Shown {
  readonly #epochs = new Map<string, Pick<Reached, 'since' | 'epoch'>>()
  readonly #sessions = new Map<string, Map<string, Reached>>()

  /** False: it is older than what may be shown. `least`: what was shown already when it was asked for. */
  accepts(instance: string, reached: Reached, least?: Reached): boolean {
    const { since, epoch } = reached
    const seen = this.#epochs.get(instance)
    if (seen && (since < seen.since || (since === seen.since && epoch < seen.epoch))) return false
    if (least && isBefore(reached, least)) return false
    put(this.#epochs, instance, { since, epoch }, instancesMax)
    return true
  }

  of(session: string, instance: string): Reached | undefined {
    return this.#sessions.get(session)?.get(instance)
  }

  note(session: string, instance: string, reached: Reached | undefined): void {
    if (!reached) return
    const own = this.#sessions.get(session) ?? new Map<string, Reached>()
    put(this.#sessions, session, own, sessionsMax)
    put(own, instance, later(own.get(instance), reached)!, rememberedMax)
  }
}

/** As the newest; of too many the oldest goes. */
function put<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > most) map.delete(oldest!)
}
