/**
 * The key space of the in-memory twin: every version of every key, by revision, until it is compacted. Plain data
 * without clock or promise, so that time and faults stay in the rooms around it. Keys are ordered as text, which for
 * the ASCII of our keys is the order of etcd's bytes.
 */
import { EtcdFailure, type KeyValue, type RangeRequest, type WatchEvent } from './etcd.js'

interface Version {
  readonly modified: number
  /** Null: deleted at this revision. */
  readonly item: KeyValue | null
}

export interface News {
  readonly events: readonly WatchEvent[]
  /** Where the next question goes on. */
  readonly next: number
}

/** As many revisions as etcd puts in one response to a watch that is behind. */
const newsRevisionsMax = 1_000

export class KeySpace {
  #revision = 1
  #compacted = 0
  readonly #keys: string[] = []
  readonly #versions = new Map<string, Version[]>()
  #history: WatchEvent[] = []

  get revision(): number {
    return this.#revision
  }

  get compacted(): number {
    return this.#compacted
  }

  /** The newest version, that of the revision not sealed yet included. */
  get(key: string): KeyValue | undefined {
    return this.#versions.get(key)?.at(-1)?.item ?? undefined
  }

  range(request: RangeRequest): { items: KeyValue[]; count: number; more: boolean } {
    const { key, end, revision = this.#revision, limit = 0, countOnly = false, keysOnly = false } = request
    this.#checkReadable(revision)
    const keys = end === undefined ? [key] : this.#keys.slice(this.#indexOf(key), this.#indexOf(end))
    const all = keys.flatMap(each => this.#versionAt(each, revision)?.item ?? [])
    if (countOnly) return { items: [], count: all.length, more: false }
    const asked = limit > 0 ? all.slice(0, limit) : all
    const items = keysOnly ? asked.map(each => ({ ...each, value: new Uint8Array() })) : asked
    return { items, count: all.length, more: items.length < all.length }
  }

  put(key: string, value: Uint8Array, lease: string): void {
    const modified = this.#revision + 1
    const created = this.get(key)?.created ?? modified
    this.#add(key, { modified, item: { key, value: Buffer.from(value), created, modified, lease } })
  }

  /** Deleting what is not there changes nothing, and raises no revision. */
  delete(key: string): void {
    if (this.get(key)) this.#add(key, { modified: this.#revision + 1, item: null })
  }

  /** What was written since the last time becomes one revision. False when nothing was. */
  seal(): boolean {
    if ((this.#history.at(-1)?.modified ?? 0) <= this.#revision) return false
    this.#revision++
    return true
  }

  /** Events of complete revisions, a bounded number at a time. Undefined: what was asked for is compacted. */
  news(key: string, end: string, from: number): News | undefined {
    if (from < this.#compacted) return undefined
    const next = Math.max(from, Math.min(this.#revision + 1, from + newsRevisionsMax))
    const events: WatchEvent[] = []
    for (let i = this.#history.findLastIndex(each => each.modified < from) + 1; i < this.#history.length; i++) {
      const event = this.#history[i]!
      if (event.modified >= next) break
      if (event.key >= key && event.key < end) events.push(event)
    }
    return { events, next }
  }

  compact(revision: number): void {
    this.#checkReadable(revision)
    this.#compacted = revision
    this.#history = this.#history.filter(each => each.modified >= revision)
    for (const [key, versions] of [...this.#versions]) this.#compactKey(key, versions, revision)
  }

  #compactKey(key: string, versions: readonly Version[], revision: number): void {
    const visible = versions.findLastIndex(each => each.modified <= revision)
    const kept = versions.filter((each, index) => index > visible || (index === visible && each.item !== null))
    if (kept.length > 0) {
      this.#versions.set(key, kept)
      return
    }
    this.#versions.delete(key)
    this.#keys.splice(this.#indexOf(key), 1)
  }

  #checkReadable(revision: number): void {
    if (revision < this.#compacted) throw new EtcdFailure('compacted', false, 'required revision has been compacted')
    if (revision > this.#revision) throw new EtcdFailure('compacted', false, 'required revision is a future revision')
  }

  #add(key: string, version: Version): void {
    const versions = this.#versions.get(key)
    if (versions) versions.push(version)
    else {
      this.#versions.set(key, [version])
      this.#keys.splice(this.#indexOf(key), 0, key)
    }
    const { item, modified } = version
    this.#history.push({ key, value: item?.value ?? null, created: item?.created ?? 0, modified })
  }

  #versionAt(key: string, revision: number): Version | undefined {
    return this.#versions.get(key)?.findLast(each => each.modified <= revision)
  }

  /** Where the key is, or would be, in the order of keys. */
  #indexOf(key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#keys[middle]! < key) low = middle + 1
      else high = middle
    }
    return low
  }
}
