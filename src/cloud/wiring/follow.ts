/**
 * The graph kept in step with the map: what changed is noted as it comes, and read when somebody looks, from the map as
 * it is then; so a batch that changes a thing twice costs one look, and a change that was noted for nothing costs little.
 * What of the wires has to be looked at because of it is gathered until it is taken.
 */
import { settingsOf } from '../decide/verdict.js'
import type { Applied, CloudMap } from '../map.js'
import type { InstanceRecord, ObservedRecord, RainServerRecord, WiringRecord } from '../records.js'
import { Graph, type Hosts, hostsBy, nowhere, type Server, tierIn } from './graph.js'
import { hostsOf, type Standing, standingOf, type Tier } from './hosts.js'
import { Flags } from './names.js'
import { Reach, type Shift } from './reach.js'
import { standInsOf } from './reachable.js'

/** Names of what is gone are kept; when they are most of all, it is better read anew. */
const goneMax = 10_000

/** What of a rain server's wiring may be wrong: versions that may be short of wires, wires that may be of no use. */
export interface Unsettled {
  /** All of them. */
  all: boolean
  readonly versions: Set<number>
  readonly wires: Set<number>
}

export class Follower {
  readonly graph = new Graph()
  readonly reach: Reach
  readonly unsettled = new Map<Server, Unsettled>()
  /** Versions of which copies may be idle. */
  readonly idle = new Set<number>()
  /** Rain servers that are not registered and may have a record of their wires. */
  readonly orphans = new Set<string>()
  /** Whether that is gathered: it is not where nobody plans. */
  #gathering = false
  readonly #components = new Set<string>()
  readonly #versions = new Set<number>()
  readonly #motherships = new Set<string>()
  readonly #servers = new Set<string>()
  readonly #known = new Map<string, Standing>()
  #settings = true
  #standIns: string
  readonly #byNumber: (Server | undefined)[] = []

  constructor(private readonly map: CloudMap) {
    const { versions, motherships } = this.graph
    this.reach = new Reach(map, versions)
    this.#standIns = standInsOf(map).join()
    for (const [id] of map.all('motherships')) this.#motherships.add(id)
    for (const [id] of map.all('rainservers')) this.#servers.add(id)
    for (const [, { value }] of map.all('instances')) this.#versions.add(versions.number(versionOf(value)))
    for (const id of this.#motherships) motherships.number(id)
  }

  note(change: Applied): void {
    const { kind, id } = change
    if (kind === 'instances') this.#noteInstance(change.value, change.before as InstanceRecord | undefined)
    else if (kind === 'observed') this.#noteObserved(id, change.value, change.before as ObservedRecord | undefined)
    else if (kind === 'stops' || kind === 'moves') this.#noteInstance(this.map.get('instances', id)?.value)
    else if (kind === 'components') this.#components.add(id)
    else if (kind === 'motherships') this.#motherships.add(id)
    else if (kind === 'rainservers' || kind === 'wiring') this.#servers.add(id)
    else if (kind === 'settings') this.#settings = true
    else if (kind === 'sessions') this.#noteSession(id)
  }

  #noteInstance(...records: readonly (InstanceRecord | null | undefined)[]): void {
    for (const each of records) if (each) this.#versions.add(this.graph.versions.number(versionOf(each)))
  }

  #noteObserved(id: string, after: ObservedRecord | null, before: ObservedRecord | undefined): void {
    if (after?.phase === before?.phase) return
    this.#noteInstance(this.map.get('instances', id.slice(id.indexOf('/') + 1))?.value)
  }

  #noteSession(id: string): void {
    const slash = id.indexOf('/')
    const kind = id.slice(0, slash)
    if (kind === 'mothership') this.#motherships.add(id.slice(slash + 1))
    else if (kind === 'rainserver') this.#servers.add(id.slice(slash + 1))
  }

  /** Reads what was noted. */
  look(): void {
    if (this.#settings) this.#readSettings()
    for (const id of this.#motherships) this.#readMothership(id)
    for (const version of this.#versions) this.#readVersion(version)
    const shifts = this.#components.size > 0 ? this.reach.refresh(this.#components) : []
    for (const shift of shifts) this.#onShift(shift)
    for (const id of this.#servers) this.#readServer(id)
    for (const noted of [this.#motherships, this.#versions, this.#components, this.#servers]) noted.clear()
  }

  /** From now on it is gathered what has to be looked at, beginning with everything. */
  gather(): void {
    this.look()
    this.#gathering = true
    for (const [id] of this.map.all('wiring')) if (!this.map.get('rainservers', id)) this.orphans.add(id)
    for (const server of this.graph.servers.values()) this.unsettle(server)
  }

  get gathering(): boolean {
    return this.#gathering
  }

  /** Nobody plans any more: the wires are those of the map. */
  rest(): void {
    this.#gathering = false
    this.unsettled.clear()
    this.idle.clear()
    this.orphans.clear()
    for (const server of this.graph.servers.values()) this.load(server, this.map.get('wiring', server.id)?.value)
  }

  /** Whether most of what is known by name is gone. */
  get stale(): boolean {
    const { versions, motherships } = this.graph
    const there = this.map.count('components') + this.map.count('motherships')
    return (
      versions.size + motherships.size + this.#byNumber.length > goneMax + 2 * there + this.map.count('rainservers')
    )
  }

  /** All of it is to be looked at. */
  unsettle(server: Server): void {
    if (!this.#gathering) return
    this.#unsettledOf(server).all = true
    this.#mayBeIdle(server.territory.list)
  }

  #unsettledOf(server: Server): Unsettled {
    let of = this.unsettled.get(server)
    if (!of) this.unsettled.set(server, (of = { all: false, versions: new Set(), wires: new Set() }))
    return of
  }

  #mayBeIdle(versions: Iterable<number>): void {
    if (!this.#gathering) return
    for (const each of versions) if (!this.graph.takesAll(this.graph.hostsOf(each))) this.idle.add(each)
  }

  #readSettings(): void {
    this.#settings = false
    const { wiring } = settingsOf(this.map)
    const standIns = standInsOf(this.map).join()
    if (standIns !== this.#standIns) {
      this.#standIns = standIns
      for (const shift of this.reach.refreshAll()) this.#onShift(shift)
    }
    if (wiring.redundancy === this.graph.redundancy) return
    this.graph.redundancy = wiring.redundancy
    for (const server of this.graph.servers.values()) this.unsettle(server)
  }

  /** A mothership that came to be known, or is not known any more, or stands otherwise. */
  #readMothership(id: string): void {
    const number = this.graph.motherships.number(id)
    const standing = standingOf(this.map, id)
    const before = this.#known.get(id)
    if (standing?.there === before?.there && standing?.draining === before?.draining) return
    if (standing === undefined) this.#known.delete(id)
    else this.#known.set(id, standing)
    this.graph.away.set(number, standing?.there === false)
    for (const version of this.graph.holds(number)) this.#versions.add(version)
    if (before === undefined) {
      for (const each of this.map.instancesOn(id)) this.#noteInstance(this.map.get('instances', each)?.value)
    }
    if (!this.#gathering) return
    for (const server of this.graph.wiredTo(number)) this.#unsettledOf(server).wires.add(number)
  }

  #readVersion(version: number): void {
    const { graph } = this
    const tiers = new Map<number, Tier>()
    for (const [id, tier] of hostsOf(this.map, graph.versions.name(version), each => this.#known.get(each))) {
      tiers.set(graph.motherships.number(id), tier)
    }
    const [before, after] = [graph.hostsOf(version), tiers.size === 0 ? nowhere : hostsBy(tiers)]
    if (same(before, after)) return
    graph.setHosts(version, after)
    this.#onHosts(version, before, after)
  }

  #onHosts(version: number, before: Hosts, after: Hosts): void {
    if (!this.#gathering) return
    const { graph } = this
    const all = [...new Set([...before.on, ...after.on])]
    // All of them are wired, whatever becomes of them there.
    const alike = before.on.length === after.on.length && all.length === after.on.length
    if (alike && graph.takesAll(before)) return
    const wanted = ({ ends }: Hosts): string => ends.map(end => Math.min(end, graph.redundancy)).join()
    const changed = all.filter(each => tierIn(before, each) !== tierIn(after, each))
    const asBefore = wanted(before) === wanted(after)
    for (const { servers } of this.reach.reaching(version)) {
      for (const number of servers) {
        const server = this.serverOf(number)
        const concerned = changed.filter(each => server.wired.has(each))
        if (asBefore && concerned.length === 0) continue
        const of = this.#unsettledOf(server)
        if (of.all) continue
        of.versions.add(version)
        for (const each of concerned) of.wires.add(each)
      }
    }
    this.#mayBeIdle([version])
  }

  #onShift({ territory, added, removed }: Shift): void {
    if (!this.#gathering) return
    const { graph } = this
    const [come, gone] = [added, removed].map(each => each.filter(version => graph.hostsOf(version).on.length > 0))
    if (come!.length + gone!.length === 0) return
    for (const number of territory.servers) {
      const server = this.serverOf(number)
      const of = this.#unsettledOf(server)
      for (const version of come!) of.versions.add(version)
      for (const version of gone!) {
        for (const each of graph.hostsOf(version).on) if (server.wired.has(each)) of.wires.add(each)
      }
    }
    this.#mayBeIdle([...come!, ...gone!])
  }

  /** By the number that territories know. */
  serverOf(number: number): Server {
    return this.#byNumber[number]!
  }

  #readServer(id: string): void {
    const record = this.map.get('rainservers', id)?.value
    const server = this.graph.servers.get(id)
    if (!record) {
      this.orphans.add(id)
      if (server) this.#forget(server)
    } else if (server) this.#reread(server, record)
    else this.#meet(id, record)
  }

  #isUser({ id, draining }: RainServerRecord): boolean {
    return !draining && this.map.get('sessions', `rainserver/${id}`) !== undefined
  }

  #meet(id: string, record: RainServerRecord): void {
    const number = this.#byNumber.length
    const server: Server = {
      ...{ id, number, urls: record.urls, territory: this.reach.join(record.urls, number) },
      ...{ wired: new Flags(), wires: [], user: this.#isUser(record) },
    }
    this.graph.servers.set(id, server)
    this.#byNumber[number] = server
    this.load(server, this.map.get('wiring', id)?.value)
    this.unsettle(server)
  }

  #forget(server: Server): void {
    this.#leave(server)
    for (const each of [...server.wires]) this.graph.cut(server, each)
    this.graph.servers.delete(server.id)
    this.#byNumber[server.number] = undefined
    this.unsettled.delete(server)
  }

  #leave(server: Server): void {
    this.#mayBeIdle(server.territory.list)
    this.reach.leave(server.territory, server.number)
  }

  #reread(server: Server, record: RainServerRecord): void {
    const user = this.#isUser(record)
    if (user !== server.user) {
      server.user = user
      this.#mayBeIdle(server.territory.list)
      for (const each of this.#gathering ? server.wires : []) {
        this.#unsettledOf(server).wires.add(each)
        for (const other of this.graph.spareAt(each)) this.#unsettledOf(other).wires.add(each)
      }
    }
    if (String(record.urls) !== String(server.urls)) {
      this.#leave(server)
      server.urls = record.urls
      server.territory = this.reach.join(record.urls, server.number)
      this.unsettle(server)
    }
    const wiring = this.map.get('wiring', server.id)?.value
    if (!this.#gathering) this.load(server, wiring)
    else if (!this.isWired(server, wiring) || (wiring?.generation ?? 0) !== record.generation) this.unsettle(server)
  }

  isWired({ wires }: Server, wiring: WiringRecord | undefined): boolean {
    const all = wiring?.wires ?? []
    if (all.length !== wires.length) return false
    return all.every(({ mothership }, index) => mothership === this.graph.motherships.name(wires[index]!))
  }

  /** The wires that a record names, instead of those that are known. */
  load(server: Server, wiring: WiringRecord | undefined): void {
    const named = new Set((wiring?.wires ?? []).map(each => this.graph.motherships.number(each.mothership)))
    for (const each of [...server.wires]) if (!named.has(each)) this.graph.cut(server, each)
    for (const each of named) this.graph.wire(server, each)
  }
}

const versionOf = ({ component, version }: InstanceRecord): string => `${component}/${version}`

const same = (a: Hosts, b: Hosts): boolean =>
  a.on.length === b.on.length &&
  a.ends.every((end, index) => end === b.ends[index]) &&
  a.on.every((each, index) => each === b.on[index])
