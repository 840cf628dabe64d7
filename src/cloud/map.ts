/**
 * The map of the cloud in a replica's memory: every record of `map/` at one revision (S1), with the few indexes that
 * decisions need. `CloudMap` is what the pure centre reads; it is a live view, so whoever reads it does so in one
 * synchronous stretch and never across an `await`.
 */
import { byId } from './ids.js'
import type { Order } from './order.js'
import type { Change, InstanceRecord, Kind, ObservedRecord, Phase, RecordOf } from './records.js'
import { type Fate, type Held, holdsNothing, MothershipTally, noTally, type Tally, VersionTally } from './tallies.js'

/** A record and etcd's revisions of its key. Never changed in place: a new version is a new object. */
export interface Entry<K extends Kind> {
  readonly value: RecordOf<K>
  readonly created: number
  readonly modified: number
}

export interface CloudMap {
  readonly order: Order
  get<K extends Kind>(kind: K, id?: string): Entry<K> | undefined
  /** In no order that may be relied on. */
  all<K extends Kind>(kind: K): Iterable<[id: string, entry: Entry<K>]>
  count(kind: Kind): number
  /** Ids of the instances of `id/version` (normalised). */
  instancesOf(componentVersion: string): Iterable<string>
  /** Ids of the instances with a copy (in whatever role) on this mothership. */
  instancesOn(mothership: string): Iterable<string>
  /** How many instances have a copy on this mothership, and what they need together; known, not counted. */
  heldOn(mothership: string): Held
  /** How many instances there are of `id/version` (normalised), and where; known, not counted. */
  tallyOf(componentVersion: string): Tally
  /** Ids `id/version` of every registered version of a component. */
  versionsOf(component: string): Iterable<string>
}

/** Ids of a kind, lowest first. */
export const sortedIds = (map: CloudMap, kind: Kind): string[] => [...map.all(kind)].map(([id]) => id).sort(byId)

export const copiesOf = ({ inSync, learners }: RecordOf<'instances'>): readonly string[] =>
  learners.length === 0 ? inSync : [...inSync, ...learners]

const none: ReadonlySet<string> = new Set()

class Index {
  readonly #sets = new Map<string, Set<string>>()
  get(key: string): ReadonlySet<string> {
    return this.#sets.get(key) ?? none
  }
  add(key: string, id: string): void {
    const set = this.#sets.get(key)
    if (set) set.add(id)
    else this.#sets.set(key, new Set([id]))
  }
  clear(): void {
    this.#sets.clear()
  }
  delete(key: string, id: string): void {
    const set = this.#sets.get(key)
    if (set?.delete(id) && set.size === 0) this.#sets.delete(key)
  }
}

/** That of the primary copy. */
export const phaseOf = (map: CloudMap, { id, primary }: InstanceRecord): Phase =>
  map.get('observed', `${primary}/${id}`)?.value.phase ?? 'placed'

/** What becomes of a copy: stopped with its instance, moved away, or there for pages. A learner shows nothing yet. */
export function fateOf(map: CloudMap, { id, inSync }: InstanceRecord, mothership: string): Fate {
  if (map.count('stops') > 0 && map.get('stops', id)) return 'stopping'
  if (map.get('observed', `${mothership}/${id}`)?.value.phase !== 'running' || !inSync.includes(mothership)) return
  const move = map.count('moves') > 0 ? map.get('moves', id)?.value : undefined
  return move?.from === mothership && !move.over ? 'leaving' : 'serving'
}

/** A change with the revisions that etcd gave it, as a watch delivers it; once it is applied, what was there before. */
export type Applied = Change & { readonly created: number; readonly modified: number; before?: object }

type Records = Map<string, Entry<Kind>>

export class MemoryMap implements CloudMap {
  #revision = 0
  readonly #kinds = new Map<Kind, Records>()
  /** By component, then version. */
  readonly #byVersion = new Map<string, Map<string, VersionTally>>()
  readonly #byMothership = new Map<string, MothershipTally>()
  readonly #versions = new Index()

  get order(): Order {
    return { era: this.get('era')?.value.era ?? 1, revision: this.#revision }
  }

  get<K extends Kind>(kind: K, id = ''): Entry<K> | undefined {
    return this.#kinds.get(kind)?.get(id) as Entry<K> | undefined
  }

  all<K extends Kind>(kind: K): Iterable<[string, Entry<K>]> {
    return (this.#kinds.get(kind) ?? new Map()) as Map<string, Entry<K>>
  }

  count(kind: Kind): number {
    return this.#kinds.get(kind)?.size ?? 0
  }

  instancesOf(componentVersion: string): ReadonlySet<string> {
    return this.#tally(componentVersion)?.ids ?? none
  }

  instancesOn(mothership: string): ReadonlySet<string> {
    return this.#byMothership.get(mothership)?.ids ?? none
  }

  heldOn(mothership: string): Held {
    return this.#byMothership.get(mothership)?.held ?? holdsNothing
  }

  tallyOf(componentVersion: string): Tally {
    return this.#tally(componentVersion)?.tally ?? noTally
  }

  versionsOf(component: string): ReadonlySet<string> {
    return this.#versions.get(component)
  }

  /** Applies all changes of one revision (or of a snapshot) together. Revisions never go back. */
  apply(changes: Iterable<Applied>, revision: number): void {
    for (const change of changes) this.#applyOne(change)
    this.#revision = Math.max(this.#revision, revision)
  }

  /** One record of a snapshot that is not complete yet: the revision stays as it is. */
  put(change: Applied): void {
    this.#applyOne(change)
  }

  clear(): void {
    this.#revision = 0
    for (const part of [this.#kinds, this.#byVersion, this.#byMothership, this.#versions]) part.clear()
  }

  /** Kinds of which there is at least one. */
  kinds(): Kind[] {
    return [...this.#kinds].filter(([, records]) => records.size > 0).map(([kind]) => kind)
  }

  /** For a snapshot of a restored store, where the revision may be a lower one than before. */
  resetRevision(revision: number): void {
    this.#revision = revision
  }

  #applyOne(change: Applied): void {
    const { kind, id, value } = change
    let records = this.#kinds.get(kind)
    if (!records) this.#kinds.set(kind, (records = new Map()))
    const before = records.get(id)?.value
    if (before) change.before = before
    // Phases and fates are counted for the instances as they stand beside what is observed of them.
    const shown = kind === 'stops' || kind === 'moves' ? this.get('instances', id)?.value : undefined
    if (shown) this.#show(shown, -1)
    if (kind === 'observed') this.#observe(id, before as ObservedRecord | undefined, value)
    else if (before) this.#unindex(kind, id, before)
    if (value === null) records.delete(id)
    else {
      records.set(id, { value, created: change.created, modified: change.modified })
      if (kind === 'instances') this.#indexInstance(value)
      else if (kind === 'components') this.#versions.add(value.id, id)
    }
    if (kind === 'observed') this.#showObserved(id, 1)
    if (shown) this.#show(shown, 1)
  }

  /** What becomes of its copies, counted or taken back. */
  #show(instance: InstanceRecord, by: 1 | -1): void {
    // Nothing is observed yet while a million instances are loaded.
    if (this.count('observed') === 0 && this.count('stops') === 0) return
    const tally = this.#tallyFor(instance)
    for (const mothership of copiesOf(instance)) tally.show(mothership, fateOf(this, instance, mothership), by)
  }

  #showObserved(id: string, by: 1 | -1): void {
    const slash = id.indexOf('/')
    const instance = this.get('instances', id.slice(slash + 1))?.value
    const mothership = id.slice(0, slash)
    if (!instance || !copiesOf(instance).includes(mothership)) return
    this.#tallyFor(instance).show(mothership, fateOf(this, instance, mothership), by)
  }

  #indexInstance(instance: InstanceRecord): void {
    this.#tallyFor(instance).add(instance, this.#phaseOf(instance))
    this.#show(instance, 1)
    for (const mothership of instance.inSync) this.#mothership(mothership).add(instance)
    for (const mothership of instance.learners) this.#mothership(mothership).add(instance)
  }

  #unindex(kind: Kind, id: string, before: RecordOf<Kind>): void {
    if (kind === 'instances') this.#unindexInstance(before as InstanceRecord)
    else if (kind === 'components') this.#versions.delete((before as RecordOf<'components'>).id, id)
  }

  #unindexInstance(instance: InstanceRecord): void {
    const { component, version } = instance
    const tally = this.#tallyFor(instance)
    this.#show(instance, -1)
    tally.delete(instance, this.#phaseOf(instance))
    if (tally.ids.size === 0) this.#byVersion.get(component)?.delete(version)
    for (const mothership of copiesOf(instance)) {
      const on = this.#mothership(mothership)
      on.delete(instance)
      if (on.ids.size === 0) this.#byMothership.delete(mothership)
    }
  }

  #observe(id: string, before: ObservedRecord | undefined, after: ObservedRecord | null): void {
    this.#showObserved(id, -1)
    const slash = id.indexOf('/')
    const instance = this.get('instances', id.slice(slash + 1))?.value
    if (instance?.primary !== id.slice(0, slash)) return
    this.#tallyFor(instance).move(before?.phase ?? 'placed', after?.phase ?? 'placed')
  }

  /** Nothing is observed yet while a million instances are loaded. */
  #phaseOf(instance: InstanceRecord): Phase {
    return this.count('observed') === 0 ? 'placed' : phaseOf(this, instance)
  }

  #tally(componentVersion: string): VersionTally | undefined {
    const slash = componentVersion.lastIndexOf('/')
    return this.#byVersion.get(componentVersion.slice(0, slash))?.get(componentVersion.slice(slash + 1))
  }

  #tallyFor({ component, version }: InstanceRecord): VersionTally {
    let versions = this.#byVersion.get(component)
    if (!versions) this.#byVersion.set(component, (versions = new Map()))
    let tally = versions.get(version)
    if (!tally) versions.set(version, (tally = new VersionTally()))
    return tally
  }

  #mothership(id: string): MothershipTally {
    let tally = this.#byMothership.get(id)
    if (!tally) this.#byMothership.set(id, (tally = new MothershipTally()))
    return tally
  }
}
