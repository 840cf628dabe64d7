/**
 * Where the copies of one component version stand: in which zones, on which motherships. Kept up with each copy, and
 * by index of the columns too for who was asked about, so that a scan need not look anything up.
 */
import type { PreferenceTerms } from './score.js'
import type { Slot } from './slot.js'

/** What the scan looks up of a mothership; new whenever who is at which index, zones or wires change. */
export interface Ground {
  /** By index: number of its zone, of so many. */
  readonly zones: Uint16Array
  readonly zoneCount: number
  /** By index: how many rain servers that need the version would need a new wire, in steps, of so many. */
  readonly newWires: Uint8Array
  readonly wireSteps: number
}

/**
 * Of what kind a mothership is for the version: number of its zone, times kinds in a zone; new wires, twice; and one more
 * where a copy is.
 */
const kindsIn = (wireSteps: number): number => 2 * (wireSteps + 1)
/** Finer than this nobody needs to know, and each step is two kinds more in each zone. */
export const wireStepsMax = 4
/**
 * On fewer motherships than this a version is rather begun on another one; from there on where its code is. What one
 * more adds to those that hold the code becomes less the more of them there are.
 */
const apartBelow = 3

interface Known extends Pick<Ground, 'zones' | 'wireSteps'> {
  /** By index. */
  readonly kinds: Uint16Array
  readonly byZone: Float64Array
  /** How many more of all copies a zone has than the one that has fewest. */
  readonly zoneShares: Float64Array
  /** What a kind costs beside its zone, and altogether. */
  readonly plain: Float64Array
  readonly costs: Float64Array
}

/** What a scan adds up: what each kind costs, and of which kind a mothership is, by index. */
export interface PreferenceCosts {
  readonly kinds: Uint16Array
  readonly costs: Float64Array
}

export class Standing {
  readonly #copies = new Map<Slot, number>()
  #total = 0
  #known: Known | undefined
  /** What the plain costs rest on. */
  #motherships = 0
  #weights: PreferenceTerms | undefined

  get total(): number {
    return this.#total
  }

  count(slot: Slot, sign: 1 | -1): void {
    const before = this.#copies.get(slot) ?? 0
    const after = before + sign
    this.#total += sign
    if (after === 0) this.#copies.delete(slot)
    else this.#copies.set(slot, after)
    if (this.#known) mark(this.#known, slot, sign, before === 0 || after === 0)
  }

  /** Valid until the next copy is counted; `ground` is made anew where it was forgotten. */
  costs(ground: () => Ground, weights: PreferenceTerms): PreferenceCosts {
    const known = this.#look(ground)
    const { byZone, zoneShares, plain, costs } = known
    const same = this.#motherships === this.#copies.size && this.#weights === weights
    if (!same) {
      this.#motherships = this.#copies.size
      this.#weights = weights
      for (let kind = 0; kind < plain.length; kind++) {
        const { apart, code, wires } = this.#termsOf(known, kind)
        plain[kind] = weights.apart * apart + weights.code * code + weights.wires * wires
      }
    } else if (byZone.length < 2) return known
    for (let zone = 0, kind = 0; zone < byZone.length; zone++) {
      const cost = weights.zones * zoneShares[zone]!
      for (let each = 0; each < plain.length; each++, kind++) costs[kind] = cost + plain[each]!
    }
    return known
  }

  /** Of a mothership, each from 0 to 1. */
  terms(ground: () => Ground, index: number): PreferenceTerms {
    const known = this.#look(ground)
    const zones = known.zoneShares[known.zones[index]!]!
    return { zones, ...this.#termsOf(known, known.kinds[index]! % known.plain.length) }
  }

  /** The indexes of motherships, their zones or their wires have changed. */
  forget(): void {
    this.#known = undefined
    this.#weights = undefined
  }

  #termsOf({ wireSteps }: Known, kind: number): Omit<PreferenceTerms, 'zones'> {
    const copy = kind % 2 === 1
    const motherships = this.#copies.size
    const few = motherships < apartBelow
    return {
      apart: few && copy ? 1 : 0,
      code: !few && !copy ? apartBelow / motherships : 0,
      wires: wireSteps === 0 ? 0 : Math.floor(kind / 2) / wireSteps,
    }
  }

  #look(ground: () => Ground): Known {
    const known = (this.#known ??= this.#laidOn(ground()))
    const { byZone, zoneShares } = known
    if (byZone.length < 2 || this.#total === 0) return known
    let fewest = Number.POSITIVE_INFINITY
    for (const copies of byZone) if (copies < fewest) fewest = copies
    for (let zone = 0; zone < byZone.length; zone++) zoneShares[zone] = (byZone[zone]! - fewest) / this.#total
    return known
  }

  #laidOn({ zones, zoneCount, newWires, wireSteps }: Ground): Known {
    const inZone = kindsIn(wireSteps)
    const known: Known = {
      zones,
      wireSteps,
      kinds: zones.map((zone, index) => zone * inZone + 2 * newWires[index]!),
      byZone: new Float64Array(zoneCount),
      zoneShares: new Float64Array(zoneCount),
      plain: new Float64Array(inZone),
      costs: new Float64Array(zoneCount * inZone),
    }
    for (const [slot, copies] of this.#copies) mark(known, slot, copies, true)
    return known
  }
}

function mark({ zones, kinds, byZone }: Known, { index }: Slot, copies: number, turns: boolean): void {
  if (index < 0) return
  byZone[zones[index]!]! += copies
  // Kinds with a copy are odd.
  if (turns) kinds[index]! ^= 1
}
