/**
 * The latest load of every node, wherever it is connected: what this replica heard itself, what others relay, and what
 * Prometheus tells. Each sample is dated by this replica's own monotonic clock; its age is the reader's to judge. What
 * Prometheus tells counts as long as it is not stale; then reports stand in.
 */
import type { NodeRef } from '../cloud/ids.js'
import { nodeName } from '../cloud/ids.js'
import { eased, LoadFilter } from '../cloud/placement/filter.js'
import { UseHistory } from '../cloud/placement/history.js'
import type { Resources } from '../cloud/resources.js'
import { defaultSettings, type Settings } from '../cloud/settings.js'
import type { Clock, ComponentStats, LoadSample, Loads } from './ports.js'

const forgottenAfterMs = 60_000

export interface LoadReport {
  readonly node: NodeRef
  readonly cpu: number
  readonly ram: number
  readonly bandwidth: number
  readonly components: Readonly<Record<string, ComponentStats>>
}

/** Changed in place: a new one for each report would outlive the young space, and be collected with the old one. */
interface Known {
  readonly node: NodeRef
  cpu: number
  ram: number
  bandwidth: number
  components: LoadReport['components']
  atMs: number
  /** Heard in a session of this replica: to be relayed. */
  own: boolean
  readonly filter: LoadFilter
  /** What each component uses as a rule. */
  usual: ReadonlyMap<string, Resources>
}

interface Told {
  readonly sample: Resources
  readonly atMs: number
  readonly filter: LoadFilter
}

const nothingUsual: ReadonlyMap<string, Resources> = new Map()

function isEmpty(components: object): boolean {
  for (const _ in components) return false
  return true
}

export class LoadBook implements Loads {
  readonly #known = new Map<string, Known>()
  readonly #told = new Map<string, Told>()
  readonly history = new UseHistory()

  /** `copiesOn`: how many copies of a version share what is measured of it on a mothership. */
  constructor(
    private readonly clock: Clock,
    private readonly limits: () => Settings['load'] = () => defaultSettings.load,
    private readonly rebalance: () => Pick<Settings['rebalance'], 'halfLifeMs'> = () => defaultSettings.rebalance,
    private readonly copiesOn: (version: string, mothership: string) => number = () => 0,
  ) {}

  note(report: LoadReport): void {
    this.#note(report, this.clock.nowMs(), true)
  }

  /** From another replica, `ageMs` old when it was sent. A newer one that is known stays. */
  noteRelayed(report: LoadReport, ageMs: number): void {
    const atMs = this.clock.nowMs() - ageMs
    const before = this.#known.get(nodeName(report.node))
    if (!before || before.atMs < atMs) this.#note(report, atMs, false)
  }

  /** From Prometheus, which says itself how bandwidth is taken together. */
  noteTold(node: NodeRef, sample: Resources, ageMs: number): void {
    const atMs = this.clock.nowMs() - ageMs
    const name = nodeName(node)
    const before = this.#told.get(name)
    if (before && before.atMs >= atMs) return
    const filter = before?.filter ?? new LoadFilter()
    filter.note(sample, atMs, { ...this.limits(), bandwidthWindowMs: 1 })
    this.#told.set(name, { sample, atMs, filter })
  }

  /** What was told rests on something that is not asked for any more. */
  forgetTold(): void {
    this.#told.clear()
  }

  latest(node: NodeRef): LoadSample | undefined {
    const name = nodeName(node)
    const told = this.#told.get(name)
    if (told && this.clock.nowMs() - told.atMs <= this.limits().staleMs) {
      return { ...told.sample, atMs: told.atMs, source: 'prometheus', filtered: told.filter.value ?? told.sample }
    }
    const known = this.#fresh(name)
    if (!known) return undefined
    const { cpu, ram, bandwidth, atMs, filter } = known
    return { cpu, ram, bandwidth, atMs, source: 'report', filtered: filter.value ?? { cpu, ram, bandwidth } }
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

  usual(mothership: string): ReadonlyMap<string, Resources> {
    return this.#fresh(nodeName({ kind: 'mothership', id: mothership }))?.usual ?? new Map()
  }

  /** What this replica heard itself since then, for its peers. */
  ownSince(atMs: number): readonly (LoadReport & { readonly ageMs: number })[] {
    const nowMs = this.clock.nowMs()
    return [...this.#known.values()]
      .filter(each => each.own && each.atMs > atMs)
      .map(({ filter: _filter, usual: _usual, ...each }) => ({ ...each, ageMs: nowMs - each.atMs }))
  }

  #note(report: LoadReport, atMs: number, own: boolean): void {
    const name = nodeName(report.node)
    const before = this.#fresh(name)
    const filter = before?.filter ?? new LoadFilter()
    filter.note(report, atMs, this.limits())
    const { node, cpu, ram, bandwidth, components } = report
    const usual = this.#usualAfter(report, atMs, before)
    const now = { cpu, ram, bandwidth, components, atMs, own, usual }
    if (before) Object.assign(before, now)
    else this.#known.set(name, { node, filter, ...now })
    if (report.node.kind === 'mothership') this.#learn(report, atMs)
  }

  #learn({ node, components }: LoadReport, atMs: number): void {
    for (const [version, { cpu, ram, bandwidth }] of Object.entries(components)) {
      const copies = this.copiesOn(version, node.id)
      if (copies === 0) continue
      this.history.note(version, { cpu: cpu / copies, ram: ram / copies, bandwidth: bandwidth / copies }, atMs)
    }
  }

  #usualAfter({ components }: LoadReport, atMs: number, before: Known | undefined): ReadonlyMap<string, Resources> {
    if (isEmpty(components)) return nothingUsual
    const { halfLifeMs } = this.rebalance()
    const elapsedMs = before ? atMs - before.atMs : 0
    const usual = new Map<string, Resources>()
    for (const [component, { cpu, ram, bandwidth }] of Object.entries(components)) {
      const was = before?.usual.get(component) ?? { cpu, ram, bandwidth }
      usual.set(component, {
        cpu: eased(was.cpu, cpu, elapsedMs, halfLifeMs),
        ram: eased(was.ram, ram, elapsedMs, halfLifeMs),
        bandwidth: eased(was.bandwidth, bandwidth, elapsedMs, halfLifeMs),
      })
    }
    return usual
  }

  #fresh(name: string): Known | undefined {
    const known = this.#known.get(name)
    if (known && this.clock.nowMs() - known.atMs > forgottenAfterMs) {
      this.#known.delete(name)
      this.#told.delete(name)
      return undefined
    }
    return known
  }
}
