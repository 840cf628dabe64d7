/**
 * The wiring of this replica's map: every replica tells what is reached and why who is wired to whom, the leader plans
 * with it. Made when it is first asked for, and then kept in step.
 */
import { settingsOf } from '../cloud/decide/verdict.js'
import { type HeatOf, heatBy } from '../cloud/wiring/heat.js'
import { Wiring } from '../cloud/wiring/wiring.js'
import type { Clock, Loads, Maps } from './ports.js'

export class Wires {
  #wiring: Wiring | undefined
  readonly close: () => void

  constructor(private readonly maps: Maps) {
    this.close = maps.onChange(changes => this.#wiring?.note(changes))
  }

  get wiring(): Wiring {
    if (!this.#wiring || this.#wiring.stale) this.#wiring = new Wiring(this.maps.map)
    return this.#wiring
  }
}

type Heat = (mothership: string) => number | undefined

/** What wires go by: measured load where it is known and not old, what is reserved elsewhere. */
export function heatsOf(maps: Maps, loads: Loads, clock: Clock): { heatOf: HeatOf; measured: Heat } {
  const sampleOf = (id: string) => {
    const sample = loads.latest({ kind: 'mothership', id })
    const known = sample && clock.nowMs() - sample.atMs <= settingsOf(maps.map).load.staleMs
    return known ? sample.filtered : undefined
  }
  const heatOf = heatBy(maps.map, sampleOf)
  return { heatOf, measured: id => (sampleOf(id) ? heatOf(id) : undefined) }
}
