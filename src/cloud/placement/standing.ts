/**
 * Where the copies of one component version stand: in which zones, on which motherships. Kept up with each copy, and
 * by index of the columns too for who was asked about, so that a scan need not look anything up.
 */
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
/** Steps fit above that bit. */
export const wireStepsMax = 120

export class Standing {
  readonly #copies = new Map<Slot, number>()
  #total = 0
  #ground: Ground | undefined
  #kinds = new Uint8Array(0)
  #byZone = new Float64Array(0)

  get total(): number {
    return this.#total
  }

  /** With a copy, registered or not. */
  get motherships(): number {
    return this.#copies.size
  }

  has(slot: Slot): boolean {
    return this.#copies.has(slot)
  }

  count(slot: Slot, sign: 1 | -1): void {
    const before = this.#copies.get(slot) ?? 0
    const after = before + sign
    this.#total += sign
    if (after === 0) this.#copies.delete(slot)
    else this.#copies.set(slot, after)
    if (this.#ground) this.#mark(slot, sign, before === 0 || after === 0)
  }

  /** Valid until the next copy is counted; `ground` is made anew where it was forgotten. */
  on(ground: () => Ground): { readonly ground: Ground; readonly kinds: Uint8Array; readonly byZone: Float64Array } {
    if (!this.#ground) {
      this.#ground = ground()
      this.#kinds = this.#ground.newWires.map(steps => steps << wiresShift)
      this.#byZone = new Float64Array(this.#ground.zoneCount)
      for (const [slot, copies] of this.#copies) this.#mark(slot, copies, true)
    }
    return { ground: this.#ground, kinds: this.#kinds, byZone: this.#byZone }
  }

  /** The indexes of motherships, their zones or their wires have changed. */
  forget(): void {
    this.#ground = undefined
  }

  #mark({ index }: Slot, copies: number, turns: boolean): void {
    if (index < 0) return
    this.#byZone[this.#ground!.zones[index]!]! += copies
    if (turns) this.#kinds[index]! ^= hasCopy
  }
}

export const copyAmong = (kind: number): boolean => (kind & hasCopy) !== 0
export const newWiresAmong = (kind: number): number => kind >> wiresShift
export const kindsOf = (wireSteps: number): number => (wireSteps + 1) << wiresShift
