/**
 * What else speaks for or against a mothership than how full it gets (soft terms; each costs its weight at most): that
 * the zone has more copies of the component version than others, that a copy stands there while the version stands on
 * a few motherships only, that its code is not there yet, and that rain servers would need new wires.
 */
import type { WiringRecord } from '../records.js'
import type { PreferenceTerms } from './score.js'
import type { Registered, Slot } from './slot.js'
import { type Ground, type PreferenceCosts, Standing, wireStepsMax } from './standing.js'

/** So many versions are known by index at once, times motherships. */
const knownMax = 4_000_000
const zonesMax = 1_000

export type Reaches = (rainServer: string, componentVersion: string) => boolean

export class Preferences {
  /** By component, then version. */
  readonly #standings = new Map<string, Map<string, Standing>>()
  /** Those that are known by index, the one that has been for longest first. */
  readonly #known = new Set<Standing>()
  readonly #wirings = new Map<string, WiringRecord>()
  readonly #rainServers = new Set<string>()
  #zones: { readonly zones: Uint16Array; readonly zoneCount: number } | undefined

  /**
   * `registered`: by index; `indexOf`: by id, below 0 for who is not among them; `reaches`: whether pages of a rain server
   * can hold a version (`id/version`).
   */
  constructor(
    private readonly registered: readonly Registered[],
    private readonly indexOf: (mothership: string) => number,
    private readonly reaches: Reaches = () => true,
  ) {}

  count(slot: Slot, component: string, version: string, sign: 1 | -1): void {
    let versions = this.#standings.get(component)
    if (!versions) this.#standings.set(component, (versions = new Map()))
    let standing = versions.get(version)
    if (!standing) versions.set(version, (standing = new Standing()))
    standing.count(slot, sign)
    if (standing.total > 0) return
    this.#known.delete(standing)
    versions.delete(version)
    if (versions.size === 0) this.#standings.delete(component)
  }

  /** Returns what was there before. */
  setWiring(rainServer: string, wiring: WiringRecord | undefined): WiringRecord | undefined {
    const before = this.#wirings.get(rainServer)
    if (wiring) this.#wirings.set(rainServer, wiring)
    else this.#wirings.delete(rainServer)
    this.#forgetKnown()
    return before
  }

  /** Returns whether it was there before. */
  setRainServer(id: string, there: boolean): boolean {
    const before = this.#rainServers.has(id)
    if (before === there) return before
    if (there) this.#rainServers.add(id)
    else this.#rainServers.delete(id)
    this.#forgetKnown()
    return before
  }

  /** Who is at which index, or in which zone, has changed. */
  forget(): void {
    this.#zones = undefined
    this.#forgetKnown()
  }

  /** Of a mothership for a version; each from 0 to 1. */
  termsOf({ index }: Registered, component: string, version: string): PreferenceTerms {
    const standing = this.#standingOf(component, version)
    return standing.terms(() => this.#groundOf(standing, component, version), index)
  }

  /** Valid until the next change. */
  costsOf(component: string, version: string, weights: PreferenceTerms): PreferenceCosts {
    const standing = this.#standingOf(component, version)
    return standing.costs(() => this.#groundOf(standing, component, version), weights)
  }

  #forgetKnown(): void {
    for (const each of this.#known) each.forget()
    this.#known.clear()
  }

  #standingOf(component: string, version: string): Standing {
    return this.#standings.get(component)?.get(version) ?? new Standing()
  }

  #groundOf(standing: Standing, component: string, version: string): Ground {
    const most = Math.max(16, Math.floor(knownMax / Math.max(1, this.registered.length)))
    for (const oldest of this.#known) {
      if (this.#known.size < most) break
      oldest.forget()
      this.#known.delete(oldest)
    }
    if (standing.total > 0) this.#known.add(standing)
    return this.#ground(`${component}/${version}`)
  }

  #ground(componentVersion: string): Ground {
    this.#zones ??= zonesOf(this.registered)
    const count = this.registered.length
    const all = [...this.#wirings].filter(([id]) => this.#rainServers.has(id))
    // Of a version that nobody reaches yet, a page may be changed to.
    const needing = all.filter(([id]) => this.reaches(id, componentVersion))
    const some = needing.length > 0
    const servers = some ? needing.length : this.#rainServers.size
    const wired = new Float64Array(count)
    for (const [, { wires }] of some ? needing : all) {
      for (const mothership of new Set(wires.map(each => each.mothership))) {
        const index = this.indexOf(mothership)
        if (index >= 0) wired[index]!++
      }
    }
    const wireSteps = Math.min(wireStepsMax, servers)
    const newWires = Uint8Array.from(wired, each => Math.round((wireSteps * (servers - each)) / Math.max(1, servers)))
    return { ...this.#zones, newWires, wireSteps }
  }
}

/** In the order in which they are met; motherships without a zone are in one of their own. */
function zonesOf(registered: readonly Registered[]): Pick<Ground, 'zones' | 'zoneCount'> {
  const numbers = new Map<string, number>()
  const zones = new Uint16Array(registered.length)
  for (const [index, { record }] of registered.entries()) {
    const zone = record.zone ?? ''
    let number = numbers.get(zone)
    // So many zones are none: those beyond share one.
    if (number === undefined) numbers.set(zone, (number = Math.min(numbers.size, zonesMax)))
    zones[index] = number
  }
  return { zones, zoneCount: Math.min(numbers.size, zonesMax + 1) }
}
