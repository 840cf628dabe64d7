/**
 * What free room is worth for packing: how much of what usually runs would fit into it. Room that no usual need fits
 * is worth nothing, however large it is; so a placement that leaves such room behind costs more than it takes, and a
 * mothership that is still empty may be the better place. (A bid price, as in revenue management: Talluri and van
 * Ryzin, 1998; the value of room is that of the best pattern of whole needs, as in the pricing step of Gilmore and
 * Gomory's column generation, 1961, with the mean share of capacity as the price of a need.)
 */
import type { Resources } from '../resources.js'
import { resourceNames } from './host.js'

/** So many of the most frequent needs stand for all of them. */
export const kindsMax = 6
/** Needs below this share of a mothership are taken in bundles of about this size: how small ones fill up is no matter. */
const grain = 1 / 8
/** More states of room than this are not remembered. */
const rememberedMax = 100_000
const tolerance = 1e-6

interface Kind {
  readonly need: Resources
  readonly price: number
}

export class Worth {
  readonly #kinds: readonly Kind[]
  /** By hundredths of cpu, ram and bandwidth: a text as key would take longer to make than what is looked up. */
  readonly #known = new Map<number, Map<number, Map<number, number>>>()
  #remembered = 0
  readonly #whole: number

  /** `reference`: the room of a mothership as most are; what a need is worth is its share of that. */
  constructor(
    needs: readonly Resources[],
    private readonly reference: Resources,
  ) {
    this.#kinds = needs.flatMap(need => {
      const share = Math.max(...resourceNames.map(name => this.#share(need, name)))
      if (share <= 0) return []
      const times = Math.max(1, Math.floor(grain / share))
      const bundle = { cpu: need.cpu * times, ram: need.ram * times, bandwidth: need.bandwidth * times }
      return [{ need: bundle, price: this.#mean(bundle) }]
    })
    this.#whole = this.#of(reference.cpu, reference.ram, reference.bandwidth) || 1
  }

  /**
   * How much more the room loses than the need is worth, in whole motherships; below nothing when it fills a gap that
   * no usual need fits.
   */
  regret(room: Resources, need: Resources): number {
    const before = this.#of(room.cpu, room.ram, room.bandwidth)
    const after = this.#of(room.cpu - need.cpu, room.ram - need.ram, room.bandwidth - need.bandwidth)
    return (before - after - this.#mean(need)) / this.#whole
  }

  /** What fits into room, in whole motherships. */
  left({ cpu, ram, bandwidth }: Resources): number {
    return this.#of(cpu, ram, bandwidth) / this.#whole
  }

  #share(need: Resources, name: (typeof resourceNames)[number]): number {
    return this.reference[name] > 0 ? need[name] / this.reference[name] : 0
  }

  #mean(need: Resources): number {
    return (this.#share(need, 'cpu') + this.#share(need, 'ram') + this.#share(need, 'bandwidth')) / 3
  }

  #of(cpu: number, ram: number, bandwidth: number): number {
    const known = this.#knownAt(Math.round(cpu * 100), Math.round(ram * 100))
    const key = Math.round(bandwidth * 100)
    let found = known.get(key)
    if (found !== undefined) return found
    found = 0
    for (const { need, price } of this.#kinds) {
      const left = [cpu - need.cpu, ram - need.ram, bandwidth - need.bandwidth] as const
      if (left[0] < -tolerance || left[1] < -tolerance || left[2] < -tolerance) continue
      found = Math.max(found, price + this.#of(...left))
    }
    if (this.#remembered++ >= rememberedMax) {
      this.#known.clear()
      this.#remembered = 0
    }
    known.set(key, found)
    return found
  }

  #knownAt(cpu: number, ram: number): Map<number, number> {
    let byRam = this.#known.get(cpu)
    if (!byRam) this.#known.set(cpu, (byRam = new Map()))
    let byBandwidth = byRam.get(ram)
    if (!byBandwidth) byRam.set(ram, (byBandwidth = new Map()))
    return byBandwidth
  }
}
