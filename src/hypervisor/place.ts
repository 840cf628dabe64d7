/**
 * Placement as the leader uses it: the pure decision, kept in step with the map and fed with the load that is known.
 * One function for placing, moving, dry run and explanation.
 */
import { type PlacementQuestion, type PlacementResult, settingsOf } from '../cloud/decide/verdict.js'
import type { CloudMap } from '../cloud/map.js'
import { Engine, type Moment } from '../cloud/placement/engine.js'
import type { Host, MeasuredLoad } from '../cloud/placement/host.js'
import { Horizon } from '../cloud/placement/outlook.js'
import type { Evenness, RebalancePlan } from '../cloud/placement/plan.js'
import { evennessOf, planRebalance, type RebalanceInput } from '../cloud/placement/rebalance.js'
import { nothing, plus } from '../cloud/placement/resources.js'
import type { Resources } from '../cloud/resources.js'
import type { Clock, Loads, Maps } from './ports.js'
import { stamper } from './stamps.js'
import type { Wires } from './wires.js'

export interface Placer {
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  readonly plan: (map: CloudMap, movesMax: number) => RebalancePlan
  readonly evenness: () => Evenness
  close(): void
}

export interface PlacerPorts {
  readonly maps: Maps
  readonly loads: Loads
  readonly clock: Clock
  readonly wires: Wires
}

export function createPlacer({ maps, loads, clock, wires }: PlacerPorts): Placer {
  const loadOf = (id: string): MeasuredLoad | undefined => {
    const sample = loads.latest({ kind: 'mothership', id })
    return sample && { ...sample.filtered, ageMs: clock.nowMs() - sample.atMs }
  }
  const engine = new Engine(maps.map, loadOf, (rainServer, key) => wires.wiring.reaches(rainServer, key))
  const close = maps.onChange(changes => engine.apply(changes, clock.nowMs()))
  const stamp = stamper(clock)
  const moment = (): Moment => ({ nowMs: clock.nowMs(), at: stamp() })
  const hosts = (map: CloudMap): readonly Host[] => engine.hosts(map, clock.nowMs())
  const place: Placer['place'] = (map, question) => engine.place(map, question, moment())
  /** Of a component's processes there, each instance's share. */
  const usageOf: RebalanceInput['usageOf'] = ({ component, version }, mothership) => {
    const key = `${component}/${version}`
    const used = loads.usual(mothership).get(key)
    const copies = maps.map.tallyOf(key).copies.get(mothership) ?? 0
    if (!used || copies === 0) return undefined
    return { cpu: used.cpu / copies, ram: used.ram / copies, bandwidth: used.bandwidth / copies }
  }
  const usualOf = (mothership: string): Resources =>
    [...loads.usual(mothership).values()].reduce((sum, each) => plus(sum, each), nothing)
  const horizon = new Horizon(loads.history)
  const inputOf = (map: CloudMap, movesMax: number): RebalanceInput => {
    const outlook = horizon.at(map, clock.nowMs())
    return { map, settings: settingsOf(map), place, hosts, usageOf, usualOf, outlook, movesMax, at: stamp() }
  }
  const plan: Placer['plan'] = (map, movesMax) => planRebalance(inputOf(map, movesMax))
  const evenness: Placer['evenness'] = () => evennessOf(inputOf(maps.map, 0))
  return { place, plan, evenness, close }
}
