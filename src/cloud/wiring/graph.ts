/**
 * Rain servers, motherships and versions by number, the wires that there are, and what a wire is good for. What must hold
 * of it, for each version that a rain server reaches, with redundancy k:
 *
 * - covered: of the best j tiers of its hosts (`hosts.ts`) it is wired to k, or to all where there are fewer, for each j;
 * - no idle copy: a mothership that serves it is wired to a rain server that reaches it and takes visitors, as long as
 *   there is one (a copy that no page comes to is paid for, and does nothing);
 * - of use: without any one of the wires, one of these would not hold. One to a mothership that is away stays meanwhile.
 */

import type { Tier } from './hosts.js'
import { Flags, Names } from './names.js'
import type { Territory } from './reach.js'

/** Of a version: numbers of motherships, the best tier first, and how many there are up to each tier. */
export interface Hosts {
  readonly on: readonly number[]
  readonly ends: readonly [number, number, number, number]
}

export const nowhere: Hosts = { on: [], ends: [0, 0, 0, 0] }

export function hostsBy(tiers: ReadonlyMap<number, Tier>): Hosts {
  const sorted = [...tiers].sort((a, b) => a[1] - b[1] || a[0] - b[0])
  const upTo = (tier: Tier): number => sorted.filter(([, each]) => each <= tier).length
  return { on: sorted.map(([each]) => each), ends: [upTo(1), upTo(2), upTo(3), sorted.length] }
}

/** 0: it is none of them. */
export function tierIn({ on, ends }: Hosts, mothership: number): number {
  const at = on.indexOf(mothership)
  return at < 0 ? 0 : ends.findIndex(end => at < end) + 1
}

export interface Server {
  readonly id: string
  readonly number: number
  urls: readonly string[]
  territory: Territory
  /** By number of the mothership. */
  readonly wired: Flags
  /** Numbers of the motherships, by name. */
  readonly wires: number[]
  /** It takes visitors: copies that it is wired to are not idle. */
  user: boolean
}

export class Graph {
  readonly motherships = new Names()
  readonly versions = new Names()
  readonly servers = new Map<string, Server>()
  /** By version. */
  readonly hosts: Hosts[] = []
  /** By mothership: versions that it hosts. */
  readonly #holds: Set<number>[] = []
  /** By mothership: the rain servers that are wired to it. */
  readonly #wiredTo: Set<Server>[] = []
  readonly #spare: Set<Server>[] = []
  readonly #wireTo: { mothership: string }[] = []
  /** Registered, without a session. */
  readonly away = new Flags()
  redundancy = 3
  wireCount = 0
  /** Motherships that host anything. */
  hosting = 0

  holds(mothership: number): Set<number> {
    return (this.#holds[mothership] ??= new Set())
  }

  wiredTo(mothership: number): Set<Server> {
    return (this.#wiredTo[mothership] ??= new Set())
  }

  /** Where a version can be made from now on. */
  setHosts(version: number, after: Hosts): void {
    const before = this.hostsOf(version)
    this.hosts[version] = after
    for (const each of before.on) {
      if (after.on.includes(each)) continue
      this.holds(each).delete(version)
      if (this.holds(each).size === 0) this.hosting--
    }
    for (const each of after.on) {
      if (this.holds(each).size === 0) this.hosting++
      this.holds(each).add(version)
    }
  }

  hostsOf(version: number): Hosts {
    return this.hosts[version] ?? nowhere
  }

  wire(server: Server, mothership: number): void {
    if (server.wired.has(mothership)) return
    server.wired.set(mothership, true)
    server.wires.splice(this.#place(server, mothership), 0, mothership)
    this.wiredTo(mothership).add(server)
    this.wireCount++
  }

  cut(server: Server, mothership: number): void {
    if (!server.wired.has(mothership)) return
    server.wired.set(mothership, false)
    server.wires.splice(this.#place(server, mothership), 1)
    this.wiredTo(mothership).delete(server)
    this.#spare[mothership]?.delete(server)
    this.wireCount--
  }

  /** As it stands in records: the same for all of them. */
  wireTo(mothership: number): { mothership: string } {
    return (this.#wireTo[mothership] ??= { mothership: this.motherships.name(mothership) })
  }

  /** Where it is among the wires, or would be. */
  #place({ wires }: Server, mothership: number): number {
    const name = this.motherships.name(mothership)
    let [from, to] = [0, wires.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (this.motherships.name(wires[middle]!) < name) from = middle + 1
      else to = middle
    }
    return from
  }

  /** How many wires to the best `tier` tiers are missing. */
  missing({ wired }: Server, { on, ends }: Hosts, tier: Tier): number {
    const end = ends[tier - 1]!
    let missing = Math.min(this.redundancy, end)
    for (let index = 0; index < end && missing > 0; index++) if (wired.has(on[index]!)) missing--
    return missing
  }

  /** Whether all hosts of the version have to be wired to whoever reaches it. */
  takesAll({ on }: Hosts): boolean {
    return on.length <= this.redundancy
  }

  /** Whether the rain server would miss the wire. */
  covers(server: Server, mothership: number): boolean {
    for (const version of this.holds(mothership)) {
      if (server.territory.reaches.has(version) && this.#isShort(server, mothership, this.hostsOf(version))) return true
    }
    return false
  }

  /** Whether it would be short of wires for this version without the one there. */
  needs(server: Server, mothership: number, version: number): boolean {
    return this.#isShort(server, mothership, this.hostsOf(version))
  }

  /** 0: it is no host of the version. */
  tierIn(version: number, mothership: number): number {
    return tierIn(this.hostsOf(version), mothership)
  }

  /** Whether without this wire, fewer than wanted would be wired of a tier that it counts for. */
  #isShort({ wired }: Server, mothership: number, { on, ends }: Hosts): boolean {
    if (on.length <= this.redundancy) return true
    const at = on.indexOf(mothership)
    let cover = 0
    let index = 0
    for (const end of ends) {
      for (; index < end; index++) if (wired.has(on[index]!)) cover++
      if (at < end && cover <= Math.min(this.redundancy, end)) return true
    }
    return false
  }

  /** Whether a copy there would be idle without the wire. */
  employs(server: Server, mothership: number): boolean {
    if (!server.user) return false
    for (const version of this.holds(mothership)) {
      if (server.territory.reaches.has(version) && this.#serves(mothership, version)) {
        if (!this.isUsed(mothership, version, server)) return true
      }
    }
    return false
  }

  /** Among the best hosts of a version of which not all are wired anyway. */
  #serves(mothership: number, version: number): boolean {
    const hosts = this.hostsOf(version)
    if (this.takesAll(hosts)) return false
    const at = hosts.on.indexOf(mothership)
    return at >= 0 && at < hosts.ends[0]
  }

  /** Whether a rain server that takes visitors is wired to the mothership for the version. */
  isUsed(mothership: number, version: number, beside?: Server): boolean {
    for (const server of this.wiredTo(mothership)) {
      if (server !== beside && server.user && server.territory.reaches.has(version)) return true
    }
    return false
  }

  ofUse(server: Server, mothership: number): boolean {
    const covers = this.covers(server, mothership)
    const employs = !covers && this.employs(server, mothership)
    if (employs) this.spareAt(mothership).add(server)
    else this.#spare[mothership]?.delete(server)
    return covers || employs || this.#isKept(server, mothership)
  }

  /** Rain servers whose wire there is good for nothing but that no copy is idle: another one's may do. */
  spareAt(mothership: number): Set<Server> {
    return (this.#spare[mothership] ??= new Set())
  }

  /** One that is away may be back soon. */
  #isKept({ territory }: Server, mothership: number): boolean {
    if (!this.away.has(mothership)) return false
    for (const version of this.holds(mothership)) if (territory.reaches.has(version)) return true
    return false
  }
}
