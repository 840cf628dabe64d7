/**
 * A map with changes that are not in etcd yet: what the leader decides on while it fills a transaction. Reads see the
 * pending changes; the map beneath is neither copied nor touched, so a draft costs what was changed in it.
 */
import { type CloudMap, copiesOf, type Entry, fateOf, phaseOf } from './map.js'
import type { Order } from './order.js'
import type { Change, InstanceRecord, Kind, RecordOf } from './records.js'
import { type Held, MothershipTally, type Tally, VersionTally } from './tallies.js'

/** With what was there before. */
export type Logged = Change & { readonly before: object | undefined }

type Pending = Map<string, Entry<Kind> | null>

export class Draft implements CloudMap {
  readonly #pending = new Map<Kind, Pending>()
  readonly #log: Logged[] = []

  constructor(private readonly base: CloudMap) {}

  get beneath(): CloudMap {
    return this.base
  }

  /** Everything that was added, in order: whoever keeps sums takes what is new since it last looked. */
  get log(): readonly Logged[] {
    return this.#log
  }

  get order(): Order {
    return this.base.order
  }

  /** A pending record has no revision yet: 0, which no caller can have read, so that `If-Match` does not match it. */
  add(changes: Iterable<Change>): void {
    for (const change of changes) {
      const { kind, id, value } = change
      const before = this.get(kind, id)
      this.#log.push({ ...change, before: before?.value })
      const entry = value === null ? null : { value, created: before?.created ?? 0, modified: 0 }
      const pending = this.#pending.get(kind)
      if (pending) pending.set(id, entry)
      else this.#pending.set(kind, new Map([[id, entry]]))
    }
  }

  /** The last word for each key. */
  changes(): Change[] {
    return [...this.#pending].flatMap(([kind, pending]) =>
      [...pending].map(([id, entry]) => ({ kind, id, value: entry?.value ?? null }) as Change),
    )
  }

  get<K extends Kind>(kind: K, id = ''): Entry<K> | undefined {
    const pending = this.#pending.get(kind)?.get(id)
    if (pending === undefined) return this.base.get(kind, id)
    return (pending ?? undefined) as Entry<K> | undefined
  }

  *all<K extends Kind>(kind: K): Iterable<[string, Entry<K>]> {
    const pending = this.#pending.get(kind)
    for (const [id, entry] of this.base.all(kind)) if (!pending?.has(id)) yield [id, entry]
    for (const [id, entry] of pending ?? []) if (entry) yield [id, entry as Entry<K>]
  }

  count(kind: Kind): number {
    let count = this.base.count(kind)
    for (const [id, entry] of this.#pending.get(kind) ?? []) {
      count += (entry ? 1 : 0) - (this.base.get(kind, id) ? 1 : 0)
    }
    return count
  }

  instancesOf(componentVersion: string): Iterable<string> {
    const mine = (each: RecordOf<'instances'>): boolean => `${each.component}/${each.version}` === componentVersion
    return this.#overlay('instances', this.base.instancesOf(componentVersion), mine)
  }

  instancesOn(mothership: string): Iterable<string> {
    const mine = (each: RecordOf<'instances'>): boolean => copiesOf(each).includes(mothership)
    return this.#overlay('instances', this.base.instancesOn(mothership), mine)
  }

  heldOn(mothership: string): Held {
    const tally = new MothershipTally()
    for (const instance of this.#instances(this.instancesOn(mothership))) tally.add(instance)
    return tally.held
  }

  tallyOf(componentVersion: string): Tally {
    const tally = new VersionTally()
    for (const instance of this.#instances(this.instancesOf(componentVersion))) {
      tally.add(instance, phaseOf(this, instance))
      for (const mothership of copiesOf(instance)) tally.show(mothership, fateOf(this, instance, mothership), 1)
    }
    return tally.tally
  }

  #instances(ids: Iterable<string>): InstanceRecord[] {
    return [...ids].flatMap(id => this.get('instances', id)?.value ?? [])
  }

  versionsOf(component: string): Iterable<string> {
    return this.#overlay('components', this.base.versionsOf(component), each => each.id === component)
  }

  #overlay<K extends Kind>(kind: K, below: Iterable<string>, mine: (record: RecordOf<K>) => boolean): Iterable<string> {
    const pending = this.#pending.get(kind)
    if (!pending) return below
    const ids = [...below].filter(id => !pending.has(id))
    for (const [id, entry] of pending) if (entry && mine(entry.value as RecordOf<K>)) ids.push(id)
    return ids
  }
}
