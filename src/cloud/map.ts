/**
 * The map of the cloud in a replica's memory: every record of `map/` at one revision (S1), with the few indexes that
 * decisions need. `CloudMap` is what the pure centre reads; it is a live view, so whoever reads it does so in one
 * synchronous stretch and never across an `await`.
 */
import { byId } from './ids.js'
import type { Order } from './order.js'
import { nothing, plus } from './placement/resources.js'
import type { Change, Kind, RecordOf, Resources } from './records.js'

/** A record and etcd's revisions of its key. Never changed in place: a new version is a new object. */
export interface Entry<K extends Kind> {
  readonly value: RecordOf<K>
  readonly created: number
  readonly modified: number
}

export interface Held {
  readonly instances: number
  readonly reserved: Resources
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
  /** Ids `id/version` of every registered version of a component. */
  versionsOf(component: string): Iterable<string>
}

/** Ids of a kind, lowest first. */
export const sortedIds = (map: CloudMap, kind: Kind): string[] => [...map.all(kind)].map(([id]) => id).sort(byId)

export const copiesOf = (instance: RecordOf<'instances'>): readonly string[] => [
  ...instance.inSync,
  ...instance.learners,
]

export const holdsNothing: Held = { instances: 0, reserved: nothing }

/** With an instance more, or less. */
export const holding = (held: Held, instance: RecordOf<'instances'>, sign: 1 | -1 = 1): Held => ({
  instances: held.instances + sign,
  reserved: plus(held.reserved, instance.need, sign),
})

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

/** A change with the revisions that etcd gave it, as a watch delivers it. */
export type Applied = Change & { readonly created: number; readonly modified: number }

export class MemoryMap implements CloudMap {
  #revision = 0
  readonly #kinds = new Map<Kind, Map<string, Entry<Kind>>>()
  readonly #byComponent = new Index()
  readonly #byMothership = new Index()
  readonly #versions = new Index()
  readonly #held = new Map<string, Held>()

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
    return this.#byComponent.get(componentVersion)
  }

  instancesOn(mothership: string): ReadonlySet<string> {
    return this.#byMothership.get(mothership)
  }

  heldOn(mothership: string): Held {
    return this.#held.get(mothership) ?? holdsNothing
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
    for (const part of [this.#kinds, this.#byComponent, this.#byMothership, this.#versions, this.#held]) part.clear()
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
    let records = this.#kinds.get(change.kind)
    if (!records) this.#kinds.set(change.kind, (records = new Map()))
    const before = records.get(change.id)
    if (before) this.#unindex(change.kind, change.id, before)
    if (change.value === null) {
      records.delete(change.id)
      return
    }
    const entry: Entry<Kind> = { value: change.value, created: change.created, modified: change.modified }
    records.set(change.id, entry)
    this.#index(change.kind, change.id, entry)
  }

  #index(kind: Kind, id: string, entry: Entry<Kind>): void {
    if (kind === 'instances') {
      const instance = entry.value as RecordOf<'instances'>
      this.#byComponent.add(`${instance.component}/${instance.version}`, id)
      for (const mothership of copiesOf(instance)) {
        this.#byMothership.add(mothership, id)
        this.#held.set(mothership, holding(this.heldOn(mothership), instance))
      }
    } else if (kind === 'components') this.#versions.add((entry.value as RecordOf<'components'>).id, id)
  }

  #unindex(kind: Kind, id: string, entry: Entry<Kind>): void {
    if (kind === 'instances') {
      const instance = entry.value as RecordOf<'instances'>
      this.#byComponent.delete(`${instance.component}/${instance.version}`, id)
      for (const mothership of copiesOf(instance)) {
        this.#byMothership.delete(mothership, id)
        const left = holding(this.heldOn(mothership), instance, -1)
        if (left.instances > 0) this.#held.set(mothership, left)
        else this.#held.delete(mothership)
      }
    } else if (kind === 'components') this.#versions.delete((entry.value as RecordOf<'components'>).id, id)
  }
}
