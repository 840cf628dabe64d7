/** The product's own engine and planner, on a map of its own records, as a replica uses them. */
import { settingsOf } from '../../src/cloud/decide/verdict.js'
import { type Applied, MemoryMap } from '../../src/cloud/map.js'
import { Engine } from '../../src/cloud/placement/engine.js'
import { UseHistory } from '../../src/cloud/placement/history.js'
import type { MeasuredLoad } from '../../src/cloud/placement/host.js'
import { Horizon } from '../../src/cloud/placement/outlook.js'
import type { RebalancePlan } from '../../src/cloud/placement/plan.js'
import { planRebalance } from '../../src/cloud/placement/rebalance.js'
import {
  type Change,
  type InstanceRecord,
  type MoveRecord,
  put,
  type Resources,
  remove,
} from '../../src/cloud/records.js'
import type { Settings, SettingsPart } from '../../src/cloud/settings.js'
import { aComponent, aMothership, anInstance, session } from '../../test/support/records.js'
import type { Size } from './heuristics.js'

/** One host, in the units of the product. */
const whole = 1_000_000
const capacity: Resources = { cpu: whole, ram: whole, bandwidth: whole }
export const needOf = (size: Size): Resources => ({
  cpu: size[0] * whole,
  ram: size[1] * whole,
  bandwidth: size[2] * whole,
})
const startMs = Date.parse('2026-01-01T00:00:00.000Z')

export class Product {
  readonly #map = new MemoryMap()
  readonly #engine: Engine
  readonly #loads = new Map<string, MeasuredLoad>()
  readonly #history = new UseHistory()
  readonly #horizon = new Horizon(this.#history)
  #nowMs = 0
  /** Moves that cool down. */
  readonly #moves = new Map<string, MoveRecord>()

  constructor(
    readonly hosts: number,
    part: SettingsPart,
  ) {
    const settings = put('settings', '', { schema: 1, ceilings: { cpu: 10, ram: 10, bandwidth: 10 }, ...part })
    const first: Change[] = [settings, put('components', 'item/1.0.0', aComponent('item', '1.0.0'))]
    for (let each = 0; each < hosts; each++) {
      first.push(
        put('motherships', hostId(each), aMothership(hostId(each), { capacity })),
        session('mothership', hostId(each)),
      )
    }
    this.#commit(first)
    this.#engine = new Engine(this.#map, id => this.#loads.get(id))
  }

  get settings(): Settings {
    return settingsOf(this.#map)
  }

  /** By the time of a trace. */
  at(seconds: number): void {
    this.#passTo(seconds * 1000)
  }

  /** Cool-downs that are over by then end. */
  #passTo(nowMs: number): void {
    this.#nowMs = nowMs
    const over = [...this.#moves].filter(([, { until }]) => Date.parse(until) <= startMs + nowMs)
    for (const [id] of over) this.#moves.delete(id)
    if (over.length > 0) this.#commit(over.map(([id]) => remove('moves', id)))
  }

  get #at(): string {
    return new Date(startMs + this.#nowMs).toISOString()
  }

  /** Which host takes it, as the engine decides; -1 for none. `own`: it is the only instance of its component. */
  place(number: number, size: Size, own = false): number {
    const need = needOf(size)
    const component = own ? `item-${number}` : 'item'
    if (own) this.#commit([put('components', `${component}/1.0.0`, aComponent(component, '1.0.0'))])
    const question = { component, version: '1.0.0', need, wish: {}, copies: 1, seed: `item.${number}` }
    const found = this.#engine.place(this.#map, question, { nowMs: this.#nowMs, at: this.#at })
    if (found.kind === 'nowhere') return -1
    const on = found.on[0]!
    const id = `item.${number}`
    const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: this.#at }
    const record: InstanceRecord = { ...anInstance(id, [on]), component, need, placement: {} }
    this.#commit([put('instances', id, record), put('observed', `${on}/${id}`, observed)])
    return numberOf(on)
  }

  leave(number: number): void {
    const id = `item.${number}`
    const on = this.#map.get('instances', id)!.value.primary
    const cools = this.#moves.delete(id) ? [remove('moves', id)] : []
    this.#commit([remove('instances', id), remove('observed', `${on}/${id}`), ...cools])
  }

  /** An hour passes. What each item used in it, placed as the only one of its component, is learnt. */
  hour(uses: Iterable<readonly [number, Size]>): void {
    for (const [number, size] of uses) this.#history.note(`item-${number}/1.0.0`, needOf(size), this.#nowMs)
    this.#passTo(this.#nowMs + 3_600_000)
  }

  /** Everything that is measured, from now on; all samples are as fresh as can be. */
  measure(loads: ReadonlyMap<number, Size>): void {
    for (const [host, size] of loads) this.#loads.set(hostId(host), { ...needOf(size), ageMs: 0 })
  }

  plan(
    movesMax: number,
    usageOf: (number: number) => Size | undefined,
    usualOf: (host: number) => Size | undefined,
  ): RebalancePlan {
    return planRebalance({
      map: this.#map,
      settings: settingsOf(this.#map),
      place: (map, question) => this.#engine.place(map, question, { nowMs: this.#nowMs, at: this.#at }),
      hosts: map => this.#engine.hosts(map, this.#nowMs),
      usageOf: ({ id }) => {
        const used = usageOf(Number(id.slice(5)))
        return used && needOf(used)
      },
      usualOf: host => {
        const used = usualOf(numberOf(host))
        return used && needOf(used)
      },
      outlook: this.#horizon.at(this.#map, this.#nowMs),
      movesMax,
      at: this.#at,
    })
  }

  /** As when all of them have arrived. Returns which item is where now. */
  move({ moves }: RebalancePlan): (readonly [number: number, host: number])[] {
    const until = new Date(startMs + this.#nowMs + this.settings.rebalance.coolDownMs).toISOString()
    return moves.map(({ instance, from, to, used }) => {
      const before = this.#map.get('instances', instance)!.value
      const observed = this.#map.get('observed', `${from}/${instance}`)!.value
      const move = { schema: 1, from, to, at: this.#at, until, used, over: true }
      this.#commit([
        put('instances', instance, { ...before, primary: to, inSync: [to] }),
        remove('observed', `${from}/${instance}`),
        put('observed', `${to}/${instance}`, observed),
        put('moves', instance, move),
      ])
      this.#moves.set(instance, move)
      return [Number(instance.slice(5)), numberOf(to)] as const
    })
  }

  #commit(changes: readonly Change[]): void {
    const revision = this.#map.order.revision + 1
    const applied = changes.map(change => ({ ...change, created: revision, modified: revision })) as Applied[]
    this.#map.apply(applied, revision)
    this.#engine?.apply(applied, this.#nowMs)
  }

  /** Nothing stands where it does not fit. */
  check(): void {
    for (let each = 0; each < this.hosts; each++) {
      const { reserved } = this.#map.heldOn(hostId(each))
      if (Math.max(reserved.cpu, reserved.ram, reserved.bandwidth) > whole * (1 + 1e-9)) {
        throw new Error(`${hostId(each)} is over its capacity`)
      }
    }
  }
}

const hostId = (number: number): string => `host-${String(number).padStart(5, '0')}`
const numberOf = (id: string): number => Number(id.slice(5))
