/**
 * The wires that there are, the hosts of versions and the territories of rain servers, and how each change of them is
 * counted: what the counts are for, and what must hold, is in `worth.ts`.
 */
import { type Hosts, tierIn } from './hosts.js'
import type { Server } from './server.js'
import { Worth } from './worth.js'

export class Graph extends Worth {
  readonly #wireTo: { mothership: string }[] = []
  #bulk: { readonly server: Server; counted: boolean } | undefined

  /** Where a version can be made from now on; these rain servers reach it. */
  setHosts(version: number, after: Hosts, reaching: Iterable<Server>): void {
    const before = this.hostsOf(version)
    const users = this.users[version] ?? []
    this.#noteLoose(version, before, after)
    this.hosted[version] = after
    for (const each of before.on) if (!after.on.includes(each)) this.#drop(each, version)
    for (const each of after.on) if (!before.on.includes(each)) this.#hold(each, version)
    this.users[version] = after.on.map(each => {
      const at = before.on.indexOf(each)
      return at < 0 ? this.#usersAt(each, version) : users[at]!
    })
    for (const server of reaching) {
      const [was, depth] = [this.depth(server, before), this.depth(server, after)]
      if (was === 0 && depth === 0) continue
      this.need(server, after, 0, Math.abs(depth), 1)
      this.need(server, before, 0, Math.abs(was), -1)
      if (depth < 0) this.unsettled.onShort(server, version)
    }
    this.noteIdle(version)
  }

  #hold(mothership: number, version: number): void {
    const holds = (this.held[mothership] ??= new Set())
    if (holds.size === 0) this.hosting++
    holds.add(version)
  }

  #drop(mothership: number, version: number): void {
    const holds = this.held[mothership]!
    holds.delete(version)
    if (holds.size === 0) this.hosting--
  }

  #usersAt(mothership: number, version: number): number {
    let users = 0
    for (const { user, territory } of this.wiredTo(mothership)) if (user && territory.reaches.has(version)) users++
    return users
  }

  /** Wires that may have been there for this version alone, as it was served there, or as the mothership is away. */
  #noteLoose(version: number, before: Hosts, after: Hosts): void {
    const served = this.takesAll(before) ? 0 : before.ends[0]
    for (const [at, mothership] of before.on.entries()) {
      const employed = at < served && this.users[version]![at] === 1 && tierIn(after, mothership) !== 1
      const kept = this.away.has(mothership) && !after.on.includes(mothership)
      if (!employed && !kept) continue
      for (const server of this.looseAt(mothership)) {
        if (server.territory.reaches.has(version)) this.unsettled.onLoose(server)
      }
    }
  }

  /** Its territory has the version from now on. */
  extend(server: Server, version: number): void {
    const hosts = this.hostsOf(version)
    const depth = this.depth(server, hosts)
    this.need(server, hosts, 0, Math.abs(depth), 1)
    if (depth < 0) this.unsettled.onShort(server, version)
    for (const each of server.user ? hosts.on : []) if (server.wired.has(each)) this.use(version, each, 1)
    this.noteIdle(version)
  }

  /** Its territory does not have the version any more. */
  narrow(server: Server, version: number): void {
    const hosts = this.hostsOf(version)
    this.need(server, hosts, 0, Math.abs(this.depth(server, hosts)), -1)
    for (const each of hosts.on) {
      if (!server.wired.has(each)) continue
      if (server.loose.has(each)) this.unsettled.onLoose(server)
      if (server.user) this.use(version, each, -1)
    }
  }

  /** Whether it takes visitors from now on. */
  setUser(server: Server, user: boolean): void {
    if (user === server.user) return
    server.user = user
    for (const each of server.wires) {
      for (const version of this.holds(each)) {
        if (server.territory.reaches.has(version)) this.use(version, each, user ? 1 : -1)
      }
    }
    if (user) for (const version of server.territory.list) this.noteIdle(version)
    else this.unsettled.onLoose(server)
  }

  wire(server: Server, mothership: number): void {
    if (server.wired.has(mothership)) return
    this.#uncountOnce(server)
    server.wires.splice(this.#place(server, mothership), 0, mothership)
    ;(this.wiredAt[mothership] ??= new Set()).add(server)
    this.wireCount++
    server.record = undefined
    if (this.#isBulk(server)) return server.wired.set(mothership, true)
    let needed = 0
    for (const version of this.holds(mothership)) {
      if (!server.territory.reaches.has(version)) continue
      const hosts = this.hostsOf(version)
      const from = Math.abs(this.depth(server, hosts, mothership))
      const before = Math.abs(this.depth(server, hosts))
      if (hosts.on.indexOf(mothership) < from) needed++
      this.need(server, hosts, from, before, -1)
      if (server.user) this.use(version, mothership, 1)
    }
    server.wired.set(mothership, true)
    server.needed.set(mothership, needed)
    if (needed === 0) this.loosen(server, mothership)
  }

  cut(server: Server, mothership: number): void {
    if (!server.wired.has(mothership)) return
    this.#uncountOnce(server)
    server.wires.splice(this.#place(server, mothership), 1)
    this.wiredAt[mothership]!.delete(server)
    this.wireCount--
    server.record = undefined
    server.wired.set(mothership, false)
    if (this.#isBulk(server)) return
    for (const version of this.holds(mothership)) {
      if (!server.territory.reaches.has(version)) continue
      const hosts = this.hostsOf(version)
      const depth = this.depth(server, hosts)
      const from = Math.abs(this.depth(server, hosts, mothership))
      this.need(server, hosts, from, Math.abs(depth), 1)
      if (depth < 0) this.unsettled.onShort(server, version)
      if (server.user) this.use(version, mothership, -1)
    }
    server.loose.delete(mothership)
    this.looseOf[mothership]?.delete(server)
  }

  /** What happens to its wires meanwhile is counted at the end, and all at once: where that may be much. */
  bulk<T>(server: Server, change: () => T): T {
    this.#bulk = { server, counted: true }
    const result = change()
    if (!this.#bulk.counted) this.#count(server)
    this.#bulk = undefined
    return result
  }

  /** The same, where what its wires are counted by changes. */
  recount(servers: readonly Server[], change: () => void): void {
    for (const each of servers) this.#uncount(each)
    change()
    for (const each of servers) this.#count(each)
  }

  #isBulk(server: Server): boolean {
    return this.#bulk?.server === server
  }

  #uncountOnce(server: Server): void {
    if (this.#bulk?.server !== server || !this.#bulk.counted) return
    this.#bulk.counted = false
    this.#uncount(server)
  }

  #count(server: Server): void {
    for (const version of server.territory.list) {
      const hosts = this.hostsOf(version)
      if (hosts.on.length === 0) continue
      const depth = this.depth(server, hosts)
      if (depth < 0) this.unsettled.onShort(server, version)
      for (let at = 0; at < hosts.on.length; at++) {
        const mothership = hosts.on[at]!
        if (!server.wired.has(mothership)) continue
        if (at < Math.abs(depth)) server.needed.set(mothership, server.needed.get(mothership) + 1)
        if (server.user) this.useAt(version, hosts, at, 1)
      }
    }
    for (const each of server.wires) if (server.needed.get(each) === 0) this.loosen(server, each)
  }

  /** Nothing is left of its wires. */
  cutAll(server: Server): void {
    this.#uncount(server)
    for (const each of server.wires) {
      this.wiredAt[each]!.delete(server)
      server.wired.set(each, false)
    }
    this.wireCount -= server.wires.length
    server.wires.length = 0
    server.record = undefined
  }

  #uncount(server: Server): void {
    if (server.wires.length === 0) return
    for (const version of server.user ? server.territory.list : []) {
      const hosts = this.hostsOf(version)
      for (let at = 0; at < hosts.on.length; at++) {
        if (server.wired.has(hosts.on[at]!)) this.useAt(version, hosts, at, -1)
      }
    }
    for (const each of server.wires) server.needed.set(each, 0)
    for (const each of server.loose) this.fasten(server, each)
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
}
