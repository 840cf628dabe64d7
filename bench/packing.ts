/**
 * How good placement is: hosts used (`pack`), variation with room kept for large items (`balanced`), balance over time
 * (`spread` and rebalance), on traces of real clusters, beside what others do, by one harness. Parameters are the
 * defaults that users get. Not measured: speed (`placement`), moves' own cost, what measuring costs.
 */
import { type Bar, bar, finish } from './harness.js'
import { type Heuristic, Hosts, heuristics, type Size } from './packing/heuristics.js'
import { balanceOverTime } from './packing/month.js'
import { Product } from './packing/product.js'
import { dlrm, type Item, madeUp, openb } from './packing/traces.js'

/**
 * Fewest hosts by the linear relaxation over whole patterns (Gilmore and Gomory, by column generation with an exact
 * solver, to the last digit given), of all items and of those that are there at 24 instants; no heuristic does better.
 */
const optimum = {
  dlrm: 4_268.66,
  dlrmAt: [
    870.25, 890.5, 895.25, 897.5, 902.75, 907, 916, 933.5, 946.5, 953.5, 989.5, 999.75, 1012.25, 1037.25, 1017.25,
    1069.167, 1027.333, 1048.167, 1009, 1041.844, 1057.438, 1072.104, 1082.021, 1082.688,
  ],
  openb: 444,
}
const spanS = 2_676_571
const instants = optimum.dlrmAt.map((_, index) => (spanS * (index + 1)) / optimum.dlrmAt.length)
const fixedHosts = 635

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const figures: Record<string, number> = {}
const bars: Record<string, Bar> = {}
const skipped: string[] = []

interface Packer {
  readonly name: string
  place(item: Item): void
  leave(item: Item): void
  inUse(): number
}

function packerOf(heuristic: Heuristic): Packer {
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

function productPacker(hosts: number): Packer & { readonly product: Product } {
  const product = new Product(hosts, { policy: 'pack' })
  const counts = new Map<number, number>()
  const where = new Map<number, number>()
  return {
    name: 'this product, pack',
    product,
    place: item => {
      const host = product.place(item.number, item.size)
      if (host < 0) throw new Error('it fits nowhere: more hosts are needed')
      where.set(item.number, host)
      counts.set(host, (counts.get(host) ?? 0) + 1)
    },
    leave: item => {
      const host = where.get(item.number)!
      product.leave(item.number)
      if (counts.get(host) === 1) counts.delete(host)
      else counts.set(host, counts.get(host)! - 1)
    },
    inUse: () => counts.size,
  }
}

function packAll(items: readonly Item[], packer: Packer): number {
  for (const item of items) packer.place(item)
  return packer.inUse()
}

/** Hosts in use at each instant, in shares of the fewest. */
function packOverTime(items: readonly Item[], packer: Packer): number {
  const leave = 0
  const come = 1
  const pass = 2
  const events = items.flatMap((item): [number, number, Item][] => [
    [item.at, come, item],
    ...(item.end < Number.POSITIVE_INFINITY
      ? [[item.end, item.end <= item.at ? pass : leave, item] as [number, number, Item]]
      : []),
  ])
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2].number - b[2].number)
  const shares: number[] = []
  const until = (atS: number): void => {
    while (shares.length < instants.length && instants[shares.length]! < atS) {
      shares.push(packer.inUse() / optimum.dlrmAt[shares.length]!)
    }
  }
  for (const [atS, what, item] of events) {
    until(atS)
    if (what === come) packer.place(item)
    else packer.leave(item)
  }
  until(Number.POSITIVE_INFINITY)
  return shares.reduce((sum, each) => sum + each, 0) / shares.length
}

interface Spread {
  readonly cpu: number
  readonly ram: number
  readonly rejected: number
}

function spreadOn(items: readonly Item[], hosts: number, place: (item: Item) => number): Spread {
  const used = Array.from({ length: hosts }, (): [number, number, number] => [0, 0, 0])
  let rejected = 0
  for (const item of items) {
    const host = place(item)
    if (host < 0) rejected++
    else for (const axis of [0, 1, 2] as const) used[host]![axis] += item.size[axis]
  }
  return { cpu: variation(used, 0), ram: variation(used, 1), rejected }
}

function variation(used: readonly Size[], axis: 0 | 1 | 2): number {
  const mean = used.reduce((sum, each) => sum + each[axis], 0) / used.length
  return Math.sqrt(used.reduce((sum, each) => sum + (each[axis] - mean) ** 2, 0) / used.length) / mean
}

function staticTable(
  name: string,
  items: readonly Item[],
  hosts: number,
  fewest: number,
): { ours: number; others: number } {
  say(`\n${name}: hosts for ${items.length} items of which none leaves; fewest possible ${fewest}`)
  const rows = heuristics(1).map(each => [each.name, packAll(items, packerOf(each))] as const)
  const ours = productPacker(hosts)
  const found = packAll(items, ours)
  ours.product.check()
  for (const [who, count] of [...rows, [ours.name, found] as const].sort((a, b) => a[1] - b[1])) {
    say(`  ${who.padEnd(38)} ${String(count).padStart(6)}   ${(count / fewest).toFixed(3)}`)
  }
  return { ours: found, others: Math.min(...rows.map(each => each[1])) }
}

function balanced(name: string, items: readonly Item[], hosts: number): Spread {
  say(`\n${name}: ${items.length} items on ${hosts} hosts; variation (sigma over mean) of cpu and ram, items rejected`)
  const rows: [string, Spread][] = heuristics(1).map(each => {
    const fleet = new Hosts(hosts)
    const place = (item: Item): number => {
      const host = each.choose(fleet, item.size)
      if (host >= 0) fleet.take(host, item)
      return host
    }
    return [each.name, spreadOn(items, hosts, place)]
  })
  for (const policy of ['spread', 'balanced'] as const) {
    const product = new Product(hosts, { policy })
    rows.push([`this product, ${policy}`, spreadOn(items, hosts, item => product.place(item.number, item.size))])
    product.check()
  }
  for (const [who, { cpu, ram, rejected }] of rows.sort(
    (a, b) => a[1].rejected - b[1].rejected || a[1].cpu - b[1].cpu,
  )) {
    say(`  ${who.padEnd(38)} ${cpu.toFixed(3)}  ${ram.toFixed(3)}  ${String(rejected).padStart(5)}`)
  }
  return rows.find(([who]) => who.endsWith('balanced'))![1]
}

const some = madeUp(2_000)
const volume = Math.max(...([0, 1, 2] as const).map(axis => some.reduce((sum, each) => sum + each.size[axis], 0)))
const made = staticTable('made-up items', some, 1_200, Math.ceil(volume))
figures['madeUpHostsOverBestOther'] = made.ours / made.others
balanced('made-up items', some.slice(0, 1_000), 420)

const inference = dlrm()
if (inference) {
  const { ours, others } = staticTable('dlrm', inference, 4_700, optimum.dlrm)
  figures['dlrmStatic'] = ours / optimum.dlrm
  figures['dlrmStaticBestOther'] = others / optimum.dlrm
  bars['dlrmStatic'] = bar(ours / optimum.dlrm, 1.04, 'atMost')
  say('\ndlrm with arrivals and departures, nothing is moved: hosts in use over the fewest, mean of 24 instants')
  const rows = heuristics(1).map(each => [each.name, packOverTime(inference, packerOf(each))] as const)
  const product = productPacker(1_500)
  const found = packOverTime(inference, product)
  for (const [who, share] of [...rows, [product.name, found] as const].sort((a, b) => a[1] - b[1])) {
    say(`  ${who.padEnd(38)} ${share.toFixed(3)}`)
  }
  figures['dlrmOverTime'] = found
  figures['dlrmOverTimeBestOther'] = Math.min(...rows.map(each => each[1]))
  bars['dlrmOverTime'] = bar(found, 1.1, 'atMost')
  bars['dlrmOverTimeMoves'] = bar(found, 1.05, 'atMost')
} else skipped.push('dlrm')

const pods = openb()
if (pods) {
  const { ours, others } = staticTable('openb', pods, 520, optimum.openb)
  figures['openbHosts'] = ours
  bars['openbHosts'] = bar(ours, others, 'atMost')
  const { cpu, ram, rejected } = balanced('openb', pods, fixedHosts)
  figures['openbBalancedCpu'] = cpu
  figures['openbBalancedRam'] = ram
  figures['openbBalancedRejected'] = rejected
  bars['openbBalancedCpu'] = bar(cpu, 0.12, 'atMost')
  bars['openbBalancedRejected'] = bar(rejected, 0, 'atMost')
} else skipped.push('openb')

const month = balanceOverTime(say)
if (month) {
  Object.assign(figures, month)
  bars['bitbrainsMaxOverMean'] = bar(month.bitbrainsMaxOverMean / month.bitbrainsOtherMaxOverMean, 0.96, 'atMost')
  bars['bitbrainsOverloaded'] = bar(month.bitbrainsOverloaded / month.bitbrainsOtherOverloaded, 0.7, 'atMost')
} else skipped.push('bitbrains')

if (skipped.length > 0) say(`\n${skipped.length} skipped, their data is not at RAIN_DATA: ${skipped.join(', ')}`)
say('')
finish('packing', figures, bars)
