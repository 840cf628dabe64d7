/**
 * What is reserved on each mothership: kept up with the map's changes, so that a decision need not add up all
 * instances. A draft's pending instances are added on top when one decides on a draft.
 */
import { copiesOf } from '../map.js'
import type { InstanceRecord, Resources } from '../records.js'

export const nothing: Resources = { cpu: 0, ram: 0, bandwidth: 0 }

export const plus = (a: Resources, b: Resources, sign = 1): Resources => ({
  cpu: a.cpu + sign * b.cpu,
  ram: a.ram + sign * b.ram,
  bandwidth: a.bandwidth + sign * b.bandwidth,
})

export class Ledger {
  readonly #reserved = new Map<string, Resources>()
  readonly #counted = new Map<string, InstanceRecord>()

  /** The instance is so now; null when it is gone. */
  set(id: string, instance: InstanceRecord | null): void {
    const before = this.#counted.get(id)
    if (before) this.#add(before, -1)
    if (instance) {
      this.#add(instance, 1)
      this.#counted.set(id, instance)
    } else this.#counted.delete(id)
  }

  reservedOn(mothership: string): Resources {
    return this.#reserved.get(mothership) ?? nothing
  }

  #add(instance: InstanceRecord, sign: 1 | -1): void {
    for (const id of copiesOf(instance)) {
      this.#reserved.set(id, plus(this.#reserved.get(id) ?? nothing, instance.need, sign))
    }
  }
}
