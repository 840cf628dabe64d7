/**
 * Placement as the leader uses it: the pure decision, kept in step with the map and fed with the load that is known.
 * One function for placing, moving, dry run and explanation.
 */
import type { PlacementQuestion, PlacementResult } from '../cloud/decide/verdict.js'
import type { CloudMap } from '../cloud/map.js'
import { Engine, type Moment } from '../cloud/placement/engine.js'
import type { MeasuredLoad } from '../cloud/placement/host.js'
import type { Clock, Loads, Maps } from './ports.js'
import { stamper } from './stamps.js'

export interface Placer {
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  close(): void
}

export function createPlacer({ maps, loads, clock }: { maps: Maps; loads: Loads; clock: Clock }): Placer {
  const loadOf = (id: string): MeasuredLoad | undefined => {
    const sample = loads.latest({ kind: 'mothership', id })
    return sample && { ...sample.filtered, ageMs: clock.nowMs() - sample.atMs }
  }
  const engine = new Engine(maps.map, loadOf)
  const close = maps.onChange(changes => engine.apply(changes, clock.nowMs()))
  const stamp = stamper(clock)
  const moment = (): Moment => ({ nowMs: clock.nowMs(), at: stamp() })
  return { place: (map, question) => engine.place(map, question, moment()), close }
}
