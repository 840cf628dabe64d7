/**
 * What may be moved off each mothership in one plan: looked up once, and less what went, so that nothing that comes
 * meanwhile goes again, and of an instance with several copies one is moved at most. And why the others stay.
 */
import { byId } from '../ids.js'
import { copiesOf } from '../map.js'
import type { InstanceRecord, Resources } from '../records.js'
import { shareOf, sharesOf } from './fullness.js'
import type { Host } from './host.js'
import type { RebalanceInput } from './planning.js'
import { whyItStays } from './staying.js'

export interface Movable {
  readonly instance: InstanceRecord
  readonly used: Resources
  /** What it needs, or uses where that is more. */
  readonly need: Resources
  /** Shares of the mothership where it is: what it reserves, what it uses, and most of any resource that it needs. */
  readonly reserving: Resources
  readonly using: Resources
  readonly share: number
  /** What else decides where it may go. */
  readonly alike: string
}

export class Movables {
  readonly #byHost = new Map<string, readonly Movable[]>()
  readonly #unlike = new Map<string, readonly Movable[]>()
  readonly #moved = new Set<string>()
  /** By instance. */
  readonly #staying = new Map<string, string>()

  constructor(private readonly input: RebalanceInput) {}

  on(host: Host): readonly Movable[] {
    let movable = this.#byHost.get(host.id)
    if (!movable) this.#byHost.set(host.id, (movable = this.#lookUp(host)))
    return movable
  }

  /** Of those that are alike only the first: where it does not go, the others do not either. */
  unlikeOn(host: Host): readonly Movable[] {
    let unlike = this.#unlike.get(host.id)
    if (!unlike) {
      const first = new Map<string, Movable>()
      for (const each of this.on(host)) if (!first.has(each.alike)) first.set(each.alike, each)
      this.#unlike.set(host.id, (unlike = [...first.values()]))
    }
    return unlike
  }

  move(instance: InstanceRecord): void {
    this.#moved.add(instance.id)
    for (const host of copiesOf(instance)) {
      const others = this.#byHost.get(host)?.filter(each => each.instance.id !== instance.id)
      if (others) this.#byHost.set(host, others)
      this.#unlike.delete(host)
    }
  }

  stays(instance: string, why: string): undefined {
    this.#staying.set(instance, why)
    return undefined
  }

  /** How many of those that were looked at stay, by reason. */
  get staying(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const [id, why] of this.#staying) if (!this.#moved.has(id)) counts[why] = (counts[why] ?? 0) + 1
    return counts
  }

  #lookUp(host: Host): readonly Movable[] {
    const { map, usageOf } = this.input
    return [...map.instancesOn(host.id)].sort(byId).flatMap(id => {
      const instance = map.get('instances', id)!.value
      const why = this.#moved.has(id) ? 'moved already' : whyItStays(map, instance, host.id)
      if (why !== undefined) return this.stays(id, why) ?? []
      const used = usageOf(instance, host.id) ?? instance.need
      const { component, placement } = instance
      const alike = `${component} ${copiesOf(instance).length > 1 ? id : ''} ${JSON.stringify(placement)}`
      const need = largest(instance.need, used)
      const [reserving, using] = [sharesOf(instance.need, host), sharesOf(used, host)]
      return [{ instance, used, need, reserving, using, share: shareOf(need, host), alike }]
    })
  }
}

const largest = (a: Resources, b: Resources): Resources => ({
  cpu: Math.max(a.cpu, b.cpu),
  ram: Math.max(a.ram, b.ram),
  bandwidth: Math.max(a.bandwidth, b.bandwidth),
})
