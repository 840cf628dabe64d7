/**
 * The whole of `map/` at one revision, page by page: none is kept here once it is given on, and the next ones are
 * asked for meanwhile. etcd 3.4 counts a range to its end for each page of it, so a million keys paged as one range cost
 * it half a second a page: the two kinds of which there are many are read in ranges that end where components, or
 * motherships, begin. Where the cuts are bears on speed alone: the ranges join without a gap, wherever keys lie.
 */
import type { Clock } from '../hypervisor/ports.js'
import { type Etcd, EtcdFailure, type KeyValue, prefixEnd, type RangeResult } from './etcd.js'
import { cloudErrorOf, pause } from './failures.js'
import type { Keys } from './keys.js'

export const pageItems = 2_000
const pageMs = 10_000
/** Ranges that are read side by side: etcd reads for one while the page of another is applied here. */
const lanes = 2
const attempts = 5
/** With so few components, the ids within one are cut too. */
const fewComponents = 32
const cutsMax = 16 * fewComponents

export interface SnapshotPorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
}

export interface SnapshotReader {
  /** Whatever was given before is void: it begins, or starts over at a later revision. */
  begin(): void
  page(items: readonly KeyValue[], revision: number, cluster: string): void
}

export interface SnapshotAt {
  readonly revision: number
  readonly cluster: string
  readonly keys: number
}

interface Span {
  readonly key: string
  readonly end: string
}

/** Starts over when history is compacted meanwhile. Throws a CloudError when etcd does not answer for long. */
export async function readSnapshot(ports: SnapshotPorts, reader: SnapshotReader): Promise<SnapshotAt> {
  for (let attempt = 0; ; attempt++) {
    try {
      reader.begin()
      return await new Reading(ports, reader).run()
    } catch (error) {
      const again = error instanceof EtcdFailure && (error.kind === 'compacted' || error.kind === 'unavailable')
      if (!again || attempt >= attempts) throw cloudErrorOf(error)
      await pause(ports.clock, 50 * 2 ** attempt)
    }
  }
}

class Reading {
  #revision: number | undefined
  #cluster = ''
  #keys = 0
  readonly #components: string[] = []
  readonly #motherships: string[] = []

  constructor(
    private readonly ports: SnapshotPorts,
    private readonly reader: SnapshotReader,
  ) {}

  async run(): Promise<SnapshotAt> {
    const { map, mapEnd } = this.ports.keys
    const [instances, observed] = [`${map}instances/`, `${map}observed/`]
    await this.#readSpan({ key: map, end: instances })
    await this.#readAll([
      { key: prefixEnd(instances), end: observed },
      { key: prefixEnd(observed), end: mapEnd },
    ])
    await this.#readAll([
      ...cut({ key: instances, end: prefixEnd(instances) }, this.#instanceCuts(instances)),
      ...cut(
        { key: observed, end: prefixEnd(observed) },
        this.#motherships.map(id => `${observed}${id}/`),
      ),
    ])
    return { revision: this.#revision!, cluster: this.#cluster, keys: this.#keys }
  }

  /** An instance's id is that of its component, a dot, and mostly hex. */
  #instanceCuts(prefix: string): string[] {
    const ids = [...new Set(this.#components)]
    if (ids.length > fewComponents) return ids.map(id => `${prefix}${id}.`)
    return ids.flatMap(id => [...'0123456789abcdef'].map(digit => `${prefix}${id}.${digit}`))
  }

  async #readAll(spans: readonly Span[]): Promise<void> {
    const left = spans[Symbol.iterator]()
    let failed = false
    const lane = async (): Promise<void> => {
      for (let next = left.next(); !next.done && !failed; next = left.next()) await this.#readSpan(next.value)
    }
    const fail = (error: unknown): never => {
      failed = true
      throw error
    }
    const ends = await Promise.allSettled(Array.from({ length: lanes }, () => lane().catch(fail)))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  async #readSpan(span: Span): Promise<void> {
    let limit = pageItems
    for (let key = span.key; ; ) {
      const page = await this.#page(key, span.end, limit)
      if (page === 'too-large') {
        limit = Math.ceil(limit / 10)
        continue
      }
      this.#keys += page.items.length
      for (const item of page.items) this.#note(item.key)
      this.reader.page(page.items, this.#revision!, this.#cluster)
      if (!page.more) return
      key = `${page.items.at(-1)!.key}\0`
    }
  }

  async #page(key: string, end: string, limit: number): Promise<RangeResult | 'too-large'> {
    const at = this.#revision === undefined ? {} : { revision: this.#revision }
    try {
      const page = await this.ports.etcd.range({ key, end, limit, ...at }, pageMs)
      if (this.#revision !== undefined && page.cluster !== this.#cluster) {
        throw new EtcdFailure('unavailable', false, 'another etcd answers now')
      }
      this.#revision ??= page.revision
      this.#cluster = page.cluster
      return page
    } catch (error) {
      if (error instanceof EtcdFailure && error.kind === 'too-large' && limit > 1) return 'too-large'
      throw error
    }
  }

  #note(key: string): void {
    const { map } = this.ports.keys
    const place = key.startsWith(`${map}instances/`) ? undefined : this.ports.keys.parse(key)
    if (place?.kind === 'components') this.#components.push(place.id.slice(0, place.id.indexOf('/')))
    else if (place?.kind === 'motherships') this.#motherships.push(place.id)
  }
}

/** The span in parts, cut at those of the points that lie within it, or at some of them when they are many. */
export function cut({ key, end }: Span, points: readonly string[]): Span[] {
  const all = [...new Set(points)].filter(each => each > key && each < end).sort()
  const every = Math.ceil(all.length / cutsMax)
  const within = all.filter((_, index) => index % every === 0)
  const starts = [key, ...within]
  return starts.map((start, index) => ({ key: start, end: starts[index + 1] ?? end }))
}
