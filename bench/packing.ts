/**
 * How good placement is: hosts used (`pack`), variation with room kept for large items (`balanced`), balance over time
 * (`spread` and rebalance), on traces of real clusters, beside what others do, by one harness. Parameters are the
 * defaults that users get. Not measured: speed (`placement`), moves' own cost, what measuring costs.
 */
import { type Bar, bar, finish } from './harness.js'
import { carriedOver } from './packing/carried.js'
import { instantsOf, inUseOver, meanOver, movedOver } from './packing/churn.js'
import { hostsFor, type Spread, spreadsOn } from './packing/compared.js'
import { heuristics } from './packing/heuristics.js'
import { balanceOverTime } from './packing/month.js'
import { type Packer, packerOf, productPacker } from './packing/packers.js'
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
const instants = instantsOf(optimum.dlrmAt.length)
const fixedHosts = 635

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const figures: Record<string, number> = {}
const bars: Record<string, Bar> = {}
const skipped: string[] = []

function staticTable(
  name: string,
  items: readonly Item[],
  hosts: number,
  fewest: number,
): { ours: number; others: number } {
  say(`\n${name}: hosts for ${items.length} items of which none leaves; fewest possible ${fewest}`)
  const { ours, others } = hostsFor(items, hosts)
  for (const [who, count] of [...others, ['this product, pack', ours] as const].sort((a, b) => a[1] - b[1])) {
    say(`  ${who.padEnd(38)} ${String(count).padStart(6)}   ${(count / fewest).toFixed(3)}`)
  }
  return { ours, others: others[0]![1] }
}

function balanced(name: string, items: readonly Item[], hosts: number): Spread {
  say(`\n${name}: ${items.length} items on ${hosts} hosts; variation (sigma over mean) of cpu and ram, items rejected`)
  const rows = spreadsOn(items, hosts)
  for (const { name: who, cpu, ram, rejected } of rows) {
    say(`  ${who.padEnd(38)} ${cpu.toFixed(3)}  ${ram.toFixed(3)}  ${String(rejected).padStart(5)}`)
  }
  return rows.find(each => each.name.endsWith('balanced'))!
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
  const over = (packer: Packer): number => meanOver(inUseOver(inference, packer, instants), optimum.dlrmAt)
  const rows = heuristics(1).map(each => [each.name, over(packerOf(each))] as const)
  const product = productPacker(1_500)
  const found = over(product)
  for (const [who, share] of [...rows, [product.name, found] as const].sort((a, b) => a[1] - b[1])) {
    say(`  ${who.padEnd(38)} ${share.toFixed(3)}`)
  }
  figures['dlrmOverTime'] = found
  figures['dlrmOverTimeBestOther'] = Math.min(...rows.map(each => each[1]))
  bars['dlrmOverTime'] = bar(found, 1.1, 'atMost')
  const moved = movedOver(inference, productPacker(1_500), instants)
  const share = meanOver(moved.inUse, optimum.dlrmAt)
  const percent = (of: number): string => `${(of * 100).toFixed(1)} %`
  say(
    `  ${'this product, pack, with moves'.padEnd(38)} ${share.toFixed(3)}   ${moved.moves} moves free ${moved.freed} hosts,`,
  )
  say(`    ${percent(moved.meanShare)} of the live items a day, at most ${percent(moved.mostShare)} in any 24 hours`)
  figures['dlrmOverTimeMoved'] = share
  figures['dlrmMovesPerDayShare'] = moved.meanShare
  figures['dlrmMovesPerDayShareMost'] = moved.mostShare
  bars['dlrmOverTimeMoves'] = bar(share, 1.05, 'atMost')
  bars['dlrmMovesPerDayShareMost'] = bar(moved.mostShare, 0.05, 'atMost')
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

Object.assign(figures, carriedOver(say, inference, pods))

const month = balanceOverTime(say)
if (month) {
  Object.assign(figures, month)
  bars['bitbrainsMaxOverMean'] = bar(month.bitbrainsMaxOverMean / month.bitbrainsOtherMaxOverMean, 0.96, 'atMost')
  bars['bitbrainsOverloaded'] = bar(month.bitbrainsOverloaded / month.bitbrainsOtherOverloaded, 0.7, 'atMost')
} else skipped.push('bitbrains')

if (skipped.length > 0) say(`\n${skipped.length} skipped, their data is not at RAIN_DATA: ${skipped.join(', ')}`)
say('')
finish('packing', figures, bars)
