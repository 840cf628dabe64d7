/**
 * The graph kept in step with the map: what changed is noted as it comes, and read when somebody looks, from the map as
 * it is then; so a batch that changes a thing twice costs one look, and a change that was noted for nothing costs little.
 * What of the wires has to be looked at because of it is gathered until it is taken.
 */
import { settingsOf } from '../decide/verdict.js'
import type { Applied, CloudMap } from '../map.js'
import type { InstanceRecord, ObservedRecord, RainServerRecord, WiringRecord } from '../records.js'
import { Graph } from './graph.js'
import { type Hosts, hostsBy, hostsOf, nowhere, type Standing, standingOf, type Tier } from './hosts.js'
import { Reach, type Shift } from './reach.js'
import { standInsOf } from './reachable.js'
import { aServer, type Server } from './server.js'

/** Names of what is gone are kept; when they are most of all, it is better read anew. */
const goneMax = 10_000

/** When so many of a rain server's wires change, it is quicker to count all of them anew. */
const manyWires = 8

export class Follower {
  readonly graph = new Graph()
  readonly reach: Reach
  /** Rain servers that are not registered and may have a record of their wires. */
  readonly orphans = new Set<string>()
  readonly #components = new Set<string>()
  readonly #versions = new Set<number>()
  readonly #motherships = new Set<string>()
  readonly #servers = new Set<string>()
  readonly #wirings = new Set<string>()
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
    else if (kind === 'rainservers') this.#servers.add(id)
    else if (kind === 'wiring') this.#wirings.add(id)
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
    for (const id of this.#wirings) this.#readWiring(id)
    for (const noted of [this.#motherships, this.#versions, this.#components, this.#servers, this.#wirings])
      noted.clear()
    const { crowded } = this.graph.unsettled
    for (const each of crowded) this.#unsettleLoose(each)
    crowded.clear()
  }

  /** From now on it is gathered what has to be looked at, beginning with everything. */
  gather(): void {
    this.look()
    const { graph } = this
    graph.unsettled.gathering = true
    for (const [id] of this.map.all('wiring')) if (!this.map.get('rainservers', id)) this.orphans.add(id)
    for (const server of graph.servers.values()) graph.unsettled.onWhole(server)
    for (let version = 0; version < graph.versions.size; version++) graph.noteIdle(version)
  }

  get gathering(): boolean {
    return this.graph.unsettled.gathering
  }

  /** Nobody plans any more: the wires are those of the map. */
  rest(): void {
    this.graph.unsettled.gathering = false
    this.graph.unsettled.clear()
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

  #readSettings(): void {
    this.#settings = false
    const { wiring } = settingsOf(this.map)
    const standIns = standInsOf(this.map).join()
    if (standIns !== this.#standIns) {
      this.#standIns = standIns
      for (const shift of this.reach.refreshAll()) this.#onShift(shift)
    }
    if (wiring.redundancy === this.graph.redundancy) return
    const { graph } = this
    const servers = [...graph.servers.values()]
    graph.recount(servers, () => {
      graph.redundancy = wiring.redundancy
    })
    for (const each of servers) this.unsettle(each)
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
    this.#unsettleLoose(number)
  }

  #unsettleLoose(mothership: number): void {
    for (const server of this.graph.looseAt(mothership)) this.graph.unsettled.onLoose(server)
  }

  #readVersion(version: number): void {
    const { graph } = this
    const tiers = new Map<number, Tier>()
    for (const [id, tier] of hostsOf(this.map, graph.versions.name(version), each => this.#known.get(each))) {
      tiers.set(graph.motherships.number(id), tier)
    }
    const [before, after] = [graph.hostsOf(version), tiers.size === 0 ? nowhere : hostsBy(tiers)]
    if (same(before, after)) return
    graph.setHosts(version, after, this.#reaching(version))
  }

  *#reaching(version: number): Iterable<Server> {
    for (const { servers } of this.reach.reaching(version)) for (const each of servers) yield this.serverOf(each)
  }

  #onShift({ territory, added, removed }: Shift): void {
    for (const number of territory.servers) {
      const server = this.serverOf(number)
      for (const version of added) this.graph.extend(server, version)
      for (const version of removed) this.graph.narrow(server, version)
    }
  }

  /** By the number that territories know. */
  serverOf(number: number): Server {
    return this.#byNumber[number]!
  }

  #readServer(id: string): void {
    const record = this.map.get('rainservers', id)?.value
    const server = this.graph.servers.get(id)
    if (!record) {
      if (this.gathering) this.orphans.add(id)
      if (server) this.#forget(server)
    } else if (server) this.#reread(server, record)
    else this.#meet(id, record)
  }

  #isUser({ id, draining }: RainServerRecord): boolean {
    return !draining && this.map.get('sessions', `rainserver/${id}`) !== undefined
  }

  #meet(id: string, record: RainServerRecord): void {
    const number = this.#byNumber.length
    const territory = this.reach.join(record.urls, number)
    const server = aServer({ id, number, urls: record.urls, territory, user: this.#isUser(record) })
    this.graph.servers.set(id, server)
    this.#byNumber[number] = server
    this.unsettle(server)
    this.load(server, this.map.get('wiring', id)?.value)
  }

  /** All of it is to be looked at. */
  unsettle(server: Server): void {
    this.graph.unsettled.onWhole(server)
    if (server.user) for (const version of server.territory.list) this.graph.noteIdle(version)
  }

  #forget(server: Server): void {
    this.graph.cutAll(server)
    this.reach.leave(server.territory, server.number)
    this.graph.servers.delete(server.id)
    this.#byNumber[server.number] = undefined
    this.graph.unsettled.forget(server)
  }

  #reread(server: Server, record: RainServerRecord): void {
    this.graph.setUser(server, this.#isUser(record))
    if (!sameUrls(record.urls, server.urls)) this.#relocate(server, record.urls)
    if ((this.map.get('wiring', server.id)?.value.generation ?? 0) !== record.generation) this.unsettle(server)
  }

  #readWiring(id: string): void {
    const server = this.graph.servers.get(id)
    const wiring = this.map.get('wiring', id)?.value
    if (!this.gathering) {
      if (server) this.load(server, wiring)
    } else if (!server) this.orphans.add(id)
    else if (!this.isWired(server, wiring)) this.unsettle(server)
  }

  #relocate(server: Server, urls: readonly string[]): void {
    this.graph.unsettled.onWhole(server)
    this.graph.recount([server], () => {
      this.reach.leave(server.territory, server.number)
      server.urls = urls
      server.territory = this.reach.join(urls, server.number)
    })
    this.unsettle(server)
  }

  isWired(server: Server, wiring: WiringRecord | undefined): boolean {
    if (wiring !== undefined && server.record === wiring) return true
    const [{ wires }, all] = [server, wiring?.wires ?? []]
    if (all.length !== wires.length) return false
    if (!all.every(({ mothership }, index) => mothership === this.graph.motherships.name(wires[index]!))) return false
    server.record = wiring
    return true
  }

  /** The wires that a record names, instead of those that are known. */
  load(server: Server, wiring: WiringRecord | undefined): void {
    if (this.isWired(server, wiring)) return
    const named = new Set((wiring?.wires ?? []).map(each => this.graph.motherships.number(each.mothership)))
    const change = (): void => {
      for (const each of [...server.wires]) if (!named.has(each)) this.graph.cut(server, each)
      for (const each of named) this.graph.wire(server, each)
    }
    if (Math.abs(named.size - server.wires.length) > manyWires) this.graph.bulk(server, change)
    else change()
    server.record = wiring
  }
}

const sameUrls = (a: readonly string[], b: readonly string[]): boolean =>
  a === b || (a.length === b.length && a.every((each, index) => each === b[index]))

const versionOf = ({ component, version }: InstanceRecord): string => `${component}/${version}`

const same = (a: Hosts, b: Hosts): boolean =>
  a.on.length === b.on.length &&
  a.ends.every((end, index) => end === b.ends[index]) &&
  a.on.every((each, index) => each === b.on[index])
