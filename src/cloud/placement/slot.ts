/**
 * One mothership in the fleet: what stands on it, added up, and what is known of its load. Also of a mothership that is
 * not registered (yet, or any more) but named by instances: then without a record.
 */
import type { InstanceRecord, MothershipRecord, QuarantineRecord, Resources } from '../records.js'
import { type Host, isLarge, type MeasuredLoad } from './host.js'
import { Recent } from './recent.js'
import { nothing, plus } from './resources.js'
import { mixed } from './sample.js'

const noCopies = { all: 0, alone: 0 }

export class Slot {
  record: MothershipRecord | undefined
  connected = false
  reserved = nothing
  copies = 0
  #large = 0
  /** What was found out of its room, by need; forgotten when anything about it changes. */
  readonly appraised = new Map<string, number>()
  measured: MeasuredLoad | undefined
  placedSince = nothing
  #since = nothing
  #tried = nothing
  /** Among the columns; -1 while it is not registered. */
  index = -1
  readonly order: number
  readonly recent = new Recent()
  /** By `component/version`. */
  readonly quarantines = new Map<string, QuarantineRecord>()
  readonly #byComponent = new Map<string, { all: number; alone: number }>()

  constructor(readonly id: string) {
    this.order = mixed(id)
  }

  /** Placed since the sample, and committed. */
  get since(): Resources {
    return this.#since
  }

  set since(after: Resources) {
    this.#since = after
    this.placedSince = this.#tried === nothing ? after : plus(after, this.#tried)
  }

  get tried(): Resources {
    return this.#tried
  }

  set tried(after: Resources) {
    this.#tried = after
    this.placedSince = after === nothing ? this.#since : plus(this.#since, after)
  }

  copiesOf(component: string): { readonly all: number; readonly alone: number } {
    return this.#byComponent.get(component) ?? noCopies
  }

  get holdsLarge(): boolean {
    return this.#large > 0
  }

  quarantineOf(component: string, version: string): QuarantineRecord | undefined {
    return this.quarantines.size === 0 ? undefined : this.quarantines.get(`${component}/${version}`)
  }

  /** Returns how many copies of the component are here now. */
  count({ component, need, placement }: InstanceRecord, sign: 1 | -1): number {
    this.copies += sign
    // Counted by what it can hold at the moment: should that change meanwhile, the count is right again when it is empty.
    if (this.record && isLarge(need, this.record.capacity)) this.#large = Math.max(0, this.#large + sign)
    if (this.copies === 0) this.#large = 0
    this.reserved = this.copies === 0 ? nothing : plus(this.reserved, need, sign)
    let counted = this.#byComponent.get(component)
    if (!counted) this.#byComponent.set(component, (counted = { all: 0, alone: 0 }))
    counted.all += sign
    if (placement.antiAffinity === 'component') counted.alone += sign
    if (counted.all === 0) this.#byComponent.delete(component)
    return counted.all
  }

  get unused(): boolean {
    return this.record === undefined && this.copies === 0 && !this.connected && this.quarantines.size === 0
  }
}

export type Registered = Slot & Host

export const isRegistered = (slot: Slot): slot is Registered => slot.record !== undefined
