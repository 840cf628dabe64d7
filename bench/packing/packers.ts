/** Who packs: each decides where an item goes, and can say how many hosts are in use. */
import { type Heuristic, Hosts } from './heuristics.js'
import { Product } from './product.js'
import type { Item } from './traces.js'

export interface Packer {
  readonly name: string
  place(item: Item): void
  leave(item: Item): void
  inUse(): number
}

export function packerOf(heuristic: Heuristic): Packer {
  const fleet = new Hosts()
  const where = new Map<number, number>()
  return {
    name: heuristic.name,
    place: item => {
      let host = heuristic.choose(fleet, item.size)
      if (host < 0) host = fleet.add()
      fleet.take(host, item)
      where.set(item.number, host)
    },
    leave: item => fleet.leave(where.get(item.number)!, item),
    inUse: () => fleet.inUse,
  }
}

export interface ProductPacker extends Packer {
  readonly product: Product
  readonly live: number
  /** Of an item that was moved. */
  moved(number: number, host: number): void
}

export function productPacker(hosts: number): ProductPacker {
  const product = new Product(hosts, { policy: 'pack' })
  const counts = new Map<number, number>()
  const where = new Map<number, number>()
  const off = (number: number): void => {
    const host = where.get(number)!
    where.delete(number)
    if (counts.get(host) === 1) counts.delete(host)
    else counts.set(host, counts.get(host)! - 1)
  }
  const on = (number: number, host: number): void => {
    where.set(number, host)
    counts.set(host, (counts.get(host) ?? 0) + 1)
  }
  return {
    name: 'this product, pack',
    product,
    get live() {
      return where.size
    },
    place: item => {
      const host = product.place(item.number, item.size)
      if (host < 0) throw new Error('it fits nowhere: more hosts are needed')
      on(item.number, host)
    },
    leave: item => {
      product.leave(item.number)
      off(item.number)
    },
    moved: (number, host) => {
      off(number)
      on(number, host)
    },
    inUse: () => counts.size,
  }
}
