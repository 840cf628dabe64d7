/**
 * All motherships as placement sees them, kept up with the changes of the map so that a decision need not add up all
 * instances. Changes that are not committed yet can be tried: they count like any other until they are taken back.
 */
import { byId } from '../ids.js'
import { copiesOf } from '../map.js'
import type { Change, InstanceRecord, MothershipRecord, Resources } from '../records.js'
import { freshnessOf, type Host, type MeasuredLoad } from './host.js'
import { Recent } from './recent.js'
import { nothing, plus } from './resources.js'

const noCopies = { all: 0, alone: 0 }

/** Also of a mothership that is not registered (yet, or any more) but named by instances: then without a record. */
class Slot {
  record: MothershipRecord | undefined
  connected = false
  reserved = nothing
  copies = 0
  measured: MeasuredLoad | undefined
  /** Placed since the sample, committed and tried. */
  since = nothing
  tried = nothing
  readonly recent = new Recent()
  readonly #byComponent = new Map<string, { all: number; alone: number }>()

  constructor(readonly id: string) {}

  get placedSince(): Resources {
    return this.tried === nothing ? this.since : plus(this.since, this.tried)
  }

  copiesOf(component: string): { readonly all: number; readonly alone: number } {
    return this.#byComponent.get(component) ?? noCopies
  }

  count({ component, need, placement }: InstanceRecord, sign: 1 | -1): void {
    this.copies += sign
    this.reserved = this.copies === 0 ? nothing : plus(this.reserved, need, sign)
    let counted = this.#byComponent.get(component)
    if (!counted) this.#byComponent.set(component, (counted = { all: 0, alone: 0 }))
    counted.all += sign
    if (placement.antiAffinity === 'component') counted.alone += sign
    if (counted.all === 0) this.#byComponent.delete(component)
  }

  get unused(): boolean {
    return this.record === undefined && this.copies === 0 && !this.connected
  }
}

type Undo = () => void

/** A change, and the record that it takes the place of: of instances only that matters. */
export type Replacing = Change & { readonly before?: object | undefined }

export class Fleet {
  readonly #slots = new Map<string, Slot>()
  readonly #undo: Undo[] = []
  #sorted: readonly Host[] | undefined

  /** Registered motherships, lowest id first. */
  hosts(): readonly Host[] {
    this.#sorted ??= [...this.#slots.values()]
      .filter((slot): slot is Slot & Host => slot.record !== undefined)
      .sort((a, b) => byId(a.id, b.id))
    return this.#sorted
  }

  host(id: string): Host | undefined {
    const slot = this.#slots.get(id)
    return slot?.record === undefined ? undefined : (slot as Slot & Host)
  }

  /** Committed changes. `placedAtMs`: when copies that are new were placed; undefined when that is long ago. */
  apply(changes: Iterable<Replacing>, placedAtMs?: number): void {
    this.takeBack(0)
    for (const change of changes) {
      this.#apply(change, (slot, need) => {
        if (placedAtMs === undefined) return
        slot.recent.note(need, placedAtMs)
        slot.since = plus(slot.since, need)
      })
    }
  }

  /** A change that may come to nothing. */
  try(change: Replacing): void {
    this.#undo.push(
      this.#apply(change, (slot, need) => {
        slot.tried = plus(slot.tried, need)
      }),
    )
  }

  /** How many changes are tried at the moment: the mark to which `takeBack` returns. */
  get tried(): number {
    return this.#undo.length
  }

  takeBack(mark: number): void {
    while (this.#undo.length > mark) this.#undo.pop()!()
  }

  /** A new look at the loads: what was placed before the sample is in it. */
  measure(loadOf: (mothership: string) => MeasuredLoad | undefined, nowMs: number): void {
    for (const slot of this.#slots.values()) {
      const load = loadOf(slot.id)
      const freshness = freshnessOf(load)
      slot.measured = freshness === 'fresh' || freshness === 'ageing' ? load : undefined
      slot.since = slot.measured ? slot.recent.since(nowMs - slot.measured.ageMs) : nothing
    }
  }

  #apply(change: Replacing, onPlaced: (slot: Slot, need: Resources) => void): Undo {
    switch (change.kind) {
      case 'instances':
        return this.#setInstance(change.before as InstanceRecord | undefined, change.value ?? undefined, onPlaced)
      case 'motherships':
        return this.#setRecord(change.id, change.value ?? undefined)
      case 'sessions':
        return this.#setConnected(change.id, change.value !== null)
      default:
        return () => undefined
    }
  }

  #setInstance(
    before: InstanceRecord | undefined,
    after: InstanceRecord | undefined,
    onPlaced: (slot: Slot, need: Resources) => void,
  ): Undo {
    const triedBefore: [Slot, Resources][] = []
    this.#recount(before, after)
    for (const mothership of after ? copiesOf(after) : []) {
      if (before && copiesOf(before).includes(mothership)) continue
      const slot = this.#slot(mothership)
      triedBefore.push([slot, slot.tried])
      onPlaced(slot, after!.need)
    }
    return () => {
      for (const [slot, tried] of triedBefore) slot.tried = tried
      this.#recount(after, before)
    }
  }

  #recount(before: InstanceRecord | undefined, after: InstanceRecord | undefined): void {
    for (const mothership of after ? copiesOf(after) : []) this.#slot(mothership).count(after!, 1)
    for (const mothership of before ? copiesOf(before) : []) {
      const slot = this.#slot(mothership)
      slot.count(before!, -1)
      this.#drop(slot)
    }
  }

  #setRecord(id: string, after: MothershipRecord | undefined): Undo {
    const slot = this.#slot(id)
    const before = slot.record
    slot.record = after
    if ((before === undefined) !== (after === undefined)) this.#sorted = undefined
    this.#drop(slot)
    return () => void this.#setRecord(id, before)
  }

  /** By the key of the session: only those of motherships count. */
  #setConnected(key: string, after: boolean): Undo {
    if (!key.startsWith(sessionPrefix)) return () => undefined
    const slot = this.#slot(key.slice(sessionPrefix.length))
    const before = slot.connected
    slot.connected = after
    this.#drop(slot)
    return () => void this.#setConnected(key, before)
  }

  #slot(id: string): Slot {
    let slot = this.#slots.get(id)
    if (!slot) this.#slots.set(id, (slot = new Slot(id)))
    return slot
  }

  #drop(slot: Slot): void {
    if (slot.unused) this.#slots.delete(slot.id)
  }
}

const sessionPrefix = 'mothership/'
