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

/** Whether a copy is here is the lowest bit of a mothership's kind, new wires are those above it. */
const hasCopy = 1
const wiresShift = 1
/** Finer than this nobody needs to know, and each step is a kind more. */
export const wireStepsMax = 16
/**
 * On fewer motherships than this a version is rather begun on another one; from there on where its code is. What one
 * more adds to those that hold the code becomes less the more of them there are.
 */
const apartBelow = 3

/** The ground with the copies on it. */
interface Known extends Pick<Ground, 'zones'> {
  readonly kinds: Uint8Array
  readonly byZone: Float64Array
  /** To be worked out by whoever asks. */
  readonly zoneShares: Float64Array
  readonly zoneCosts: Float64Array
  readonly wireSteps: number
  /** What each kind is, and what it costs by these weights, while the version stands on so many motherships. */
  readonly motherships: number
  readonly weights: PreferenceTerms
  readonly kindTerms: readonly Omit<PreferenceTerms, 'zones'>[]
  readonly kindCosts: Float64Array
}

export class Standing {
  readonly #copies = new Map<Slot, number>()
  #total = 0
  #known: Known | undefined

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
  on(ground: () => Ground, weights: PreferenceTerms): Known {
    const motherships = this.#copies.size
    const known = this.#known ?? this.#laidOn(ground(), motherships, weights)
    if (known.motherships !== motherships || known.weights !== weights) {
      this.#known = { ...known, motherships, weights, ...kindsBy(known.wireSteps, motherships, weights) }
    } else this.#known = known
    return this.#known
  }

  /** The indexes of motherships, their zones or their wires have changed. */
  forget(): void {
    this.#known = undefined
  }

  #laidOn({ zones, zoneCount, newWires, wireSteps }: Ground, motherships: number, weights: PreferenceTerms): Known {
    const [byZone, zoneShares, zoneCosts] = [0, 1, 2].map(() => new Float64Array(zoneCount)) as Three
    const kinds = newWires.map(steps => steps << wiresShift)
    const byKind = kindsBy(wireSteps, motherships, weights)
    const known = { zones, kinds, byZone, zoneShares, zoneCosts, wireSteps, motherships, weights, ...byKind }
    for (const [slot, copies] of this.#copies) mark(known, slot, copies, true)
    return known
  }
}

type Three = [Float64Array, Float64Array, Float64Array]

function mark({ zones, kinds, byZone }: Known, { index }: Slot, copies: number, turns: boolean): void {
  if (index < 0) return
  byZone[zones[index]!]! += copies
  if (turns) kinds[index]! ^= hasCopy
}

function kindsBy(
  wireSteps: number,
  motherships: number,
  weights: PreferenceTerms,
): Pick<Known, 'kindTerms' | 'kindCosts'> {
  const kindTerms = Array.from({ length: (wireSteps + 1) << wiresShift }, (_, kind) => {
    const copy = (kind & hasCopy) !== 0
    const wires = wireSteps === 0 ? 0 : (kind >> wiresShift) / wireSteps
    const few = motherships < apartBelow
    return { apart: few && copy ? 1 : 0, code: !few && !copy ? apartBelow / motherships : 0, wires }
  })
  const costOf = ({ apart, code, wires }: Omit<PreferenceTerms, 'zones'>): number =>
    weights.apart * apart + weights.code * code + weights.wires * wires
  return { kindTerms, kindCosts: Float64Array.from(kindTerms, costOf) }
}
