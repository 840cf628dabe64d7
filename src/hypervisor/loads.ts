/**
 * The latest load of every node, wherever it is connected: what this replica heard itself, and what others relay. Each
 * sample is dated by this replica's own monotonic clock; its age is the reader's to judge.
 */
import type { NodeRef } from '../cloud/ids.js'
import { nodeName } from '../cloud/ids.js'
import type { Clock, ComponentStats, LoadSample, Loads } from './ports.js'

const forgottenAfterMs = 60_000

export interface LoadReport {
  readonly node: NodeRef
  readonly cpu: number
  readonly ram: number
  readonly bandwidth: number
  readonly components: Readonly<Record<string, ComponentStats>>
}

interface Known extends LoadReport {
  readonly atMs: number
  /** Heard in a session of this replica: to be relayed. */
  readonly own: boolean
}

export class LoadBook implements Loads {
  readonly #known = new Map<string, Known>()

  constructor(private readonly clock: Clock) {}

  note(report: LoadReport): void {
    this.#known.set(nodeName(report.node), { ...report, atMs: this.clock.nowMs(), own: true })
  }

  /** From another replica, `ageMs` old when it was sent. A newer one that is known stays. */
  noteRelayed(report: LoadReport, ageMs: number): void {
    const atMs = this.clock.nowMs() - ageMs
    const name = nodeName(report.node)
    const before = this.#known.get(name)
    if (!before || before.atMs < atMs) this.#known.set(name, { ...report, atMs, own: false })
  }

  latest(node: NodeRef): LoadSample | undefined {
    const known = this.#fresh(nodeName(node))
    return known && { cpu: known.cpu, ram: known.ram, bandwidth: known.bandwidth, atMs: known.atMs, source: 'report' }
  }

  statistics(componentVersion: string): ReadonlyMap<string, ComponentStats> {
    const found = new Map<string, ComponentStats>()
    for (const name of this.#known.keys()) {
      const known = this.#fresh(name)
      const stats = known?.components[componentVersion]
      if (known && stats) found.set(known.node.id, stats)
    }
    return found
  }

  /** What this replica heard itself since then, for its peers. */
  ownSince(atMs: number): readonly (LoadReport & { readonly ageMs: number })[] {
    const nowMs = this.clock.nowMs()
    return [...this.#known.values()]
      .filter(each => each.own && each.atMs > atMs)
      .map(each => ({ ...each, ageMs: nowMs - each.atMs }))
  }

  #fresh(name: string): Known | undefined {
    const known = this.#known.get(name)
    if (known && this.clock.nowMs() - known.atMs > forgottenAfterMs) {
      this.#known.delete(name)
      return undefined
    }
    return known
  }
}
