/**
 * The numbers of all motherships, side by side in one array, so that a decision reads them in one go: for each what may
 * still be asked of it, how full it is, and what a unit more makes of that. Worked out anew for a mothership whenever
 * something about it changes, never while deciding.
 */
import type { Settings } from '../records.js'
import { headroom, tolerance, unreserved } from './amounts.js'
import { Bounds } from './bounds.js'
import type { Host, ResourceName } from './host.js'
import { pressureAt, roomAt, stride, unitAt, unreservedStride } from './layout.js'

export type Limits = Pick<Settings, 'overcommit' | 'ceilings'>

export class Columns {
  numbers: Float64Array = new Float64Array(16 * stride)
  unreserved: Float64Array = new Float64Array(16 * unreservedStride)
  readonly bounds = new Bounds()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Makes room for one more at that index; those from there on move up. */
  insert(index: number): void {
    this.numbers = inserted(this.numbers, index, this.#size, stride)
    this.unreserved = inserted(this.unreserved, index, this.#size, unreservedStride)
    this.#size++
    this.bounds.forget()
  }

  remove(index: number): void {
    this.numbers.copyWithin(index * stride, (index + 1) * stride, this.#size * stride)
    this.unreserved.copyWithin(index * unreservedStride, (index + 1) * unreservedStride, this.#size * unreservedStride)
    this.#size--
    this.bounds.forget()
  }

  /** `open`: whether it takes anything at all. */
  write(index: number, host: Host, open: boolean, limits: Limits): void {
    this.#writeOne(index, 0, host, 'cpu', open, limits)
    this.#writeOne(index, 1, host, 'ram', open, limits)
    this.#writeOne(index, 2, host, 'bandwidth', open, limits)
    this.bounds.touch(index, this.numbers)
  }

  #writeOne(index: number, place: number, host: Host, name: ResourceName, open: boolean, limits: Limits): void {
    const unit = 1 / Math.max(host.record.capacity[name], 1e-9)
    const free = unreserved(host, name, limits.overcommit)
    const room = Math.min(free, headroom(host, name, limits.ceilings))
    const measured = host.measured ? host.measured[name] + host.placedSince[name] : 0
    const at = index * stride + place
    this.numbers[at + roomAt] = open ? room + tolerance : Number.NaN
    this.numbers[at + pressureAt] = Math.max(host.reserved[name], measured) * unit
    this.numbers[at + unitAt] = unit
    this.unreserved[index * unreservedStride + place] = free + tolerance
  }
}

/** With room for one more at that index; another array where the old one was full. */
function inserted(numbers: Float64Array, index: number, size: number, width: number): Float64Array {
  let after = numbers
  if ((size + 1) * width > numbers.length) {
    after = new Float64Array(numbers.length * 2)
    after.set(numbers)
  }
  return after.copyWithin((index + 1) * width, index * width, size * width)
}
