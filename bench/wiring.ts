/**
 * How fast it is decided who is wired to whom, how many wires that takes and how evenly they spread: 1,000 rain servers,
 * 1,000 motherships, 10,000 components with two to eight running copies each. 950 rain servers have urls of their own
 * (eight components, each with nested ones), 50 render everything.
 *
 * - full: the whole wiring of a cloud without any, from the map alone;
 * - follow: the same where all is wired already, as a new leader finds it;
 * - change: one change of the cloud, noted and planned: a copy comes to run, moves, goes, a mothership goes and is back, a
 *   component is deployed and undeployed, a rain server comes and goes (one with urls of its own, one that renders
 *   everything), loads are others and a few wires may move for them. What is noted of a plan's own records counts for the
 *   change after it. How many wires it moved is counted, and that the wiring holds is checked by the checker that shares
 *   nothing with it. The bar is for the kind of change that takes longest: its 99th percentile.
 *
 * The number of wires is told beside a lower bound of each rain server's multicover (floors/wires.ts), which knows nothing
 * of copies that would be idle. Not measured: etcd, the queue, rain servers that open connections.
 *
 * `npm run bench -- wiring [changes of each kind]`
 */
import { type Applied, MemoryMap } from '../src/cloud/map.js'
import { type Change, defaultSettings, put, remove, type WiringRecord } from '../src/cloud/records.js'
import { wiringFaults } from '../src/cloud/wiring/check.js'
import { Wiring } from '../src/cloud/wiring/wiring.js'
import { aComponent, aMothership, anInstance, aRainServer, running, session } from '../test/support/records.js'
import { seeded } from './clouds/large.js'
import { fewestWires } from './floors/wires.js'
import { bar, finish, spreadOf } from './harness.js'

const changesEach = Number(process.argv[2] ?? 200)
const [serverCount, hostCount, componentCount, everythingCount] = [1_000, 1_000, 10_000, 50]
const at = '2026-03-01T12:00:00.000Z'
const next = seeded(7)
const below = (count: number): number => Math.floor(next() * count)
const say = (text: string): boolean => process.stderr.write(`${text}\n`)
const host = (index: number): string => `m${String(index).padStart(4, '0')}`
const server = (index: number): string => `r${String(index).padStart(4, '0')}`
const component = (index: number): string => `c${String(index).padStart(5, '0')}`

const loads = Array.from({ length: hostCount }, () => 0.2 + 0.6 * next() ** 2)
const heatOf = (id: string): number => loads[Number(id.slice(1))] ?? 0
const movesMax = 50

/** One in ten is a page with five parts; parts hold another one now and then. */
function usesOf(index: number): { component: string }[] {
  const count = index < componentCount / 10 ? 5 : next() < 0.3 ? 1 : 0
  const later = index < componentCount / 10 ? componentCount / 10 : index + 1
  return Array.from({ length: later < componentCount ? count : 0 }, () => {
    return { component: component(later + below(componentCount - later)) }
  })
}

function copyOn(index: number, n: number, on: string): Change[] {
  const id = `${component(index)}.${n}`
  return [put('instances', id, anInstance(id, [on])), running(on, id)]
}

function distinct(count: number): number[] {
  const found = new Set<number>()
  while (found.size < count) found.add(below(hostCount))
  return [...found]
}

const urlsOf = (index: number): string[] =>
  index < everythingCount ? ['/*'] : Array.from({ length: 8 }, () => `/${component(below(componentCount / 10))}/*`)

const deployed = (index: number, version = '1.0'): Change =>
  put(
    'components',
    `${component(index)}/${version}.0`,
    aComponent(component(index), version, { views: [{ id: 'index', uses: usesOf(index) }] }),
  )
const arrived = (index: number, urls = urlsOf(index)): Change[] => [
  put('rainservers', server(index), aRainServer(server(index), { urls })),
  session('rainserver', server(index)),
]

function cloud(): Change[] {
  const indexes = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
  return [
    put('settings', '', defaultSettings),
    ...indexes(hostCount).flatMap(index => [
      put('motherships', host(index), aMothership(host(index))),
      session('mothership', host(index)),
    ]),
    ...indexes(componentCount).map(index => deployed(index)),
    ...indexes(componentCount).flatMap(index => distinct(2 + below(7)).flatMap((on, n) => copyOn(index, n, host(on)))),
    ...indexes(serverCount).flatMap(index => arrived(index)),
  ]
}

function apply(map: MemoryMap, changes: readonly Change[]): readonly Applied[] {
  const revision = map.order.revision + 1
  const applied = changes.map(change => ({ ...change, created: revision, modified: revision })) as Applied[]
  map.apply(applied, revision)
  return applied
}

const map = new MemoryMap()
apply(map, cloud())
/** The compiler has seen enough of it then. */
for (let round = 0; round < 2; round++) new Wiring(map).plan({ heatOf, at })

const timed = <T>(work: () => T): { ms: number; result: T } => {
  const fromMs = performance.now()
  const result = work()
  return { ms: performance.now() - fromMs, result }
}

const fulls = Array.from({ length: 5 }, () => timed(() => new Wiring(map).plan({ heatOf, at })))
const full = spreadOf(fulls.map(each => each.ms))
if (fulls[0]!.result.length !== serverCount) throw new Error(`${fulls[0]!.result.length} rain servers were wired`)
apply(map, fulls[0]!.result)
const wiring = new Wiring(map)
const follow = timed(() => wiring.plan({ heatOf, at }))
if (follow.result.length > 0) throw new Error('a cloud that is wired was wired once more')
const check = (): void => {
  const faults = wiringFaults(map)
  if (faults.length > 0) throw new Error(`${faults.length} faults: ${faults.slice(0, 3).join('; ')}`)
}
check()
say(
  `full ${full.median.toFixed(0)} ms (${full.low.toFixed(0)} – ${full.high.toFixed(0)}), follow ${follow.ms.toFixed(0)} ms`,
)

function bound(): number {
  const { graph } = wiring
  let sum = 0
  for (const { territory } of graph.servers.values()) {
    sum += fewestWires(
      territory.list.map(version => {
        const { on } = graph.hostsOf(version)
        return { hosts: on, wanted: Math.min(graph.redundancy, on.length) }
      }),
    )
  }
  return sum
}

const wires = (): number => [...map.all('wiring')].reduce((sum, [, { value }]) => sum + value.wires.length, 0)
const [wired, fewest] = [wires(), bound()]
const boundOfEverything = ((): number => {
  const all = [...wiring.graph.servers.values()].filter(each => each.territory.key === '*')
  return all.reduce((sum, each) => sum + each.wires.length, 0)
})()
const counts = Array.from({ length: hostCount }, (_, index) => {
  const number = wiring.graph.motherships.find(host(index))
  return number === undefined ? 0 : wiring.graph.wiredTo(number).size
})
const spread = (values: readonly number[]): number =>
  Math.max(...values) / (values.reduce((sum, each) => sum + each, 0) / values.length)
const warm = counts.map((count, index) => count * loads[index]!)
const cold = ((): number => {
  const meanOf = (pick: (load: number) => boolean): number => {
    const some = counts.filter((_, index) => pick(loads[index]!))
    return some.reduce((sum, each) => sum + each, 0) / some.length
  }
  return meanOf(load => load > 0.6) / meanOf(load => load < 0.3)
})()

/** Copies that there are of `c.n`, for changes that come and go. */
const comes = new Map<string, readonly string[]>()
let born = 1_000
const kinds: Readonly<Record<string, () => Change[]>> = {
  'a copy comes': () => {
    const index = below(componentCount)
    const id = `${component(index)}.${born++}`
    const on = host(below(hostCount))
    comes.set(id, [on])
    return [put('instances', id, anInstance(id, [on])), running(on, id)]
  },
  'a copy moves': () => {
    const id = [...comes.keys()][0]!
    const [from] = comes.get(id)!
    const on = host(below(hostCount))
    comes.set(id, [on])
    return [remove('observed', `${from}/${id}`), put('instances', id, anInstance(id, [on])), running(on, id)]
  },
  'a copy goes': () => {
    const id = [...comes.keys()][0]!
    const [on] = comes.get(id)!
    comes.delete(id)
    return [remove('instances', id), remove('observed', `${on}/${id}`)]
  },
  'a mothership goes': () => [remove('sessions', `mothership/${host((away = below(hostCount)))}`)],
  'it is back': () => [session('mothership', host(away))],
  'a component is deployed': () => {
    const change = deployed(below(componentCount), `2.${born++}`)
    news.push(change.id)
    return [change]
  },
  'one is undeployed': () => [remove('components', news.splice(below(news.length), 1)[0]!)],
  'a rain server comes': () => arrived(serverCount),
  'the rain server goes': () => gone(server(serverCount)),
  'one for everything comes': () => arrived(serverCount, ['/*']),
  'the one for everything goes': () => gone(server(serverCount)),
  'loads are others': () => {
    const index = below(hostCount)
    loads[index] = loads[index]! > 0.8 ? 0.2 + 0.6 * next() ** 2 : 0.95
    return []
  },
}
let away = 0
/** Versions that were deployed, and not undeployed yet. */
const news: string[] = []
const gone = (id: string): Change[] => [
  remove('rainservers', id),
  remove('wiring', id),
  remove('sessions', `rainserver/${id}`),
]

interface Outcome {
  readonly ms: number
  readonly moved: number
}

const movedBy = (changes: readonly Change[]): number =>
  changes.reduce((sum, { id, value }) => {
    const before = new Set((map.get('wiring', id)?.value.wires ?? []).map(each => each.mothership))
    const after = new Set(((value as WiringRecord | null)?.wires ?? []).map(each => each.mothership))
    const came = [...after].filter(each => !before.has(each)).length
    const went = [...before].filter(each => !after.has(each)).length
    return sum + Math.max(came, went)
  }, 0)

function once(changes: readonly Change[]): Outcome {
  const applied = apply(map, changes)
  const move = changes.length === 0 ? { move: { max: movesMax, measured: heatOf } } : {}
  const { ms, result } = timed(() => {
    wiring.note(applied)
    return wiring.plan({ heatOf, at, ...move })
  })
  const moved = movedBy(result)
  wiring.note(apply(map, result))
  return { ms, moved }
}

const outcomes = new Map(Object.keys(kinds).map(name => [name, [] as Outcome[]]))
for (let round = -20; round < changesEach; round++) {
  for (const [name, change] of Object.entries(kinds)) {
    const outcome = once(change())
    if (round >= 0) outcomes.get(name)!.push(outcome)
  }
}
check()

const worst = (of: readonly Outcome[]): number => p99(of.map(each => each.ms))
const named = (prefix: string, value: (of: readonly Outcome[]) => number): Record<string, number> =>
  Object.fromEntries([...outcomes].map(([name, of]) => [`${prefix}_${name.replaceAll(' ', '_')}`, value(of)]))
const p99 = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)]!
const all = [...outcomes.values()].flat()
say('')
for (const [name, of] of outcomes) {
  const ms = of.map(each => each.ms)
  const moved = of.map(each => each.moved)
  say(
    `${name.padEnd(26)} ${spreadOf(ms).median.toFixed(3).padStart(8)} ms, p99 ${p99(ms).toFixed(2).padStart(6)} ms, ` +
      `wires moved ${spreadOf(moved).median} (at most ${Math.max(...moved)})`,
  )
}
say(`${wired} wires, at least ${fewest} are needed (${boundOfEverything} of rain servers that render everything)`)
finish(
  'wiring',
  {
    full_ms: full.median,
    follow_ms: follow.ms,
    change_median_ms: spreadOf(all.map(each => each.ms)).median,
    change_p99_ms: p99(all.map(each => each.ms)),
    wires: wired,
    wires_fewest: fewest,
    wires_after_changes_over_bound: wires() / bound(),
    wires_max_over_mean: spread(counts),
    weighted_load_max_over_mean: spread(warm),
    wires_of_warm_over_cool: cold,
    ...named('moved', of => of.reduce((sum, each) => sum + each.moved, 0) / of.length),
    ...named('median_ms', of => spreadOf(of.map(each => each.ms)).median),
    ...named('p99_ms', worst),
  },
  {
    full_ms: bar(full.median, 2_000, 'atMost'),
    change_ms: bar(Math.max(...[...outcomes.values()].map(worst)), 5, 'atMost'),
    wires_over_bound: bar(wired / fewest, 1.3, 'atMost'),
  },
)
