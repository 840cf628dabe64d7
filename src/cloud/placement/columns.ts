/**
 * The numbers of all motherships, side by side in one array, so that a decision reads them in one go: for each what may
 * still be asked of it, how full it is, and what a unit more makes of that. Worked out anew for a mothership whenever
 * something about it changes, never while deciding.
 */
import type { Settings } from '../records.js'
import { headroom, tolerance, unreserved } from './amounts.js'
import { type Host, resourceNames } from './host.js'
import { isOpen } from './rules/index.js'

/**
 * Of each mothership, three numbers each, for cpu, ram and bandwidth: room (NaN while it takes nothing at all, which no
 * need is below), pressure as it is, pressure of one unit more, and what is unreserved.
 */
export const stride = 12
const [roomAt, pressureAt, unitAt, unreservedAt] = [0, 3, 6, 9]

export type Limits = Pick<Settings, 'overcommit' | 'ceilings'>

export class Columns {
  numbers = new Float64Array(16 * stride)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Makes room for one more at that index; those from there on move up. */
  insert(index: number): void {
    if ((this.#size + 1) * stride > this.numbers.length) {
      const larger = new Float64Array(this.numbers.length * 2)
      larger.set(this.numbers)
      this.numbers = larger
    }
    this.numbers.copyWithin((index + 1) * stride, index * stride, this.#size * stride)
    this.#size++
  }

  remove(index: number): void {
    this.numbers.copyWithin(index * stride, (index + 1) * stride, this.#size * stride)
    this.#size--
  }

  write(index: number, host: Host, limits: Limits): void {
    const open = isOpen(host)
    let at = index * stride
    for (const name of resourceNames) {
      const unit = 1 / Math.max(host.record.capacity[name], 1e-9)
      const free = unreserved(host, name, limits.overcommit)
      const room = Math.min(free, headroom(host, name, limits.ceilings))
      const measured = host.measured ? host.measured[name] + host.placedSince[name] : 0
      this.numbers[at + roomAt] = open ? room + tolerance : Number.NaN
      this.numbers[at + pressureAt] = Math.max(host.reserved[name], measured) * unit
      this.numbers[at + unitAt] = unit
      this.numbers[at + unreservedAt] = free + tolerance
      at++
    }
  }
}
