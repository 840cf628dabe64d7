/** The product beside what others do, on the same items by the same harness: what each made of them. */
import { Hosts, heuristics, type Size } from './heuristics.js'
import { packerOf, productPacker } from './packers.js'
import { Product } from './product.js'
import type { Item } from './traces.js'

export interface Counts {
  readonly ours: number
  /** Best first. */
  readonly others: readonly (readonly [name: string, count: number])[]
}

/** Hosts in use when none of the items leaves; the product has so many to choose from. */
export function hostsFor(items: readonly Item[], hosts: number): Counts {
  const packed = (packer: ReturnType<typeof packerOf>): number => {
    for (const item of items) packer.place(item)
    return packer.inUse()
  }
  const others = heuristics(1).map(each => [each.name, packed(packerOf(each))] as const)
  const packer = productPacker(hosts)
  const ours = packed(packer)
  packer.product.check()
  return { ours, others: others.sort((a, b) => a[1] - b[1]) }
}

export interface Spread {
  readonly name: string
  /** Variation of what is used: sigma over mean. */
  readonly cpu: number
  readonly ram: number
  readonly rejected: number
}

/** On a fixed number of hosts, those that reject least first; the product is among them with `spread` and `balanced`. */
export function spreadsOn(items: readonly Item[], hosts: number): Spread[] {
  const rows = heuristics(1).map(each => {
    const fleet = new Hosts(hosts)
    return spread(each.name, items, hosts, item => {
      const host = each.choose(fleet, item.size)
      if (host >= 0) fleet.take(host, item)
      return host
    })
  })
  for (const policy of ['spread', 'balanced'] as const) {
    const product = new Product(hosts, { policy })
    rows.push(spread(`this product, ${policy}`, items, hosts, item => product.place(item.number, item.size)))
    product.check()
  }
  return rows.sort((a, b) => a.rejected - b.rejected || a.cpu - b.cpu)
}

export const isOurs = ({ name }: { readonly name: string }): boolean => name.startsWith('this product')

/** Of `balanced`: whether any of the others has less variation and rejects no more. */
export const isDominated = (ours: Spread, all: readonly Spread[]): boolean =>
  all.some(each => !isOurs(each) && each.cpu < ours.cpu && each.rejected <= ours.rejected)

function spread(name: string, items: readonly Item[], hosts: number, place: (item: Item) => number): Spread {
  const used = Array.from({ length: hosts }, (): [number, number, number] => [0, 0, 0])
  let rejected = 0
  for (const item of items) {
    const host = place(item)
    if (host < 0) rejected++
    else for (const axis of [0, 1, 2] as const) used[host]![axis] += item.size[axis]
  }
  return { name, cpu: variation(used, 0), ram: variation(used, 1), rejected }
}

function variation(used: readonly Size[], axis: 0 | 1 | 2): number {
  const mean = used.reduce((sum, each) => sum + each[axis], 0) / used.length
  return Math.sqrt(used.reduce((sum, each) => sum + (each[axis] - mean) ** 2, 0) / used.length) / mean
}
