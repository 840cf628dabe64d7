/**
 * Which instances to move so that motherships are alike (`spread`, `balanced`; for `pack`, see `consolidate`).
 * The places are found by the placement decision itself, so the mover and the placer never disagree. Greedy: always the
 * one move that makes the sum of the sixth powers of the worst pressures least (steepest descent; a high power looks at the
 * fullest ones first, and does not forget the others as a maximum does), until they are alike, nothing is worth moving, or so many moves are planned.
 * With an outlook, the same descent by the measure of `foresight.ts`, which ranks the places that the placer is then asked for.
 */

import type { PlacementResult } from '../decide/verdict.js'
import { Draft } from '../draft.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import { type Decision, type InstanceRecord, type MoveRecord, put, type Resources } from '../records.js'
import { consolidate } from './consolidate.js'
import { Foresight } from './foresight.js'
import {
  emptiestOf,
  evennessAmong,
  type Fullness,
  fullnessOf,
  fullnessWith,
  meanOf,
  rounded,
  type Shift,
  worstWithout,
} from './fullness.js'
import { freshnessOf, type Host } from './host.js'
import { type Movable, Movables } from './movables.js'
import { type Outlook, standing } from './outlook.js'
import type { Evenness, PlannedMove, RebalancePlan } from './plan.js'
import type { RebalanceInput } from './planning.js'
import { plus } from './resources.js'
import { scoreAt } from './score.js'

export type { RebalanceInput } from './planning.js'

export function planRebalance(input: RebalanceInput): RebalancePlan {
  if (input.settings.policy !== 'pack') return new Planning(input).level()
  const { draft, moves, staying } = consolidate(input)
  return { before: evennessOf(input), after: evennessOf({ ...input, map: draft }), moves, staying }
}

/**
 * Of all motherships with a session: those that take nothing new are as full as others. With an outlook, now or at the
 * moment of it at which they are least alike, so that what will peak together is set apart while all is quiet. The same
 * that a plan calls its imbalance before.
 */
export function evennessOf(input: RebalanceInput): Evenness {
  return new Planning(input).evennessAhead()
}

function foresightOf(map: CloudMap, outlook: Outlook, connected: readonly Host[]): Foresight {
  const grounds = connected.map(({ id, record }) => ({ id, capacity: record.capacity }))
  return new Foresight(outlook, grounds, standing(map))
}

const atWorst = (now: Evenness, foresight: Foresight): Evenness => ({
  ...now,
  imbalance: Math.max(now.imbalance, rounded(foresight.imbalance())),
})

const nothing: Resources = { cpu: 0, ram: 0, bandwidth: 0 }
/** A rounding error is no gain. */
const least = 1e-12
/** So many of the fullest motherships are looked at for the best move, and so many of the instances on each are asked a place for. */
const fullestMax = 3
const triesMax = 8
/** Where there are no more than this, all of them are. */
const allUpTo = 50
const levelShare = 0.9
/** So many motherships that have nothing to give are enough to stop looking for what an empty one could take. */
const stuckMax = 24
/** So many of the best places by foresight the placer is asked for. */
const asksMax = 8

class Planning {
  readonly #draft: Draft
  readonly #moves: PlannedMove[] = []
  readonly #movables: Movables
  /** The best move off a mothership, while neither place has changed. */
  readonly #best = new Map<string, Candidate>()
  readonly #known = new Map<string, Fullness>()
  /** What samples still hold of what was moved away, and (less than nothing) do not hold yet of what came. */
  readonly #relief = new Map<string, Resources>()
  /** Reserved by copies that are on their way elsewhere. */
  readonly #leaving = new Map<string, Resources>()

  constructor(private readonly input: RebalanceInput) {
    this.#draft = new Draft(input.map)
    this.#movables = new Movables(input)
    for (const [id, { value }] of input.map.all('moves')) {
      const instance = input.map.get('instances', id)?.value
      if (!value.over && instance && copiesOf(instance).includes(value.from)) {
        this.#leaving.set(value.from, plus(this.#leaving.get(value.from) ?? nothing, instance.need))
      }
      const still = lingering(value, input)
      if (still <= 0.01) continue
      const { cpu, ram, bandwidth } = value.used
      const used = { cpu: cpu * still, ram: ram * still, bandwidth: bandwidth * still }
      this.#relieve(value.from, used)
      // Nor does the sample of the second place show it at once.
      this.#relieve(value.to, used, -1)
    }
  }

  #relieve(host: string, used: Resources, sign: 1 | -1 = 1): void {
    this.#relief.set(host, plus(this.#relief.get(host) ?? nothing, used, sign))
  }

  level(): RebalancePlan {
    const { outlook, settings } = this.input
    const ahead = outlook && this.#ahead(outlook)
    const before = this.#evenness(ahead?.foresight)
    if (ahead) this.#follow(ahead)
    // An outlook knows what is used; what is only reserved, and an empty mothership, is seen to when that is far off.
    if (!ahead || this.#evenness().imbalance > settings.rebalance.startAbove)
      this.#follow(this.#present(ahead?.foresight))
    return this.#plan(before, ahead?.foresight)
  }

  evennessAhead(): Evenness {
    const { outlook } = this.input
    return this.#evenness(outlook && this.#ahead(outlook).foresight)
  }

  #evenness(foresight?: Foresight): Evenness {
    const now = evennessAmong(this.#fullnesses())
    return foresight ? atWorst(now, foresight) : now
  }

  /** The best move of those that are in view, again and again, until there is none. */
  #follow(view: View): void {
    const stuck = new Set<string>()
    let atMoves = this.#moves.length
    this.#best.clear()
    while (this.#moves.length < this.input.movesMax) {
      const full = view.fullest(stuck)
      if (full.length === 0) {
        // What went nowhere may go somewhere now that others have moved.
        if (this.#moves.length === atMoves) break
        atMoves = this.#moves.length
        stuck.clear()
        this.#best.clear()
        view.foresight?.weigh()
        continue
      }
      let best: Candidate | undefined
      for (const from of full) {
        const candidate = this.#best.get(from) ?? view.bestOff(from)
        if (candidate) this.#best.set(from, candidate)
        if (!candidate) stuck.add(from)
        else if (!best || candidate.relieves > best.relieves + least) best = candidate
      }
      if (!best) continue
      this.#apply(best)
      const { from, to } = best
      view.moved(best)
      const changed = (host: string): boolean => host === from || host === to
      for (const [host, each] of this.#best) if (changed(each.from) || changed(each.to)) this.#best.delete(host)
    }
  }

  /** By what is reserved and measured now. */
  #present(foresight?: Foresight): View {
    const { stopBelow } = this.input.settings.rebalance
    // A little further than where it would begin: what is planned is not measured yet, and is not to be done twice.
    const level = stopBelow * levelShare
    const uneven = this.#evenness().imbalance > stopBelow
    let byHost: ReadonlyMap<string, Fullness> = new Map()
    const fullest = (stuck: ReadonlySet<string>): string[] => {
      if (!uneven) return []
      const loads = this.#fullnesses()
      byHost = new Map(loads.map(each => [each.host.id, each]))
      const mean = meanOf(loads)
      // One that is far emptier than the mean is filled from whoever is above the mean, though nobody is far above it.
      const above = mean - emptiestOf(loads) > level && stuck.size < stuckMax ? mean : mean + level
      return loads
        .filter(each => each.worst > above && !stuck.has(each.host.id))
        .sort((a, b) => b.worst - a.worst || byId(a.host.id, b.host.id))
        .slice(0, fullestMax)
        .map(({ host }) => host.id)
    }
    return {
      fullest,
      bestOff: from => this.#bestOff(byHost.get(from)!, byHost),
      moved: ({ instance, from, to }) => foresight?.move(versionOf(instance), from, to),
    }
  }

  /** By what is used now and in the hours of an outlook. Only where the sample is fresh, as without one. */
  #ahead(outlook: Outlook): View {
    const { map, settings, hosts } = this.input
    const { stopBelow } = settings.rebalance
    const connected = hosts(this.#draft).filter(host => host.connected)
    const foresight = foresightOf(map, outlook, connected)
    for (const [id, { value }] of map.all('moves')) {
      const instance = map.get('instances', id)?.value
      if (value.over || !instance || !copiesOf(instance).includes(value.from)) continue
      foresight.move(versionOf(instance), value.from, undefined)
    }
    const byHost = new Map(connected.map(host => [host.id, host]))
    const fresh = (id: string): boolean => freshnessOf(byHost.get(id)!.measured, settings.load) === 'fresh'
    const uneven = foresight.imbalance() > stopBelow
    return {
      foresight,
      fullest: stuck => {
        if (!uneven || foresight.imbalance() <= stopBelow * levelShare) return []
        return foresight.fullest(id => fresh(id) && !stuck.has(id), fullestMax)
      },
      bestOff: from => this.#bestAhead(foresight, byHost.get(from)!),
      moved: ({ instance, from, to }) => foresight.move(versionOf(instance), from, to),
    }
  }

  /** The best move off a mothership by foresight to a place that the placer allows, which is asked for the best few. */
  #bestAhead(foresight: Foresight, from: Host): Candidate | undefined {
    const { minGain } = this.input.settings.rebalance
    const movable = this.#movables.on(from)
    const worth = this.#movables
      .unlikeOn(from)
      .map(each => [foresight.relief(from.id, versionOf(each.instance)) ?? 0, each] as const)
    const worthiest = worth.sort((a, b) => b[0] - a[0] || byId(a[1].instance.id, b[1].instance.id))
    const transfers = worthiest
      .slice(0, movable.length <= allUpTo ? allUpTo : triesMax)
      .flatMap(([, each]) => foresight.transfers(from.id, versionOf(each.instance), each, minGain))
      .sort((a, b) => b.relieves - a.relieves || byId(a.what.instance.id, b.what.instance.id))
    if (transfers.length === 0)
      for (const { instance } of movable) this.#movables.stays(instance.id, 'gains too little')
    for (const { what, to, relieves, gain } of transfers.slice(0, asksMax)) {
      const { instance, need, used } = what
      const found = this.#place(instance, need, to)
      if (found.kind === 'placed')
        return { instance, from: from.id, to, gain, need, used, relieves, decision: found.decision }
      this.#movables.stays(instance.id, 'fits nowhere else')
    }
    return undefined
  }

  #plan(before: Evenness, foresight?: Foresight): RebalancePlan {
    return { before, after: this.#evenness(foresight), moves: this.#moves, staying: this.#movables.staying }
  }

  #shift(host: string): Shift {
    return {
      relief: this.#relief.get(host) ?? nothing,
      leaving: this.#leaving.get(host) ?? nothing,
      usual: this.input.usualOf?.(host) ?? nothing,
    }
  }

  /** Worked out once, and anew where something was moved. */
  #fullnesses(): Fullness[] {
    const { settings, hosts } = this.input
    return hosts(this.#draft)
      .filter(host => host.connected)
      .map(host => {
        let found = this.#known.get(host.id)
        if (!found) this.#known.set(host.id, (found = fullnessOf(host, settings, this.#shift(host.id))))
        return found
      })
  }

  #bestOff(from: Fullness, loads: ReadonlyMap<string, Fullness>): Candidate | undefined {
    const emptiest = [...loads.values()].reduce((least, each) => Math.min(least, each.worst), 1)
    let best: Candidate | undefined
    for (const each of this.#worthiest(from, emptiest)) {
      const candidate = this.#candidate(each, from, loads)
      if (candidate && (!best || candidate.relieves > best.relieves + least)) best = candidate
    }
    return best
  }

  /**
   * Those of its instances that would be worth most on a mothership as full as the emptiest, best first. Of those that are
   * alike only the first: where it does not go, the others do not either.
   */
  #worthiest(from: Fullness, emptiest: number): Movable[] {
    const found: { readonly each: Movable; readonly worth: number }[] = []
    const movable = this.#movables.on(from.host)
    const most = movable.length <= allUpTo ? allUpTo : triesMax
    const [full, even] = [powerOf(from.worst), powerOf(emptiest)]
    for (const each of movable) {
      const relieves = full - powerOf(worstWithout(from, each.reserving, each.using))
      const worth = relieves - (powerOf(emptiest + each.share) - even)
      if (relieves <= least) {
        this.#movables.stays(each.instance.id, 'gains too little')
        continue
      }
      if (found.length === most && worth <= found[most - 1]!.worth) continue
      if (found.some(other => other.worth === worth && other.each.alike === each.alike)) continue
      const place = found.findIndex(other => worth > other.worth)
      found.splice(place < 0 ? found.length : place, 0, { each, worth })
      if (found.length > most) found.pop()
    }
    return found.map(({ each }) => each)
  }

  #candidate(
    { instance, used, need, reserving, using }: Movable,
    from: Fullness,
    loads: ReadonlyMap<string, Fullness>,
  ): Candidate | undefined {
    const { settings } = this.input
    const found = this.#place(instance, need)
    if (found?.kind !== 'placed') return this.#movables.stays(instance.id, 'fits nowhere else')
    const to = loads.get(found.on[0]!)
    if (!to) return undefined
    const put = fullnessWith(to, need)
    const gain = scoreAt(put.pressure, settings).score - scoreAt(from.pressure, settings).score
    if (gain < settings.rebalance.minGain) return this.#movables.stays(instance.id, 'gains too little')
    const taken = worstWithout(from, reserving, using)
    const relieves = powerOf(from.worst) - powerOf(taken) - (powerOf(put.worst) - powerOf(to.worst))
    if (relieves <= least) return this.#movables.stays(instance.id, 'gains too little')
    return { instance, from: from.host.id, to: to.host.id, gain, need, used, relieves, decision: found.decision }
  }

  #place(instance: InstanceRecord, need: Resources, only?: string): PlacementResult {
    const { component, version, placement: wish } = instance
    const seed = `${instance.id} ${instance.epoch}`
    const question = { component, version, need, wish, copies: 1, instance, seed }
    return this.input.place(this.#draft, only === undefined ? question : { ...question, only })
  }

  #apply(move: Candidate): void {
    const { instance, from, to, gain, need, used, decision } = move
    const elsewhere = (ids: readonly string[]): string[] => ids.map(id => (id === from ? to : id))
    const primary = instance.primary === from ? to : instance.primary
    const inSync = elsewhere(instance.inSync)
    this.#draft.add([put('instances', instance.id, { ...instance, need, primary, inSync })])
    this.#relieve(from, used)
    this.#known.delete(from)
    this.#known.delete(to)
    this.#movables.move(instance)
    for (const host of copiesOf(instance))
      if (this.#best.get(host)?.instance.id === instance.id) this.#best.delete(host)
    const { id, component, version } = instance
    this.#moves.push({ instance: id, component, version, from, to, gain: rounded(gain), used, decision })
  }
}

/** What a plan is made by. */
interface View {
  /** Motherships to take something off, those first that need it most; none when they are alike. */
  readonly fullest: (stuck: ReadonlySet<string>) => readonly string[]
  readonly bestOff: (from: string) => Candidate | undefined
  readonly moved: (move: Candidate) => void
  readonly foresight?: Foresight
}

interface Candidate {
  readonly instance: InstanceRecord
  readonly from: string
  readonly to: string
  readonly gain: number
  readonly need: Resources
  readonly used: Resources
  /** By how much the sum of powers becomes less. */
  readonly relieves: number
  readonly decision: Decision
}

/** How much of what was moved away the smoothed samples still hold: all of it until it is gone, then ever less. */
function lingering({ at, over }: MoveRecord, input: RebalanceInput): number {
  if (!over) return 1
  const { halfLifeMs } = input.settings.load
  const sinceMs = Date.parse(input.at) - Date.parse(at)
  return halfLifeMs <= 0 ? 0 : Math.min(1, 2 * 0.5 ** (sinceMs / halfLifeMs))
}

const versionOf = ({ component, version }: InstanceRecord): string => `${component}/${version}`

/** The sixth. */
const powerOf = (share: number): number => {
  const square = share * share
  return square * square * square
}
