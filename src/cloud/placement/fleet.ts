/**
 * All motherships as placement sees them, kept up with the changes of the map so that a decision need not add up all
 * instances. Changes that are not committed yet can be tried: they count like any other until they are taken back.
 */
import { copiesOf } from '../map.js'
import {
  type Change,
  defaultSettings,
  type InstanceRecord,
  type Kind,
  type MothershipRecord,
  type QuarantineRecord,
  type Resources,
  type WiringRecord,
} from '../records.js'
import type { Columns, Limits } from './columns.js'
import { Distance } from './distance.js'
import { freshnessOf, type Host, type MeasuredLoad } from './host.js'
import { Population } from './population.js'
import { Preferences, type Reaches } from './preferences.js'
import { nothing, plus } from './resources.js'
import { Roster } from './roster.js'
import { isOpen } from './rules/index.js'
import { isRegistered, type Registered, Slot } from './slot.js'
import { Stock } from './stock.js'
import { kindsMax, Worth } from './worth.js'

type Undo = () => void
type InstanceChange = Extract<Replacing, { readonly kind: 'instances' }>
type Ages = Parameters<typeof freshnessOf>[1]

/** Kinds of records that placement goes by, in the order in which a whole map is best read. */
export const placementKinds = [
  'motherships',
  'sessions',
  'quarantine',
  'rainservers',
  'wiring',
  'instances',
] as const satisfies readonly Kind[]
const looksAt: ReadonlySet<Kind> = new Set(placementKinds)

/** A change, and the record that it takes the place of: of instances only that matters. */
export type Replacing = Change & { readonly before?: object | undefined }

export class Fleet {
  readonly roster = new Roster()
  readonly preferences: Preferences
  readonly #slots = new Map<string, Slot>()
  readonly distance = new Distance(() => this.#slots.values())
  /** How to take back what is tried; of an instance the change itself tells. */
  readonly #undo: (Undo | InstanceChange)[] = []
  /** Those whose numbers in the columns are those of before. */
  readonly #toWrite: Slot[] = []
  /** Those whose capacity has changed under what stands there: what is large on them is to be counted anew. */
  readonly #resized = new Set<Slot>()
  #limits: Limits = defaultSettings
  /** Counted from when it is asked for. */
  #population: Population | undefined
  #mean: Resources | undefined
  readonly #stock = new Stock()
  #worth: { readonly of: readonly Resources[]; readonly worth: Worth; readonly reference: Resources } | undefined

  constructor(reaches?: Reaches) {
    this.preferences = new Preferences(this.roster.registered, id => this.indexOf(id), reaches)
  }

  /** Registered motherships, lowest id first. */
  hosts(): readonly Host[] {
    return this.roster.sorted
  }

  host(id: string): Registered | undefined {
    const slot = this.#slots.get(id)
    return slot && isRegistered(slot) ? slot : undefined
  }

  /** By index of the columns. */
  at(index: number): Registered {
    return this.roster.registered[index]!
  }

  /** Up to date, until something changes. */
  get columns(): Columns {
    for (const slot of this.#toWrite) {
      slot.toWrite = false
      if (isRegistered(slot)) this.roster.columns.write(slot.index, slot, slot.open, this.#limits)
    }
    this.#toWrite.length = 0
    return this.roster.columns
  }

  get ids(): readonly string[] {
    return this.roster.ids
  }

  indexOf(id: string): number {
    return this.#slots.get(id)?.index ?? -1
  }

  /**
   * Committed changes; those that were tried, in the same order, are counted already and stay so. `placedAtMs`: when
   * copies that are new were placed; undefined when that is long ago.
   */
  apply(changes: Iterable<Replacing>, placedAtMs?: number): void {
    let confirmed = 0
    for (const change of changes) {
      if (!looksAt.has(change.kind)) continue
      if (confirmed < this.#undo.length) {
        if (this.#confirm(this.#undo[confirmed]!, change, placedAtMs)) {
          confirmed++
          continue
        }
        this.takeBack(confirmed)
      }
      if (change.kind !== 'instances') this.#apply(change)
      else this.#setInstance(change.before as InstanceRecord | undefined, change.value ?? undefined, placedAtMs)
    }
    this.takeBack(confirmed)
    this.#undo.length = 0
  }

  /** A change that may come to nothing. */
  try(change: Replacing): void {
    if (!looksAt.has(change.kind)) return
    if (change.kind === 'instances') {
      this.#tryInstance(change.before as InstanceRecord | undefined, change.value ?? undefined, 1)
      this.#undo.push(change)
    } else this.#undo.push(this.#apply(change))
  }

  /** How many changes are tried at the moment: the mark to which `takeBack` returns. */
  get tried(): number {
    return this.#undo.length
  }

  takeBack(mark: number): void {
    while (this.#undo.length > mark) {
      const last = this.#undo.pop()!
      if (typeof last === 'function') last()
      else this.#tryInstance((last.value ?? undefined) as InstanceRecord | undefined, last.before as InstanceRecord, -1)
    }
  }

  /** What was tried has come true: false when this is another change. */
  #confirm(tried: Undo | InstanceChange, change: Replacing, placedAtMs: number | undefined): boolean {
    if (typeof tried === 'function' || change.kind !== 'instances' || change.id !== tried.id) return false
    const [before, after] = [change.before as InstanceRecord | undefined, change.value ?? undefined]
    if (!countAlike(before, tried.before as InstanceRecord | undefined)) return false
    if (!countAlike(after, tried.value ?? undefined)) return false
    for (const mothership of after ? copiesOf(after) : noCopies) {
      if (before && copiesOf(before).includes(mothership)) continue
      this.#slots.get(mothership)?.confirm(after!.need, placedAtMs)
    }
    return true
  }

  /** A new look at the loads: what was placed before the sample is in it. */
  measure(loadOf: (mothership: string) => MeasuredLoad | undefined, nowMs: number, ages: Ages): void {
    for (const slot of this.roster.registered) {
      const load = loadOf(slot.id)
      const freshness = freshnessOf(load, ages)
      const before = slot.measured
      slot.measured = freshness === 'fresh' || freshness === 'ageing' ? load : undefined
      const more = slot.rest(slot.measured && nowMs - slot.measured.ageMs)
      if (more || !same(slot.measured ?? none, before ?? none)) this.#write(slot)
    }
  }

  /** Begins to count what runs: to be told all that does, once. */
  populate(instances: () => Iterable<InstanceRecord>): void {
    if (this.#population) return
    this.#population = new Population(kindsMax)
    for (const { need } of instances()) this.#population.count(need, 1)
  }

  /** To be called before anybody asks who holds something large, with what stands where. */
  recount(instancesOn: (mothership: string) => Iterable<InstanceRecord>): void {
    for (const slot of this.#resized) slot.recount(instancesOn(slot.id))
    this.#resized.clear()
  }

  /** What room is worth by what runs. */
  get worth(): Worth {
    const of = this.#population?.frequent ?? []
    const reference = this.#reference()
    if (this.#worth?.of !== of || !same(this.#worth.reference, reference)) {
      this.#worth = { of, worth: new Worth(of, reference), reference }
      for (const slot of this.roster.registered) {
        slot.appraised.clear()
        this.#stock.touch(slot)
      }
    }
    return this.#worth.worth
  }

  /** How much of what usually runs those in use have room for, on average (stock.ts). */
  get stock(): number {
    return this.#stock.share(this.worth, this.#limits)
  }

  /** What was found out of its room, by need. */
  appraised(host: Host): Map<string, number> {
    return (host as Registered).appraised
  }

  /** The capacity that motherships have on average. */
  #reference(): Resources {
    if (!this.#mean) {
      let sum = nothing
      for (const { record } of this.roster.registered) sum = plus(sum, record.capacity)
      const count = Math.max(1, this.roster.registered.length)
      this.#mean = { cpu: sum.cpu / count, ram: sum.ram / count, bandwidth: sum.bandwidth / count }
    }
    return this.#mean
  }

  /** Where the ceilings are from now on, and how much may be given away. */
  limit(limits: Limits): void {
    if (same(limits.ceilings, this.#limits.ceilings) && same(limits.overcommit, this.#limits.overcommit)) return
    this.#limits = limits
    for (const slot of this.roster.registered) this.#write(slot)
  }

  /** When somebody looks: much changes several times until then. */
  #write(slot: Slot): void {
    if (slot.appraised.size > 0) slot.appraised.clear()
    if (this.#population) this.#stock.touch(slot)
    if (slot.toWrite) return
    slot.toWrite = true
    this.#toWrite.push(slot)
  }

  #apply(change: Change): Undo {
    switch (change.kind) {
      case 'motherships':
        return this.#setRecord(change.id, change.value ?? undefined)
      case 'sessions':
        return this.#setConnected(change.id, change.value !== null)
      case 'quarantine':
        return this.#setQuarantine(change.id, change.value ?? undefined)
      case 'rainservers':
        return this.#setRainServer(change.id, change.value !== null)
      case 'wiring':
        return this.#setWiring(change.id, change.value ?? undefined)
      default:
        return () => undefined
    }
  }

  #setInstance(
    before: InstanceRecord | undefined,
    after: InstanceRecord | undefined,
    placedAtMs: number | undefined,
  ): void {
    this.#recount(before, after)
    if (after && placedAtMs !== undefined) {
      for (const mothership of copiesOf(after)) {
        if (!before || !copiesOf(before).includes(mothership)) this.#slot(mothership).place(after.need, placedAtMs)
      }
    }
    this.#writeThose(before)
    this.#writeThose(after)
  }

  /** `sign` -1: back from what was tried. */
  #tryInstance(before: InstanceRecord | undefined, after: InstanceRecord | undefined, sign: 1 | -1): void {
    this.#recount(before, after)
    const [without, tried] = sign === 1 ? [before, after] : [after, before]
    for (const mothership of tried ? copiesOf(tried) : noCopies) {
      if (!without || !copiesOf(without).includes(mothership)) this.#slots.get(mothership)?.try(tried!.need, sign)
    }
    this.#writeThose(before)
    this.#writeThose(after)
  }

  #writeThose(instance: InstanceRecord | undefined): void {
    for (const mothership of instance ? copiesOf(instance) : noCopies) {
      const slot = this.#slots.get(mothership)
      if (slot) this.#write(slot)
    }
  }

  #recount(before: InstanceRecord | undefined, after: InstanceRecord | undefined): void {
    if (this.#population) {
      if (after) this.#population.count(after.need, 1)
      if (before) this.#population.count(before.need, -1)
    }
    for (const mothership of after ? copiesOf(after) : noCopies) this.#count(this.#slot(mothership), after!, 1)
    for (const mothership of before ? copiesOf(before) : noCopies) {
      const slot = this.#slot(mothership)
      this.#count(slot, before!, -1)
      this.#drop(slot)
    }
  }

  #count(slot: Slot, instance: InstanceRecord, sign: 1 | -1): void {
    const { component, version } = instance
    const here = slot.count(instance, sign)
    this.preferences.count(slot, component, version, sign)
    this.distance.count(slot, instance, here, sign)
  }

  #setRecord(id: string, after: MothershipRecord | undefined): Undo {
    const slot = this.#slot(id)
    const before = slot.record
    slot.record = after
    if (after && slot.copies > 0 && !same(after.capacity, before?.capacity ?? none)) this.#resized.add(slot)
    if (!before && after) this.roster.register(slot as Registered)
    if (before && !after) this.roster.unregister(slot)
    slot.open = isRegistered(slot) && isOpen(slot)
    this.#write(slot)
    this.#forget()
    this.preferences.forget()
    this.#drop(slot)
    return () => void this.#setRecord(id, before)
  }

  /** By the key of the session: only those of motherships count. */
  #setConnected(key: string, after: boolean): Undo {
    if (!key.startsWith(sessionPrefix)) return () => undefined
    const slot = this.#slot(key.slice(sessionPrefix.length))
    const before = slot.connected
    slot.connected = after
    slot.open = isRegistered(slot) && isOpen(slot)
    this.#write(slot)
    if (before !== after) this.#forget()
    this.#drop(slot)
    return () => void this.#setConnected(key, before)
  }

  /** By `mothership/component/version`. */
  #setQuarantine(key: string, after: QuarantineRecord | undefined): Undo {
    const slash = key.indexOf('/')
    const [slot, version] = [this.#slot(key.slice(0, slash)), key.slice(slash + 1)]
    const before = this.distance.quarantine(slot, version, after)
    this.#drop(slot)
    return () => void this.#setQuarantine(key, before)
  }

  #setRainServer(id: string, after: boolean): Undo {
    const before = this.preferences.setRainServer(id, after)
    return () => void this.#setRainServer(id, before)
  }

  #setWiring(rainServer: string, after: WiringRecord | undefined): Undo {
    const before = this.preferences.setWiring(rainServer, after)
    return () => void this.#setWiring(rainServer, before)
  }

  /** What was found out about the motherships as such. */
  #forget(): void {
    this.#mean = undefined
    this.roster.forget()
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

/** Whether it is the same for every sum, though it may be another object. */
function countAlike(a: InstanceRecord | undefined, b: InstanceRecord | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return (
    a.component === b.component &&
    a.version === b.version &&
    a.placement.antiAffinity === b.placement.antiAffinity &&
    same(a.need, b.need) &&
    sameList(a.inSync, b.inSync) &&
    sameList(a.learners, b.learners)
  )
}

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((each, at) => each === b[at])

/** Unlike any load, and itself. */
const none: Resources = { cpu: -1, ram: -1, bandwidth: -1 }
const noCopies: readonly string[] = []
const sessionPrefix = 'mothership/'
const same = (a: Resources, b: Resources): boolean => a.cpu === b.cpu && a.ram === b.ram && a.bandwidth === b.bandwidth
