/**
 * Chunks of packages that nothing refers to: what a replica left that died between storing a package and registering it.
 * A package is stored before it is registered, so only what was there unreferenced a while ago already goes; who takes
 * longer than that finds its chunks gone, and stores them again.
 */
import { collect, unreferenced } from '../cloud/decide/packages.js'
import type { Step } from '../cloud/decide/verdict.js'
import type { CloudMap } from '../cloud/map.js'
import type { Blobs, Clock, Log, Maps } from './ports.js'

const firstLookMs = 60_000
const lookEveryMs = 600_000

export interface CollectorPorts {
  readonly blobs: Blobs
  readonly maps: Pick<Maps, 'map'>
  readonly clock: Clock
  readonly log: Log
}

export class Collector {
  #seen: ReadonlySet<string> = new Set()
  #cancel: (() => void) | undefined

  /** `propose`: with steps that are worked out when it is their turn. */
  constructor(
    private readonly ports: CollectorPorts,
    private readonly propose: (steps: (map: CloudMap) => Step[]) => void,
  ) {}

  start(): void {
    this.#lookIn(firstLookMs)
  }

  stop(): void {
    this.#cancel?.()
  }

  #lookIn(ms: number): void {
    this.#cancel = this.ports.clock.after(ms, () => {
      this.#lookIn(lookEveryMs)
      void this.#look()
    })
  }

  async #look(): Promise<void> {
    const { blobs, maps, log } = this.ports
    try {
      const orphans = unreferenced(maps.map, await blobs.list())
      const old = new Map(orphans.filter(([digest]) => this.#seen.has(digest)))
      this.#seen = new Set(orphans.map(([digest]) => digest))
      if (old.size === 0) return
      log.info({ digests: [...old.keys()] }, 'stored packages that nothing refers to are removed')
      this.propose(map => collect(map, old))
    } catch (error) {
      log.warn({ err: error }, 'stored packages could not be listed')
    }
  }
}
