/**
 * Items that come and go, in the order and at the times of a trace; without moves, and with those that the product's own
 * planner asks for, called by trace time as a leader would, within a budget that is counted here and not believed.
 */
import type { Packer, ProductPacker } from './packers.js'
import type { Item } from './traces.js'

const spanS = 2_676_571
export const instantsOf = (count: number): number[] =>
  Array.from({ length: count }, (_, index) => (spanS * (index + 1)) / count)

type Event = readonly [atS: number, what: 'leave' | 'come' | 'pass', item: Item]
const order = { leave: 0, come: 1, pass: 2 }

function eventsOf(items: readonly Item[]): Event[] {
  const events = items.flatMap((item): Event[] => {
    const come: Event = [item.at, 'come', item]
    if (item.end === Number.POSITIVE_INFINITY) return [come]
    return [come, [item.end, item.end <= item.at ? 'pass' : 'leave', item]]
  })
  return events.sort((a, b) => a[0] - b[0] || order[a[1]] - order[b[1]] || a[2].number - b[2].number)
}

/** Hosts in use at each instant. `before`: called with the time of each event before it happens. */
export function inUseOver(
  items: readonly Item[],
  packer: Packer,
  instants: readonly number[],
  before: (atS: number) => void = () => undefined,
): number[] {
  const inUse: number[] = []
  const until = (atS: number): void => {
    while (inUse.length < instants.length && instants[inUse.length]! < atS) {
      before(instants[inUse.length]!)
      inUse.push(packer.inUse())
    }
    before(atS)
  }
  for (const [atS, what, item] of eventsOf(items)) {
    until(atS)
    if (what === 'come') packer.place(item)
    else packer.leave(item)
  }
  while (inUse.length < instants.length) {
    before(instants[inUse.length]!)
    inUse.push(packer.inUse())
  }
  return inUse
}

/** In shares of the fewest possible at each. */
export const meanOver = (inUse: readonly number[], fewest: readonly number[]): number =>
  inUse.reduce((sum, each, index) => sum + each / fewest[index]!, 0) / inUse.length

export interface Moved {
  readonly inUse: readonly number[]
  readonly moves: number
  /** By plans, at the moment of each. */
  readonly freed: number
  /** Moves a day as a share of the items that are live: mean, and most in the 24 hours before any of them. */
  readonly meanShare: number
  readonly mostShare: number
}

const dayS = 86_400
const planEveryS = 6 * 3_600
/** Of the live items, in any 24 hours. */
const budgetShare = 0.05

export function movedOver(items: readonly Item[], packer: ProductPacker, instants: readonly number[]): Moved {
  const { product } = packer
  const { coolDownMs } = product.settings.rebalance
  const moves: { readonly atS: number; readonly number: number }[] = []
  const last = new Map<number, number>()
  let [freed, nextS, mostShare, shares, days] = [0, planEveryS, 0, 0, 0]
  const plan = (atS: number): void => {
    product.at(atS)
    const lately = moves.filter(each => each.atS > atS - dayS).length
    const allowed = Math.floor(budgetShare * packer.live) - lately
    const before = packer.inUse()
    const planned =
      allowed > 0
        ? product.plan(
            allowed,
            () => undefined,
            () => undefined,
          )
        : undefined
    for (const [number, host] of planned ? product.move(planned) : []) {
      if (atS - (last.get(number) ?? Number.NEGATIVE_INFINITY) < coolDownMs / 1000) {
        throw new Error(`item ${number} was moved twice within its cool-down`)
      }
      last.set(number, atS)
      moves.push({ atS, number })
      packer.moved(number, host)
    }
    const count = planned?.moves.length ?? 0
    if (count > allowed && count > 0) throw new Error('more was moved than was allowed')
    if (count > 0 && packer.inUse() >= before) throw new Error('moves that free nothing')
    freed += before - packer.inUse()
    // Of those that are live when it moves: that fewer are afterwards is not its doing.
    if (count > 0) mostShare = Math.max(mostShare, (lately + count) / packer.live)
  }
  const inUse = inUseOver(items, packer, instants, atS => {
    for (; nextS <= atS; nextS += planEveryS) {
      plan(nextS)
      if (nextS % dayS !== 0) continue
      shares += moves.filter(each => each.atS > nextS - dayS).length / packer.live
      days++
    }
  })
  product.check()
  return { inUse, moves: moves.length, freed, meanShare: shares / days, mostShare }
}
