/**
 * What becomes of the pages of a snapshot before it is complete. The first one fills a memory that nobody reads yet.
 * Any later one is compared with the memory, which readers keep meanwhile: real differences alone are collected, and
 * applied together at the end.
 */
import type { Applied, Entry, MemoryMap } from '../cloud/map.js'
import type { Kind } from '../cloud/records.js'
import type { KeyValue } from './etcd.js'
import { Apart, type ReadingPorts, readChange } from './reading.js'
import type { SnapshotReader } from './snapshot.js'

export interface Staging extends SnapshotReader {
  readonly apart: Apart
  /** To be called once all pages are in: what is left to be applied. */
  differences(): readonly Applied[]
}

export class Filling implements Staging {
  apart = new Apart()

  constructor(
    private readonly map: MemoryMap,
    private readonly ports: ReadingPorts,
  ) {}

  begin(): void {
    this.apart = new Apart()
    this.map.clear()
  }

  page(items: readonly KeyValue[]): void {
    for (const item of items) {
      const change = readChange(item, this.apart, this.ports)
      if (change && change.value !== null) this.map.put(change)
    }
  }

  differences(): readonly Applied[] {
    return []
  }
}

export class Comparing implements Staging {
  apart = new Apart()
  #changes: Applied[] = []
  #seen = new Set<Entry<Kind>>()

  constructor(
    private readonly map: MemoryMap,
    private readonly before: Apart,
    /** Whether it is an etcd whose revisions say nothing about those in memory: then everything is read anew. */
    private readonly restored: (revision: number, cluster: string) => boolean,
    private readonly ports: ReadingPorts,
  ) {}

  begin(): void {
    this.apart = new Apart()
    this.#changes = []
    this.#seen = new Set()
  }

  page(items: readonly KeyValue[], revision: number, cluster: string): void {
    const restored = this.restored(revision, cluster)
    for (const item of items) {
      if (restored || !this.#isKnown(item)) {
        const change = readChange(item, this.apart, this.ports)
        if (change) this.#differs(change)
      }
    }
  }

  differences(): readonly Applied[] {
    for (const kind of this.map.kinds()) {
      for (const [id, entry] of this.map.all(kind)) {
        if (!this.#seen.has(entry)) this.#changes.push({ kind, id, value: null, created: 0, modified: 0 } as Applied)
      }
    }
    return this.#changes
  }

  #differs(change: Applied): void {
    const known = this.map.get(change.kind, change.id)
    if (known) this.#seen.add(known)
    if (known || change.value !== null) this.#changes.push(change)
  }

  /** The same key at the same revision has the same value. */
  #isKnown({ key, modified }: KeyValue): boolean {
    if (this.before.unreadable.get(key) === modified) {
      this.apart.unreadable.set(key, modified)
      return true
    }
    const place = this.ports.keys.parse(key)
    const known = place && this.map.get(place.kind, place.id)
    if (known?.modified !== modified) return false
    this.#seen.add(known)
    return true
  }
}
