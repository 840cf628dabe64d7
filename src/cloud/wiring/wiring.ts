/**
 * Wiring: which rain server talks to which motherships (W1-W3); what must hold is in `worth.ts`. Present wires stay as
 * long as they are of use, so a change of the cloud moves few of them. Pure: the same map (the present wiring included)
 * and the same loads give the same wiring, whether it was followed or is read anew.
 */
import { settingsOf } from '../decide/verdict.js'
import { byId } from '../ids.js'
import type { Applied, CloudMap } from '../map.js'
import { type Change, put, remove, type WiringRecord } from '../records.js'
import { type Cost, cover, prune } from './cover.js'
import { Follower } from './follow.js'
import type { Graph } from './graph.js'
import { type HeatOf, reservedHeat } from './heat.js'
import { coolDown } from './move.js'
import { reachable } from './reachable.js'
import type { Server } from './server.js'

export { patternMatches } from '../routing/routing.js'
export { reachable }

/** What a crowded mothership costs beside a warm one. */
const crowdWeight = 0.5

export interface Planning {
  /** Where the records of wiring are read, and whether a rain server is still there: a draft over the map. */
  readonly view?: CloudMap
  readonly heatOf?: HeatOf
  /** When, for the records that change. */
  readonly at?: string
  /** How many wires may be moved for load alone, and what is measured: undefined where nothing is. */
  readonly move?: { readonly max: number; readonly measured: (mothership: string) => number | undefined }
}

export class Wiring {
  readonly #follower: Follower
  /** Rain servers whose record was given out, and not seen in the map yet. */
  readonly #given = new Map<string, WiringRecord>()

  constructor(private readonly map: CloudMap) {
    this.#follower = new Follower(map)
  }

  note(changes: Iterable<Applied>): void {
    for (const change of changes) {
      this.#follower.note(change)
      if (change.kind === 'wiring' && this.#given.size > 0) this.#confirm(change.id, change.value)
    }
  }

  #confirm(id: string, record: WiringRecord | null): void {
    const given = this.#given.get(id)
    if (given === undefined || given === record) return void this.#given.delete(id)
    const { wires } = given
    const same = (each: { readonly mothership: string }, index: number): boolean =>
      each.mothership === record?.wires[index]?.mothership
    if (!record || (wires.length === record.wires.length && wires.every(same))) this.#given.delete(id)
  }

  /** In step with the map. */
  get graph(): Graph {
    this.#follower.look()
    return this.#follower.graph
  }

  /** Whether pages of the rain server can hold the version. */
  reaches(rainServer: string, key: string): boolean {
    const { servers, versions } = this.graph
    const version = versions.find(key)
    return version !== undefined && servers.get(rainServer)?.territory.reaches.has(version) === true
  }

  /** What a rain server reaches of what a mothership hosts: `id/version`, sorted. */
  through(rainServer: string, mothership: string): string[] {
    const { graph } = this
    const [server, number] = [graph.servers.get(rainServer), graph.motherships.find(mothership)]
    if (!server || number === undefined) return []
    const reached = [...graph.holds(number)].filter(version => server.territory.reaches.has(version))
    return reached.map(version => graph.versions.name(version)).sort(byId)
  }

  /** Something was given out, and is not in the map yet: to be asked for again when it does not come. */
  get unconfirmed(): boolean {
    return this.#given.size > 0
  }

  /** Whoever plans is done with it: the map is right. */
  rest(): void {
    this.#given.clear()
    this.#follower.rest()
  }

  /** It would be smaller read anew. */
  get stale(): boolean {
    return this.#follower.stale
  }

  /** The records that are to be others, and those that are to go. */
  plan({ view = this.map, heatOf = reservedHeat(this.map), at, move }: Planning = {}): Change[] {
    const follower = this.#follower
    if (follower.gathering) follower.look()
    else follower.gather()
    for (const id of [...this.#given.keys()]) {
      const server = follower.graph.servers.get(id)
      if (server && !follower.isWired(server, view.get('wiring', id)?.value)) follower.unsettle(server)
    }
    const pass = new Pass(follower, view, heatOf)
    pass.settle()
    if (move && move.max > 0) pass.coolDown(move)
    const changes = [...pass.records(at), ...this.#leftovers(view)]
    for (const { id, value } of changes) if (value) this.#given.set(id, value as WiringRecord)
    return changes
  }

  /** Of rain servers that are not registered. */
  *#leftovers(view: CloudMap): Iterable<Change> {
    for (const id of [...this.#follower.orphans].sort(byId)) {
      if (view.get('wiring', id) && !view.get('rainservers', id)) yield remove('wiring', id)
      else this.#follower.orphans.delete(id)
    }
  }
}

class Pass {
  readonly #graph: Graph
  readonly #touched = new Set<Server>()
  readonly #heats: number[] = []
  /** Wires of a mothership. */
  #mean = 0

  constructor(
    private readonly follower: Follower,
    private readonly view: CloudMap,
    private readonly heatOf: HeatOf,
  ) {
    this.#graph = follower.graph
  }

  /**
   * What a wire costs: how warm the mothership is, and how many are wired to it beside the mean. That one is as it was
   * before the rain server got its wires, so that what one costs never falls while they are chosen.
   */
  readonly #cost: Cost = mothership =>
    this.#heat(mothership) + (crowdWeight * this.#graph.wiredTo(mothership).size) / (this.#mean + 1)

  #weigh(): void {
    this.#mean = this.#graph.wireCount / Math.max(1, this.#graph.hosting)
  }

  #heat(mothership: number): number {
    return (this.#heats[mothership] ??= Math.max(0, this.heatOf(this.#graph.motherships.name(mothership))))
  }

  settle(): void {
    const { unsettled } = this.#graph
    for (const server of [...unsettled.servers].sort(firstId)) this.#settleOne(server)
    this.#employ()
    unsettled.clear()
  }

  #settleOne(server: Server): void {
    const record = this.view.get('wiring', server.id)?.value
    const rainServer = this.view.get('rainservers', server.id)?.value
    if (!rainServer) return
    const { whole, short } = this.#graph.unsettled
    const loaded = this.follower.isWired(server, record)
    if (!loaded) this.follower.load(server, record)
    const reset = (record?.generation ?? 0) !== rainServer.generation
    if (reset) {
      this.#graph.cutAll(server)
      this.#touched.add(server)
    }
    const all = whole.has(server) || !loaded || reset
    if (all) this.#graph.bulk(server, () => this.#cover(server, server.territory.list))
    else this.#cover(server, [...(short.get(server) ?? [])])
    this.#trim(server)
  }

  #cover(server: Server, versions: readonly number[]): void {
    this.#weigh()
    const reached = versions.filter(each => server.territory.reaches.has(each))
    if (cover(this.#graph, server, reached, this.#cost).length > 0) this.#touched.add(server)
  }

  /** Cuts what is of no use, of its wires and then of others'. */
  #trim(server: Server): void {
    if (prune(this.#graph, server, server.loose, this.#cost).length > 0) this.#touched.add(server)
    this.#release(server)
  }

  /** Others were wired for nothing but that no copy is idle, to where another one is wired now. */
  #release(beside: Server): void {
    const { crowded } = this.#graph.unsettled
    if (crowded.size === 0) return
    for (const mothership of [...crowded].sort(this.#firstName)) {
      for (const other of [...this.#graph.looseAt(mothership)].sort(firstId)) {
        if (other !== beside && prune(this.#graph, other, [mothership], this.#cost).length > 0) this.#touched.add(other)
      }
    }
    crowded.clear()
  }

  readonly #firstName = (a: number, b: number): number =>
    byId(this.#graph.motherships.name(a), this.#graph.motherships.name(b))

  /** Gives a wire to copies that no rain server comes to. */
  #employ(): void {
    const graph = this.#graph
    const idle = new Map<number, Set<number>>()
    for (const version of graph.unsettled.idle) {
      for (const mothership of graph.idleAt(version)) {
        const versions = idle.get(mothership)
        if (versions) versions.add(version)
        else idle.set(mothership, new Set([version]))
      }
    }
    for (const [mothership, versions] of [...idle].sort(([a], [b]) => this.#firstName(a, b))) {
      this.#employAt(mothership, versions)
    }
  }

  #employAt(mothership: number, versions: Set<number>): void {
    for (;;) {
      for (const each of versions) if (!this.#graph.idleAt(each).includes(mothership)) versions.delete(each)
      const user = this.#userFor(versions)
      if (!user) return
      this.#weigh()
      this.#graph.wire(user, mothership)
      this.#touched.add(user)
      this.#trim(user)
    }
  }

  /** Who reaches most of them; of these, who has the fewest wires. */
  #userFor(versions: ReadonlySet<number>): Server | undefined {
    let best: { readonly server: Server; readonly count: number } | undefined
    if (versions.size === 0) return undefined
    const territories = new Set([...versions].flatMap(each => [...this.follower.reach.reaching(each)]))
    for (const { reaches, servers } of territories) {
      let count = 0
      for (const each of versions) if (reaches.has(each)) count++
      if (best && count < best.count) continue
      for (const number of servers) {
        const server = this.follower.serverOf(number)
        if (!server.user || (best && best.count === count && !isLighter(server, best.server))) continue
        best = { server, count }
      }
    }
    return best?.server
  }

  coolDown({ max, measured }: NonNullable<Planning['move']>): void {
    const heat = (mothership: number): number | undefined => measured(this.#graph.motherships.name(mothership))
    const cooling = { heat, hotAbove: settingsOf(this.view).wiring.hotAbove, movesMax: max }
    this.#weigh()
    for (const { server } of coolDown(this.#graph, cooling)) {
      this.#touched.add(server)
      this.#trim(server)
    }
    this.#graph.unsettled.clear()
  }

  *records(at: string | undefined): Iterable<Change> {
    for (const server of [...this.#touched].sort(firstId)) {
      const rainServer = this.view.get('rainservers', server.id)?.value
      const before = this.view.get('wiring', server.id)?.value
      if (!rainServer) continue
      const { generation } = rainServer
      const alike = this.follower.isWired(server, before)
      if (alike && (before?.generation ?? 0) === generation) continue
      const value: WiringRecord = {
        schema: 1,
        wires: server.wires.map(each => this.#graph.wireTo(each)),
        ...(generation > 0 ? { generation } : {}),
        ...(at === undefined ? {} : { at }),
      }
      yield put('wiring', server.id, value)
    }
  }
}

const firstId = (a: Server, b: Server): number => byId(a.id, b.id)

const isLighter = (a: Server, b: Server): boolean =>
  a.wires.length < b.wires.length || (a.wires.length === b.wires.length && byId(a.id, b.id) < 0)

/** The wiring of every rain server as it should be, by id: what is right already stays. */
export function wireAll(map: CloudMap, planning: Planning = {}): Map<string, WiringRecord> {
  const wired = new Map<string, WiringRecord>()
  for (const [id] of map.all('rainservers')) wired.set(id, map.get('wiring', id)?.value ?? { schema: 1, wires: [] })
  for (const { id, value } of new Wiring(map).plan(planning)) if (value) wired.set(id, value as WiringRecord)
  return new Map([...wired].sort(([a], [b]) => byId(a, b)))
}
