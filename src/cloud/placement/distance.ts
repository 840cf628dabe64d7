/** Where copies stand, or kept failing, that keep others away: what would be asked of every mothership else. */
import type { InstanceRecord, QuarantineRecord } from '../records.js'
import type { Asked } from './host.js'
import type { Slot } from './slot.js'

export class Distance {
  /** Components of which some copies want to be alone, and how many. */
  readonly #alone = new Map<string, number>()
  /** Where there are copies of the components that somebody asked for. */
  readonly #where = new Map<string, Set<Slot>>()
  /** Where a component version is to stay away. */
  readonly #quarantined = new Map<string, Set<Slot>>()

  constructor(private readonly slots: () => Iterable<Slot>) {}

  /** Whether anything that stands somewhere may keep the asked one away. */
  mayKeepApart({ component, wish, taken }: Asked): boolean {
    return (
      taken.length > 0 ||
      this.#quarantined.size > 0 ||
      wish.antiAffinity === 'component' ||
      (this.#alone.size > 0 && this.#alone.has(component))
    )
  }

  /** Indexes of the motherships where copies stand that keep the asked one away, or where it kept failing. */
  *keptApart({ component, version, wish }: Asked): Iterable<number> {
    if (this.#quarantined.size > 0) {
      for (const slot of this.#quarantined.get(`${component}/${version}`) ?? []) if (slot.index >= 0) yield slot.index
    }
    const all = wish.antiAffinity === 'component'
    if (!all && !this.#alone.has(component)) return
    for (const slot of this.#whereIs(component)) {
      if (slot.index >= 0 && (all || slot.copiesOf(component).alone > 0)) yield slot.index
    }
  }

  /** One copy more or less, of which there are so many here now. */
  count(slot: Slot, { component, placement }: InstanceRecord, here: number, sign: 1 | -1): void {
    if (placement.antiAffinity === 'component') {
      const alone = (this.#alone.get(component) ?? 0) + sign
      if (alone > 0) this.#alone.set(component, alone)
      else this.#alone.delete(component)
    }
    const where = this.#where.get(component)
    if (here > 0) where?.add(slot)
    else where?.delete(slot)
  }

  /** `version`: `component/version`. Returns what was there before. */
  quarantine(slot: Slot, version: string, after: QuarantineRecord | undefined): QuarantineRecord | undefined {
    const before = slot.quarantines.get(version)
    if (after) slot.quarantines.set(version, after)
    else slot.quarantines.delete(version)
    const where = this.#quarantined.get(version) ?? new Set()
    if (after) where.add(slot)
    else where.delete(slot)
    if (where.size > 0) this.#quarantined.set(version, where)
    else this.#quarantined.delete(version)
    return before
  }

  #whereIs(component: string): ReadonlySet<Slot> {
    let where = this.#where.get(component)
    if (!where) {
      where = new Set([...this.slots()].filter(slot => slot.copiesOf(component).all > 0))
      this.#where.set(component, where)
    }
    return where
  }
}
