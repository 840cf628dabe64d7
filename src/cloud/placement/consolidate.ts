/**
 * Which instances to move so that fewer motherships are in use (`pack`). A mothership is emptied as a whole or not at all,
 * those first that take the fewest moves; what it holds goes where the placement decision says, so the mover and the
 * placer never disagree. Where something of it fits nowhere, one other instance may make room for it by going elsewhere
 * itself (an ejection chain of one step; F. Glover, 1996): so room that is short of one resource only comes to use again.
 *
 * P1: each plan leaves fewer motherships in use, or moves nothing; but for one that a whole minute's budget cannot empty.
 * P2: after a plan that was not cut short, the next one on what it leads to moves nothing while its moves cool down.
 */
import { Draft } from '../draft.js'
import { byId } from '../ids.js'
import { type Change, type InstanceRecord, put, type Resources } from '../records.js'
import { type Host, isInUse, resourceNames } from './host.js'
import type { PlannedMove } from './plan.js'
import type { RebalanceInput } from './planning.js'
import { Rooms } from './rooms.js'
import { isOpen } from './rules/index.js'
import { whyItStays } from './staying.js'

export interface Consolidation {
  /** The map as it is when all has moved. */
  readonly draft: Draft
  readonly moves: readonly PlannedMove[]
  /** Why instances stay that were to go, and how many. */
  readonly staying: Readonly<Record<string, number>>
}

/** So many instances may make room for those of one mothership. */
const chainsMax = 2
/** Where more instances stand than this, none makes room for others: there are small ones, which fill any gap. */
const fewMax = 12
/** So many that could make room are looked at. */
const makingMax = 64

export function consolidate(input: RebalanceInput): Consolidation {
  const consolidating = new Consolidating(input)
  consolidating.run()
  return consolidating
}

interface Planned {
  readonly after: InstanceRecord
  readonly move: PlannedMove
}

interface Standing {
  readonly instance: InstanceRecord
  readonly on: string
}

interface Emptying {
  readonly host: string
  /** Largest first. */
  readonly instances: readonly InstanceRecord[]
  readonly share: number
  /** All that decides where they can go. */
  readonly alike: string
}

class Consolidating implements Consolidation {
  readonly draft: Draft
  readonly moves: PlannedMove[] = []
  /** The draft, with motherships closed that nothing is to be moved to: another empty one is no gain. */
  readonly #work: Draft
  readonly #rooms: Rooms
  readonly #moved = new Set<string>()
  /** By instance. */
  readonly #staying = new Map<string, string>()
  readonly #standing = new Map<string, readonly InstanceRecord[]>()
  /** Who could make room, by need. */
  readonly #making = new Map<string, readonly Standing[]>()
  #fewStanding: readonly Standing[] | undefined

  constructor(private readonly input: RebalanceInput) {
    this.draft = new Draft(input.map)
    this.#work = new Draft(input.map)
    const hosts = input.hosts(this.#work)
    this.#rooms = new Rooms(
      hosts.filter(each => isOpen(each) && isInUse(each)),
      input.settings,
    )
    const empty = hosts.filter(each => isOpen(each) && !isInUse(each))
    this.#work.add(empty.map(each => put('motherships', each.id, { ...each.record, cordoned: true })))
  }

  get staying(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const [id, why] of this.#staying) if (!this.#moved.has(id)) counts[why] = (counts[why] ?? 0) + 1
    return counts
  }

  run(): void {
    while (this.#pass()) {
      // What was emptied may have made others worth another look: a chain leaves different room behind.
    }
    if (this.moves.length === 0) this.#begin()
  }

  /** Whether any was emptied. */
  #pass(): boolean {
    const before = this.moves.length
    const all = this.#emptyings()
    const tries = all.flatMap(emptying => {
      const chains = emptying.instances.length <= fewMax ? chainsMax : 0
      return Array.from({ length: chains + 1 }, (_, each) => ({ emptying, chains: each }))
    })
    const cost = ({ emptying, chains }: (typeof tries)[number]): number => emptying.instances.length + chains
    tries.sort(
      (a, b) =>
        cost(a) - cost(b) ||
        a.chains - b.chains ||
        a.emptying.share - b.emptying.share ||
        byId(a.emptying.host, b.emptying.host),
    )
    const gone = new Set<string>()
    // Room becomes less from one to the next, so what holds the same as one that failed is not tried in this pass.
    const failed = new Set<string>()
    for (const each of tries) {
      const { emptying, chains } = each
      if (cost(each) > this.input.movesMax - this.moves.length) break
      if (gone.has(emptying.host) || !this.#isAsItWas(emptying)) continue
      const alike = `${chains} ${emptying.alike}`
      if (failed.has(alike)) continue
      const planned = this.#emptied(emptying, chains)
      if (!planned) {
        failed.add(alike)
        continue
      }
      gone.add(emptying.host)
      this.#close(emptying.host)
      for (const step of planned) this.#take(step)
      this.#settle()
    }
    return this.moves.length > before
  }

  /** Begins with the cheapest that takes more than a minute's budget: what is left of it is cheaper the next time. */
  #begin(): void {
    const { movesMax, settings } = this.input
    if (movesMax < settings.rebalance.movesPerMinute) return
    const large = this.#emptyings()
      .filter(each => each.instances.length > movesMax)
      .sort((a, b) => a.instances.length - b.instances.length || a.share - b.share || byId(a.host, b.host))
    for (const each of large) {
      const planned = this.#emptied(each, 0)
      if (!planned) continue
      for (const step of planned.slice(0, movesMax)) this.#take(step)
      return
    }
  }

  /** Those of which all that they hold may be moved. */
  #emptyings(): Emptying[] {
    const found: Emptying[] = []
    for (const host of this.input.hosts(this.#work)) {
      if (!this.#rooms.has(host.id)) continue
      const { id } = host
      const instances = this.#standingOn(id)
      if (instances.length === 0 || instances.some(each => this.#keeps(each, id))) continue
      const bySize = [...instances].sort((a, b) => shareOf(b.need, host) - shareOf(a.need, host) || byId(a.id, b.id))
      found.push({ host: id, instances: bySize, share: shareOf(host.reserved, host), alike: bySize.map(alike).join() })
    }
    return found
  }

  #standingOn(host: string): readonly InstanceRecord[] {
    let standing = this.#standing.get(host)
    if (!standing) {
      const ids = [...this.#work.instancesOn(host)].sort(byId)
      standing = ids.map(id => this.#work.get('instances', id)!.value)
      this.#standing.set(host, standing)
    }
    return standing
  }

  #keeps(instance: InstanceRecord, host: string): boolean {
    const why = this.#moved.has(instance.id) ? 'moved already' : whyItStays(this.input.map, instance, host)
    if (why !== undefined) this.#staying.set(instance.id, why)
    return why !== undefined
  }

  #isAsItWas({ host, instances }: Emptying): boolean {
    return this.#rooms.has(host) && this.#standingOn(host).length === instances.length && !this.#movedTo(host)
  }

  #movedTo(host: string): boolean {
    return this.#standingOn(host).some(each => this.#moved.has(each.id))
  }

  /** All of what it holds goes elsewhere, or nothing; large ones first, as for any packing (first-fit decreasing). */
  #emptied({ host, instances }: Emptying, chains: number): Planned[] | undefined {
    const short = instances.filter(each => !this.#rooms.anyFor(each.need, host))
    if (short.length > chains || short.some(each => !this.#makingRoom(each.need).some(({ on }) => on !== host))) {
      for (const each of short) this.#staying.set(each.id, 'fits nowhere else')
      return undefined
    }
    // Asked before anything is tried, because it is remembered.
    if (chains > 0) for (const each of instances) this.#makingRoom(each.need)
    const trial = new Draft(this.#work)
    trial.add([this.#cordon(host)])
    const planned: Planned[] = []
    let left = chains
    const go = (instance: InstanceRecord, from: string): boolean => {
      const step = this.#placed(trial, instance, from)
      if (!step) return false
      trial.add([put('instances', instance.id, step.after)])
      this.#rooms.move(instance.need, from, step.move.to)
      planned.push(step)
      return true
    }
    for (const instance of instances) {
      if (go(instance, host)) continue
      const other = left > 0 ? this.#whoMakesRoom(instance, host, planned) : undefined
      left--
      if (other && go(other.instance, other.on) && go(instance, host)) continue
      this.#rooms.back()
      this.#staying.set(instance.id, 'fits nowhere else')
      return undefined
    }
    this.#rooms.back()
    return planned
  }

  #placed(trial: Draft, instance: InstanceRecord, from: string): Planned | undefined {
    const { id, component, version, need, placement: wish, epoch } = instance
    if (!this.#rooms.anyFor(need, from)) return undefined
    const question = { component, version, need, wish, copies: 1, instance, seed: `${id} ${epoch}` }
    const found = this.input.place(trial, question)
    if (found.kind !== 'placed') return undefined
    const to = found.on[0]!
    const on = (each: string): string => (each === from ? to : each)
    const after = { ...instance, primary: on(instance.primary), inSync: instance.inSync.map(on) }
    const move = { instance: id, component, version, from, to, gain: 0, used: need, decision: found.decision }
    return { after, move }
  }

  /** Of those whose place it would fit and that fit elsewhere, the one after which least is left free there. */
  #whoMakesRoom({ need }: InstanceRecord, host: string, planned: readonly Planned[]): Standing | undefined {
    const touched = new Set(planned.flatMap(({ move }) => [move.from, move.to]))
    return this.#makingRoom(need).find(
      ({ instance, on }) => on !== host && !touched.has(on) && this.#rooms.anyFor(instance.need, on, host),
    )
  }

  /** Best first; remembered until something moves. */
  #makingRoom(need: Resources): readonly Standing[] {
    const key = `${need.cpu} ${need.ram} ${need.bandwidth}`
    let found = this.#making.get(key)
    if (!found) {
      const all: (Standing & { readonly left: number })[] = []
      for (const each of this.#few()) {
        const left = this.#rooms.leftFor(need, each.on, each.instance.need)
        if (left !== undefined && this.#rooms.anyFor(each.instance.need, each.on)) all.push({ ...each, left })
      }
      found = all.sort((a, b) => a.left - b.left || byId(a.instance.id, b.instance.id)).slice(0, makingMax)
      this.#making.set(key, found)
    }
    return found
  }

  /** Those that may be moved where only few stand. */
  #few(): readonly Standing[] {
    this.#fewStanding ??= this.#rooms.ids.flatMap(on => {
      const standing = this.#rooms.has(on) ? this.#standingOn(on) : []
      if (standing.length > fewMax) return []
      const stays = (each: InstanceRecord): boolean =>
        this.#moved.has(each.id) || whyItStays(this.input.map, each, on) !== undefined
      return standing.filter(each => !stays(each)).map(instance => ({ instance, on }))
    })
    return this.#fewStanding
  }

  #take({ after, move }: Planned): void {
    const change = [put('instances', after.id, after)]
    this.draft.add(change)
    this.#work.add(change)
    this.#rooms.move(after.need, move.from, move.to)
    this.#standing.delete(move.from)
    this.#standing.delete(move.to)
    this.#moved.add(after.id)
    this.moves.push(move)
  }

  /** What was found out before does not hold any more. */
  #settle(): void {
    this.#rooms.settle()
    this.#making.clear()
    this.#fewStanding = undefined
  }

  #close(host: string): void {
    this.#work.add([this.#cordon(host)])
    this.#rooms.close(host)
  }

  #cordon(host: string): Change {
    return put('motherships', host, { ...this.#work.get('motherships', host)!.value, cordoned: true })
  }
}

const alike = ({ id, component, placement, need, inSync }: InstanceRecord): string =>
  `${component} ${inSync.length > 1 ? id : ''} ${JSON.stringify(placement)} ${need.cpu} ${need.ram} ${need.bandwidth}`

/** Of a mothership, by the resource of which it is most. */
const shareOf = (amount: Resources, { record }: Host): number =>
  Math.max(...resourceNames.map(name => amount[name] / Math.max(record.capacity[name], 1e-9)))
