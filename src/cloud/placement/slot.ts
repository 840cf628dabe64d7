/**
 * One mothership in the fleet: what stands on it, added up, and what is known of its load. Also of a mothership that is
 * not registered (yet, or any more) but named by instances: then without a record.
 */
import type { InstanceRecord, MothershipRecord, QuarantineRecord, Resources } from '../records.js'
import { type Host, isLarge, type MeasuredLoad } from './host.js'
import { Recent } from './recent.js'
import { add, become, nothing, type Sums } from './resources.js'
import { mixed } from './sample.js'

const noCopies = { all: 0, alone: 0 }

export class Slot {
  record: MothershipRecord | undefined
  connected = false
  /** Whether it takes anything at all. */
  open = false
  /** Its numbers in the columns are those of before. */
  toWrite = false
  readonly reserved: Sums = { cpu: 0, ram: 0, bandwidth: 0 }
  copies = 0
  #large = 0
  /** What was found out of its room, by need; forgotten when anything about it changes. */
  readonly appraised = new Map<string, number>()
  measured: MeasuredLoad | undefined
  /** Since the sample: what is committed, and what is tried. */
  readonly placedSince: Sums = { cpu: 0, ram: 0, bandwidth: 0 }
  readonly #since: Sums = { cpu: 0, ram: 0, bandwidth: 0 }
  readonly #tried: Sums = { cpu: 0, ram: 0, bandwidth: 0 }
  #copiesTried = 0
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

  /** A copy was placed here just now, and committed. */
  place(need: Resources, nowMs: number): void {
    this.recent.note(need, nowMs)
    add(this.#since, need)
    this.#sum()
  }

  /** A copy that may come to nothing; `sign` -1 when it has. */
  try(need: Resources, sign: 1 | -1): void {
    this.#copiesTried += sign
    if (this.#copiesTried === 0) become(this.#tried, nothing)
    else add(this.#tried, need, sign)
    this.#sum()
  }

  /** A copy that was tried is committed; `nowMs` undefined: it was placed long ago. */
  confirm(need: Resources, nowMs: number | undefined): void {
    if (nowMs !== undefined) {
      this.recent.note(need, nowMs)
      add(this.#since, need)
    }
    this.try(need, -1)
  }

  /** Rests on a sample of so long ago; undefined: on none. Returns whether anything is another than before. */
  rest(atMs: number | undefined): boolean {
    const since = atMs === undefined ? nothing : this.recent.since(atMs)
    const { cpu, ram, bandwidth } = this.#since
    if (since.cpu === cpu && since.ram === ram && since.bandwidth === bandwidth) return false
    become(this.#since, since)
    this.#sum()
    return true
  }

  #sum(): void {
    become(this.placedSince, this.#since)
    if (this.#copiesTried > 0) add(this.placedSince, this.#tried)
  }

  copiesOf(component: string): { readonly all: number; readonly alone: number } {
    return this.#byComponent.get(component) ?? noCopies
  }

  /** To be called with all that stands here when what it can hold has changed. */
  recount(instances: Iterable<InstanceRecord>): void {
    this.#large = 0
    for (const { need } of instances) if (this.record && isLarge(need, this.record.capacity)) this.#large++
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
    if (this.record && isLarge(need, this.record.capacity)) this.#large += sign
    if (this.copies === 0) this.#large = 0
    if (this.copies === 0) become(this.reserved, nothing)
    else add(this.reserved, need, sign)
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
