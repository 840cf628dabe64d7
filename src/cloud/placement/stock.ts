/**
 * How much of what usually runs would still fit into the motherships that are in use, in whole motherships for each of
 * them. Packing asks it before it begins another one: room was left for what was to come, and where that does not come,
 * leaving more of it is a loss. Kept up with what changes, in whole millionths, so that it is the same however it came
 * to be.
 */
import { headroom, unreserved } from './amounts.js'
import type { Limits } from './columns.js'
import { isInUse } from './host.js'
import { isRegistered, type Slot } from './slot.js'
import type { Worth } from './worth.js'

const whole = 1e6

export class Stock {
  readonly #kept = new Map<Slot, number>()
  readonly #touched = new Set<Slot>()
  #sum = 0

  /** Something about it changed. */
  touch(slot: Slot): void {
    this.#touched.add(slot)
  }

  share(worth: Worth, limits: Limits): number {
    for (const slot of this.#touched) {
      this.#sum -= this.#kept.get(slot) ?? 0
      this.#kept.delete(slot)
      if (!isRegistered(slot) || !slot.open || !isInUse(slot)) continue
      const room = (name: 'cpu' | 'ram' | 'bandwidth'): number =>
        Math.min(unreserved(slot, name, limits.overcommit), headroom(slot, name, limits.ceilings))
      const left = worth.left({ cpu: room('cpu'), ram: room('ram'), bandwidth: room('bandwidth') })
      const value = Math.round(left * whole)
      this.#kept.set(slot, value)
      this.#sum += value
    }
    this.#touched.clear()
    return this.#kept.size === 0 ? 0 : this.#sum / whole / this.#kept.size
  }
}
