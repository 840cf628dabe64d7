/**
 * How few wires could do: for each rain server the best of several lower bounds of its multicover. Hosts of versions that
 * have no more of them than redundancy asks for are all needed; for the rest any prices of versions, with which no
 * mothership is worth more than 1, add up to a bound (the dual of the linear relaxation).
 */

export interface Wish {
  /** Motherships that can make a version, and how many of them are wanted. */
  readonly hosts: readonly number[]
  readonly wanted: number
}

export function fewestWires(wishes: readonly Wish[]): number {
  const forced = new Set(wishes.filter(({ hosts, wanted }) => hosts.length <= wanted).flatMap(({ hosts }) => hosts))
  const rest = wishes.flatMap(({ hosts, wanted }) => {
    const free = hosts.filter(each => !forced.has(each))
    const missing = wanted - (hosts.length - free.length)
    return missing > 0 ? [{ hosts: free, wanted: missing }] : []
  })
  const most = Math.max(0, ...rest.map(each => each.wanted))
  return forced.size + Math.max(most, priced(rest, evenly(rest)), priced(rest, new Float64Array(rest.length)))
}

/** A version is worth what the mothership among its hosts can that can most. */
function evenly(wishes: readonly Wish[]): Float64Array {
  const held = new Map<number, number>()
  for (const { hosts } of wishes) for (const each of hosts) held.set(each, (held.get(each) ?? 0) + 1)
  return Float64Array.from(wishes, ({ hosts }) => 1 / Math.max(...hosts.map(each => held.get(each)!)))
}

/** What these prices add up to once each is raised as far as it goes, those first that have few hosts for what they want. */
function priced(wishes: readonly Wish[], prices: Float64Array): number {
  const worth = new Map<number, number>()
  const add = (index: number, by: number): void => {
    for (const each of wishes[index]!.hosts) worth.set(each, (worth.get(each) ?? 0) + by)
  }
  for (const index of prices.keys()) add(index, prices[index]!)
  const order = [...prices.keys()].sort((a, b) => {
    return wishes[a]!.hosts.length / wishes[a]!.wanted - wishes[b]!.hosts.length / wishes[b]!.wanted
  })
  for (const index of order) {
    const slack = Math.min(...wishes[index]!.hosts.map(each => 1 - (worth.get(each) ?? 0)))
    if (slack <= 0) continue
    prices[index]! += slack
    add(index, slack)
  }
  return Math.ceil(wishes.reduce((sum, { wanted }, index) => sum + wanted * prices[index]!, 0) - 1e-6)
}
