/**
 * Rain servers, motherships and versions by number, the wires that there are, and what a wire is good for. What must hold
 * of it, for each version that a rain server reaches, with redundancy k:
 *
 * - covered: of the best j tiers of its hosts (`hosts.ts`) it is wired to k, or to all where there are fewer, for each j;
 * - no idle copy: a mothership that serves it is wired to a rain server that reaches it and takes visitors, as long as
 *   there is one (a copy that no page comes to is paid for, and does nothing);
 * - of use: without any one of the wires, one of these would not hold. One to a mothership that is away stays meanwhile.
 *
 * For how many versions each wire is needed, and how many rain servers come to each copy, is counted (by `graph.ts`, as
 * wires, hosts and territories change), so what has to be looked at is what a count says, and a change costs what it
 * concerns.
 */
import { type Hosts, nowhere, type Tier, tierIn } from './hosts.js'
import { Flags, Names } from './names.js'
import type { Server } from './server.js'
import { Unsettled } from './unsettled.js'

export class Worth {
  readonly motherships = new Names()
  readonly versions = new Names()
  readonly servers = new Map<string, Server>()
  readonly unsettled = new Unsettled()
  /** By version. */
  protected readonly hosted: Hosts[] = []
  /** By version: how many rain servers that take visitors come to each of its hosts for it. */
  protected readonly users: number[][] = []
  /** By mothership: versions that it hosts. */
  protected readonly held: Set<number>[] = []
  /** By mothership: the rain servers that are wired to it. */
  protected readonly wiredAt: Set<Server>[] = []
  /** By mothership: those of them whose wire no version needs. */
  protected readonly looseOf: Set<Server>[] = []
  /** Registered, without a session. */
  readonly away = new Flags()
  redundancy = 3
  wireCount = 0
  /** Motherships that host anything. */
  hosting = 0

  holds(mothership: number): ReadonlySet<number> {
    return (this.held[mothership] ??= new Set())
  }

  wiredTo(mothership: number): ReadonlySet<Server> {
    return (this.wiredAt[mothership] ??= new Set())
  }

  looseAt(mothership: number): ReadonlySet<Server> {
    return (this.looseOf[mothership] ??= new Set())
  }

  hostsOf(version: number): Hosts {
    return this.hosted[version] ?? nowhere
  }

  /**
   * Of its wires to these hosts, in their order, those before here are needed, and none after: as far as the last tier up
   * to which it has no more than are wanted. Negative where it has fewer. With a wire to one more, if one is given.
   */
  protected depth({ wired }: Server, { on, ends }: Hosts, beside = -1): number {
    const { redundancy } = this
    let cover = 0
    let index = 0
    let depth = 0
    for (let tier = 0; tier < 4; tier++) {
      const end = ends[tier]!
      for (; index < end; index++) {
        const mothership = on[index]!
        if ((wired.has(mothership) || mothership === beside) && ++cover > redundancy) return depth
      }
      depth = depth < 0 || (cover < end && cover < redundancy) ? -end : end
    }
    return depth
  }

  /** One more or one less version needs its wires to these of the hosts. */
  protected need(server: Server, { on }: Hosts, from: number, to: number, by: 1 | -1): void {
    for (let index = from; index < to; index++) {
      const mothership = on[index]!
      if (!server.wired.has(mothership)) continue
      const needed = server.needed.get(mothership) + by
      server.needed.set(mothership, needed)
      if (needed === 0) this.loosen(server, mothership)
      else if (needed === 1 && by > 0) this.fasten(server, mothership)
    }
  }

  protected loosen(server: Server, mothership: number): void {
    server.loose.add(mothership)
    ;(this.looseOf[mothership] ??= new Set()).add(server)
    this.unsettled.onLoose(server)
  }

  protected fasten(server: Server, mothership: number): void {
    server.loose.delete(mothership)
    this.looseOf[mothership]?.delete(server)
  }

  /** One more or one less rain server comes to the version there. */
  protected use(version: number, mothership: number, by: 1 | -1): void {
    const hosts = this.hostsOf(version)
    this.useAt(version, hosts, hosts.on.indexOf(mothership), by)
  }

  protected useAt(version: number, { on, ends }: Hosts, at: number, by: 1 | -1): void {
    const all = this.users[version]!
    const users = all[at]! + by
    all[at] = users
    if (at >= ends[0] || on.length <= this.redundancy) return
    if (users === 0) this.unsettled.onIdle(version)
    else if (users === 2 && by > 0) this.unsettled.onCrowded(on[at]!)
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

  /** Where a copy of the version serves, and no rain server that takes visitors is wired to it for that. */
  idleAt(version: number): readonly number[] {
    const hosts = this.hostsOf(version)
    if (this.takesAll(hosts)) return []
    const users = this.users[version]!
    return hosts.on.slice(0, hosts.ends[0]).filter((_, at) => users[at] === 0)
  }

  noteIdle(version: number): void {
    if (!this.unsettled.gathering) return
    const { on, ends } = this.hostsOf(version)
    if (on.length <= this.redundancy) return
    const users = this.users[version]!
    for (let at = 0; at < ends[0]; at++) if (users[at] === 0) return this.unsettled.onIdle(version)
  }

  /** Whether the rain server would be short of wires for a version without the one there. */
  covers(server: Server, mothership: number): boolean {
    return server.wired.has(mothership) && server.needed.get(mothership) > 0
  }

  /** Whether it would be short of wires for this version without the one there. */
  needs(server: Server, mothership: number, version: number): boolean {
    const hosts = this.hostsOf(version)
    const at = hosts.on.indexOf(mothership)
    return at >= 0 && at < Math.abs(this.depth(server, hosts))
  }

  /** 0: it is no host of the version. */
  tierIn(version: number, mothership: number): number {
    return tierIn(this.hostsOf(version), mothership)
  }

  /** Whether a copy there would be idle without the wire. */
  employs(server: Server, mothership: number): boolean {
    if (!server.user) return false
    const own = server.wired.has(mothership) ? 1 : 0
    for (const version of this.holds(mothership)) {
      if (!server.territory.reaches.has(version)) continue
      const hosts = this.hostsOf(version)
      const at = hosts.on.indexOf(mothership)
      if (at < hosts.ends[0] && !this.takesAll(hosts) && this.users[version]![at] === own) return true
    }
    return false
  }

  ofUse(server: Server, mothership: number): boolean {
    return this.covers(server, mothership) || this.employs(server, mothership) || this.#isKept(server, mothership)
  }

  /** One that is away may be back soon. */
  #isKept({ territory }: Server, mothership: number): boolean {
    if (!this.away.has(mothership)) return false
    for (const version of this.holds(mothership)) if (territory.reaches.has(version)) return true
    return false
  }
}
