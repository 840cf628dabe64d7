/**
 * What others do, as formulas (placement.md of their sources: Nomad `structs/funcs.go`, Koordinator `loadaware`,
 * Trimaran `targetloadpacking` and `loadvariationriskbalancing`, Orleans `ResourceOptimizedPlacementDirector`,
 * Kubernetes `noderesources`), on shares of one host. All choose among hosts where the item fits; lower is better.
 */
import { type Item, randomFrom } from './traces.js'

export type Size = readonly [number, number, number]

/** Of a host as it is, and what comes. */
export type Cost = (used: Size, size: Size, count: number, largestCount: number) => number

export interface Heuristic {
  readonly name: string
  /** Of the hosts that the item fits, which; -1 for none. */
  choose(fleet: Hosts, size: Size): number
}

const tolerance = 1e-9
export const fits = (used: Size, size: Size): boolean =>
  used[0] + size[0] <= 1 + tolerance && used[1] + size[1] <= 1 + tolerance && used[2] + size[2] <= 1 + tolerance

/** Hosts that are open to a heuristic: those in use, or all of a fixed number. */
export class Hosts {
  readonly used: [number, number, number][] = []
  readonly counts: number[] = []
  #open: number[] = []

  constructor(fixed = 0) {
    for (let each = 0; each < fixed; each++) this.add()
    this.fixed = fixed > 0
  }

  readonly fixed: boolean

  add(): number {
    const index = this.counts.indexOf(-1)
    const at = index >= 0 ? index : this.counts.length
    this.used[at] = [0, 0, 0]
    this.counts[at] = 0
    this.#open = []
    return at
  }

  /** Lowest first. */
  get open(): readonly number[] {
    if (this.#open.length === 0) {
      for (let each = 0; each < this.counts.length; each++) if (this.counts[each]! >= 0) this.#open.push(each)
    }
    return this.#open
  }

  get inUse(): number {
    return this.counts.filter(count => count > 0).length
  }

  take(host: number, { size }: Item): void {
    const used = this.used[host]!
    this.counts[host]!++
    for (const axis of [0, 1, 2] as const) used[axis] += size[axis]
  }

  leave(host: number, { size }: Item): void {
    const used = this.used[host]!
    this.counts[host]!--
    for (const axis of [0, 1, 2] as const) used[axis] -= size[axis]
    if (this.counts[host] !== 0) return
    this.used[host] = [0, 0, 0]
    if (this.fixed) return
    this.counts[host] = -1
    this.#open = []
  }
}

const best = (name: string, cost: Cost): Heuristic => ({
  name,
  choose: (fleet, size) => {
    let found = -1
    let lowest = Number.POSITIVE_INFINITY
    const largest = Math.max(1, ...(cost.length > 3 ? fleet.counts : []))
    for (const host of fleet.open) {
      const used = fleet.used[host]!
      if (!fits(used, size)) continue
      const value = cost(used, size, fleet.counts[host]!, largest)
      if (value < lowest - 1e-12) {
        lowest = value
        found = host
      }
    }
    return found
  },
})

const share = (used: Size, size: Size, axis: 0 | 1 | 2): number => used[axis] + size[axis]
const mean = (used: Size, size: Size): number =>
  (share(used, size, 0) + share(used, size, 1) + share(used, size, 2)) / 3
const worst = (used: Size, size: Size): number =>
  Math.max(share(used, size, 0), share(used, size, 1), share(used, size, 2))

/** Trimaran's two branches around a target share, cpu only; higher is better there. */
function targetLoad(cpu: number): number {
  const target = 40
  const percent = cpu * 100
  if (percent > 100) return 0
  return percent <= target ? target + ((100 - target) * percent) / target : (target * (100 - percent)) / (100 - target)
}

export function heuristics(seed: number): Heuristic[] {
  const random = randomFrom(seed)
  const fitting = (fleet: Hosts, size: Size): number[] => fleet.open.filter(host => fits(fleet.used[host]!, size))
  let last = -1
  return [
    { name: 'random', choose: (fleet, size) => pick(fitting(fleet, size), random) },
    {
      name: 'round-robin',
      choose: (fleet, size) => {
        const all = fitting(fleet, size)
        const next = all.find(host => host > last) ?? all[0] ?? -1
        if (next >= 0) last = next
        return next
      },
    },
    {
      name: 'power of two',
      choose: (fleet, size) => {
        const all = fitting(fleet, size)
        const [a, b] = [pick(all, random), pick(all, random)]
        return a < 0 || worst(fleet.used[a]!, size) <= worst(fleet.used[b]!, size) ? a : b
      },
    },
    best('first-fit', () => 0),
    best('best-fit (L2)', (used, size) => {
      const free = [1 - share(used, size, 0), 1 - share(used, size, 1), 1 - share(used, size, 2)]
      return free.reduce((sum, each) => sum + each ** 2, 0)
    }),
    best('best-fit (sum)', (used, size) => -mean(used, size)),
    best('dot-product', (used, size) => -size.reduce((sum, each, axis) => sum + (1 - used[axis]!) * each, 0)),
    best('least-allocated (max)', worst),
    best('least-allocated (mean); Koordinator', mean),
    best('Nomad', (used, size) => {
      // cpu and ram only, and never what else is asked.
      return Math.min(18, Math.max(0, 10 ** (1 - share(used, size, 0)) + 10 ** (1 - share(used, size, 1)) - 2))
    }),
    best('Kubernetes', (used, size) => {
      const [cpu, ram] = [share(used, size, 0), share(used, size, 1)]
      return -((2 - cpu - ram) / 2 + 1 - Math.abs(cpu - ram) / 2)
    }),
    best('Trimaran, target load', (used, size) => -targetLoad(share(used, size, 0))),
    best('Trimaran, risk', (used, size) => Math.max(share(used, size, 0), share(used, size, 1)) / 2),
    best('Orleans', (used, _size, count, largest) => 0.4 * used[0] + 0.4 * used[1] + 0.15 * (count / largest)),
  ]
}

const pick = (all: readonly number[], random: () => number): number =>
  all.length === 0 ? -1 : all[Math.floor(random() * all.length)]!
