/**
 * Whether what was found on the traces carries over: the same on parts of them, on made-up items of other seeds and on
 * hosts of other sizes, each beside the best of what others do there. The worst of each is the figure.
 */
import { hostsFor, isDominated, isOurs, spreadsOn } from './compared.js'
import { halfOf, type Item, madeUp } from './traces.js'

type Named = readonly [name: string, items: readonly Item[]]
const parts = [0, 1] as const
const seeds = [1, 2]
/** Mean load of the fixed hosts, of the resource that is asked most. */
const load = 0.7

const volumeOf = (items: readonly Item[]): number =>
  Math.max(...([0, 1, 2] as const).map(axis => items.reduce((sum, each) => sum + each.size[axis], 0)))

/** As on hosts that are so many times as large; what does not fit any is left out. */
const onHosts = (items: readonly Item[], times: number): Item[] =>
  items
    .map(each => ({ ...each, size: [each.size[0] / times, each.size[1] / times, each.size[2] / times] as const }))
    .filter(({ size }) => Math.max(...size) <= 1)

const halves = (name: string, items: readonly Item[], of: readonly number[]): Named[] =>
  of.flatMap(seed => parts.map((part): Named => [`${name}, half ${seed}.${part}`, halfOf(items, seed, part)]))

export function carriedOver(
  say: (text: string) => void,
  dlrm: readonly Item[] | undefined,
  openb: readonly Item[] | undefined,
): Record<string, number> {
  say('\ncarried over: hosts with pack, the best of the others, and the share of it')
  const made = [8, 9].map((seed): Named => [`made-up items, seed ${seed}`, madeUp(1_500, seed)])
  const figures: Record<string, number> = { madeUpSeedsWorstOverBest: packed(say, made) }
  if (dlrm) {
    figures['dlrmHalvesWorstOverBest'] = packed(say, halves('dlrm', dlrm, [1]))
    figures['dlrmHostsWorstOverBest'] = packed(say, [['dlrm, hosts twice as large', onHosts(dlrm, 2)]])
  }
  if (openb) {
    figures['openbHalvesWorstOverBest'] = packed(say, halves('openb', openb, seeds))
    const sizes = [2 / 3, 4 / 3].map(
      (times): Named => [`openb, hosts ${times.toFixed(2)} as large`, onHosts(openb, times)],
    )
    figures['openbHostsWorstOverBest'] = packed(say, sizes)
    say(
      `\ncarried over: variation of cpu with balanced and rejected; the others that reject as few, at a load of ${load}`,
    )
    Object.assign(figures, balanced(say, [...halves('openb', openb, seeds), ...sizes]))
  }
  return figures
}

function packed(say: (text: string) => void, all: readonly Named[]): number {
  const shares = all.map(([name, items]) => {
    const { ours, others } = hostsFor(items, Math.ceil(volumeOf(items) * 2))
    const [best, count] = others[0]!
    say(
      `  ${name.padEnd(38)} ${String(ours).padStart(6)} ${String(count).padStart(6)}   ${(ours / count).toFixed(3)}   ${best}`,
    )
    return ours / count
  })
  return Math.max(...shares)
}

function balanced(say: (text: string) => void, all: readonly Named[]): Record<string, number> {
  let [cpu, rejected, dominated] = [0, 0, 0]
  for (const [name, items] of all) {
    const rows = spreadsOn(items, Math.round(volumeOf(items) / load))
    const ours = rows.find(each => each.name.endsWith('balanced'))!
    const other = rows.filter(each => !isOurs(each) && each.rejected <= ours.rejected).sort((a, b) => a.cpu - b.cpu)[0]
    const beside = other ? `${other.cpu.toFixed(3)}  ${other.rejected}   ${other.name}` : 'none'
    say(`  ${name.padEnd(38)} ${ours.cpu.toFixed(3)}  ${String(ours.rejected).padStart(3)}   ${beside}`)
    cpu = Math.max(cpu, ours.cpu)
    rejected += ours.rejected
    if (isDominated(ours, rows)) dominated++
  }
  return {
    openbPartsBalancedCpuWorst: cpu,
    openbPartsBalancedRejected: rejected,
    openbPartsBalancedDominated: dominated,
  }
}
