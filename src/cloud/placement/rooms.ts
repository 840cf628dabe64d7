/**
 * What motherships have left, as numbers side by side: for the many questions whether something would fit at all, before
 * the placement decision is asked where. Knows nothing of wishes: what fits here may be refused there.
 */
import type { Resources } from '../resources.js'
import { headroom, tolerance, unreserved } from './amounts.js'
import type { Limits } from './columns.js'
import type { Host } from './host.js'

export class Rooms {
  readonly ids: readonly string[]
  readonly #numbers: Float64Array
  readonly #units: Float64Array
  readonly #indexes = new Map<string, number>()
  readonly #open: Uint8Array
  readonly #known = new Map<string, readonly number[]>()
  #settled = 0
  readonly #log: (readonly [need: Resources, from: string, to: string])[] = []

  constructor(hosts: readonly Host[], { overcommit, ceilings }: Limits) {
    this.ids = hosts.map(each => each.id)
    this.#numbers = new Float64Array(hosts.length * 3)
    this.#units = new Float64Array(hosts.length * 3)
    this.#open = new Uint8Array(hosts.length).fill(1)
    for (const [index, host] of hosts.entries()) {
      this.#indexes.set(host.id, index)
      for (const [axis, name] of (['cpu', 'ram', 'bandwidth'] as const).entries()) {
        const room = Math.min(unreserved(host, name, overcommit), headroom(host, name, ceilings))
        this.#numbers[index * 3 + axis] = room + tolerance
        this.#units[index * 3 + axis] = 1 / Math.max(host.record.capacity[name], 1e-9)
      }
    }
  }

  has(id: string): boolean {
    const index = this.#indexes.get(id)
    return index !== undefined && this.#open[index] === 1
  }

  close(id: string): void {
    this.#open[this.#indexes.get(id)!] = 0
    this.#known.clear()
  }

  /** Whether any but those two has room for it. */
  anyFor(need: Resources, except: string, other = except): boolean {
    const [a, b] = [this.#indexes.get(except), this.#indexes.get(other)]
    return this.#first(need).some(index => index !== a && index !== b)
  }

  /** The first three that have room for it; remembered until something changes for good. */
  #first(need: Resources): readonly number[] {
    if (this.#log.length > this.#settled) return this.#find(need)
    const key = `${need.cpu} ${need.ram} ${need.bandwidth}`
    let found = this.#known.get(key)
    if (!found) this.#known.set(key, (found = this.#find(need)))
    return found
  }

  #find({ cpu, ram, bandwidth }: Resources): number[] {
    const numbers = this.#numbers
    const found: number[] = []
    for (let index = 0, at = 0; at < numbers.length && found.length < 3; index++, at += 3) {
      if (cpu > numbers[at]! || ram > numbers[at + 1]! || bandwidth > numbers[at + 2]!) continue
      if (this.#open[index] === 1) found.push(index)
    }
    return found
  }

  /** What would be left free, in shares of it, when this came and that went; undefined where it would not fit. */
  leftFor(need: Resources, id: string, going: Resources): number | undefined {
    const at = this.#indexes.get(id)! * 3
    const cpu = this.#numbers[at]! + going.cpu - need.cpu
    const ram = this.#numbers[at + 1]! + going.ram - need.ram
    const bandwidth = this.#numbers[at + 2]! + going.bandwidth - need.bandwidth
    if (cpu < 0 || ram < 0 || bandwidth < 0) return undefined
    return cpu * this.#units[at]! + ram * this.#units[at + 1]! + bandwidth * this.#units[at + 2]!
  }

  move(need: Resources, from: string, to: string): void {
    this.#log.push([need, from, to])
    this.#add(need, from, 1)
    this.#add(need, to, -1)
  }

  /** What was moved so far is for good. */
  settle(): void {
    this.#settled = this.#log.length
    this.#known.clear()
  }

  /** As it was when it was last settled. */
  back(): void {
    while (this.#log.length > this.#settled) {
      const [need, from, to] = this.#log.pop()!
      this.#add(need, from, -1)
      this.#add(need, to, 1)
    }
  }

  #add({ cpu, ram, bandwidth }: Resources, id: string, sign: 1 | -1): void {
    const index = this.#indexes.get(id)
    if (index === undefined) return
    this.#numbers[index * 3]! += sign * cpu
    this.#numbers[index * 3 + 1]! += sign * ram
    this.#numbers[index * 3 + 2]! += sign * bandwidth
  }
}
