/**
 * How fast it is decided where an instance runs, and how evenly that spreads: by the engine as the leader uses it, with
 * every rule, measured loads, zones, the record of each decision; beside it a bare scan over typed arrays.
 *
 * - decisions, one after the other in batches of 1,000 on a draft, at 100, 1,000 and 10,000 motherships;
 * - the whole: `instantiate` of 1,000, its changes applied to the map and to the engine, at 5,000 motherships;
 * - growth: the whole, from nothing to a million instances;
 * - evenness at 10,000 motherships, where the engine looks at a sample: beside the bare scan of all, which goes by the
 *   fullest resource alone, and beside a scan of all by the formula of the engine, so that sampling alone is compared.
 *
 * Not measured: etcd, the queue, other replicas (see `commit`); how well policies pack and balance (see `packing`).
 *
 * `npm run bench -- placement [instances to grow to]`
 */
import { instantiate } from '../src/cloud/decide/instances.js'
import { Draft } from '../src/cloud/draft.js'
import { type Applied, MemoryMap } from '../src/cloud/map.js'
import { Engine } from '../src/cloud/placement/engine.js'
import { noPlan } from '../src/cloud/placement/plan.js'
import { type Change, defaultSettings, type InstanceRecord, put, type Resources } from '../src/cloud/records.js'
import { aComponent, aMothership, aSession, seeded } from './clouds/large.js'
import { BareScan, FormulaScan } from './floors/scan.js'
import { type Bar, finish, spreadOf } from './harness.js'

const growTo = Number(process.argv[2] ?? 1_000_000)
const batch = 1_000
const rounds = 15
/** The compiler has seen enough of it by then. */
const warmUp = 10
const at = '2026-03-01T12:00:00.000Z'
const component = 'component-0001'
const say = (text: string): boolean => process.stderr.write(`${text}\n`)

/** Three sizes of motherships, none of which a round fills. */
const sizes: readonly Resources[] = [
  { cpu: 64_000, ram: 131_072, bandwidth: 10_000_000 },
  { cpu: 32_000, ram: 131_072, bandwidth: 10_000_000 },
  { cpu: 96_000, ram: 262_144, bandwidth: 25_000_000 },
]

function needs(seed: number): () => Resources {
  const next = seeded(seed)
  const one = (of: readonly number[]): number => of[Math.floor(next() * of.length)]!
  return () => ({ cpu: one([5, 10, 20, 40]), ram: one([8, 16, 32, 64]), bandwidth: one([100, 500, 2_000]) })
}

interface Cloud {
  readonly map: MemoryMap
  readonly engine: Engine
  readonly capacities: readonly Resources[]
  /** Real time: loads are looked at as often as the leader would. */
  nowMs(): number
  commit(changes: readonly Change[]): void
}

function cloudOf(motherships: number): Cloud {
  const map = new MemoryMap()
  const ids = Array.from({ length: motherships }, (_, index) => `mothership-${String(index).padStart(5, '0')}`)
  const capacities = ids.map((_, index) => sizes[index % sizes.length]!)
  const first: Change[] = [
    put('settings', '', defaultSettings),
    put('components', `${component}/1.0.0`, aComponent(component, '1.0.0')),
    ...ids.flatMap((id, index) => [
      put('motherships', id, { ...aMothership(id), capacity: capacities[index]! }),
      aSession(id),
    ]),
  ]
  const apply = (changes: readonly Change[]): readonly Applied[] => {
    const revision = map.order.revision + 1
    const applied = changes.map(change => ({ ...change, created: revision, modified: revision })) as Applied[]
    map.apply(applied, revision)
    return applied
  }
  apply(first)
  // Every mothership says what it uses; reservations are above it, so that both sides go by the same.
  const load = { cpu: 1, ram: 1, bandwidth: 1, ageMs: 500 }
  const engine = new Engine(map, () => load)
  return {
    map,
    engine,
    capacities,
    nowMs: () => performance.now(),
    commit: changes => engine.apply(apply(changes), performance.now()),
  }
}

const recordOf = (id: string, on: string, need: Resources): InstanceRecord => ({
  schema: 1,
  id,
  component,
  version: '1.0.0',
  need,
  placement: {},
  epoch: 1,
  primary: on,
  inSync: [on],
  learners: [],
  generation: 0,
  createdAt: at,
})

let made = 0

/** A batch of decisions that see each other. Returns microseconds for each of them. */
function decide(cloud: Cloud, need: () => Resources, times?: number[]): number {
  const draft = new Draft(cloud.map)
  const fromMs = performance.now()
  let beforeMs = fromMs
  for (let index = 0; index < batch; index++) {
    const id = `${component}.${made++}`
    const question = { component, version: '1.0.0', need: need(), wish: {}, copies: 1, seed: id }
    const found = cloud.engine.place(draft, question, { nowMs: cloud.nowMs(), at })
    if (found.kind === 'nowhere') throw new Error(`not placed: ${JSON.stringify(found.reasons[0])}`)
    draft.add([put('instances', id, recordOf(id, found.on[0]!, question.need))])
    if (times) {
      const nowMs = performance.now()
      times.push((nowMs - beforeMs) * 1_000)
      beforeMs = nowMs
    }
  }
  const us = ((performance.now() - fromMs) * 1_000) / batch
  cloud.commit(draft.changes())
  return us
}

function scan(bare: BareScan, need: () => Resources): number {
  const fromMs = performance.now()
  for (let index = 0; index < batch; index++) if (bare.place(need()) < 0) throw new Error('the floor is full')
  return ((performance.now() - fromMs) * 1_000) / batch
}

const at99 = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)]!
const row = (...cells: (string | number)[]): void => {
  const text = cells.map((cell, column) =>
    typeof cell === 'string' ? (column === 0 ? cell.padEnd(44) : cell.padStart(18)) : cell.toFixed(2).padStart(12),
  )
  process.stdout.write(`${text.join('  ')}\n`)
}

const figures: Record<string, number> = {}
const bars: Record<string, Bar> = {}
const atLeast = (name: string, value: number, bar: number): void => {
  figures[name] = value
  bars[name] = { value: Number(value.toPrecision(4)), bar, ok: value >= bar }
}
const atMost = (name: string, value: number, bar: number): void => {
  figures[name] = value
  bars[name] = { value: Number(value.toPrecision(4)), bar, ok: value <= bar }
}

/** Of the fullest mothership and the mean, in the resource where that is worst. */
function unevenness(used: readonly (readonly number[])[]): number {
  const of = (name: number): number => {
    const shares = used.map(each => each[name]!)
    return Math.max(...shares) / (shares.reduce((sum, each) => sum + each, 0) / shares.length)
  }
  return Math.max(of(0), of(1), of(2))
}

row('decisions, µs each', 'median', 'spread', 'p99 of one')
for (const motherships of [100, 1_000, 10_000]) {
  const cloud = cloudOf(motherships)
  const floor = new BareScan(cloud.capacities)
  const [need, sameNeed] = [needs(motherships), needs(motherships)]
  const [ours, floors, times]: [number[], number[], number[]] = [[], [], []]
  for (let round = -warmUp; round < rounds; round++) {
    const us = decide(cloud, need, round < 0 ? undefined : times)
    const floorUs = scan(floor, sameNeed)
    if (round < 0) continue
    ours.push(us)
    floors.push(floorUs)
  }
  const [own, least] = [spreadOf(ours), spreadOf(floors)]
  const spread = ({ low, high }: { low: number; high: number }): string => `${low.toFixed(2)} – ${high.toFixed(2)}`
  row(`${motherships} motherships: engine`, own.median, spread(own), at99(times))
  row(`${motherships} motherships: bare scan`, least.median, spread(least))
  figures[`decisionUs${motherships}`] = own.median
  figures[`decisionP99Us${motherships}`] = at99(times)
  figures[`scanUs${motherships}`] = least.median
  const share = spreadOf(ours.map((us, round) => floors[round]! / us)).median
  if (motherships === 1_000) atLeast('rateToScan1000', share, 0.7)
  if (motherships === 10_000) atLeast('rateToScan10000', share, 5)
}

say('evenness …')
{
  const cloud = cloudOf(10_000)
  const floor = new BareScan(cloud.capacities)
  const same = new FormulaScan(cloud.capacities, 0.4, 0.6)
  const [need, floorNeed, sameNeed] = [needs(5), needs(5), needs(5)]
  for (let done = 0; done < 200_000; done += batch) {
    decide(cloud, need)
    scan(floor, floorNeed)
    scan(same, sameNeed)
  }
  const used = cloud.capacities.map((capacity, index) => {
    const { reserved } = cloud.map.heldOn(`mothership-${String(index).padStart(5, '0')}`)
    return [reserved.cpu / capacity.cpu, reserved.ram / capacity.ram, reserved.bandwidth / capacity.bandwidth]
  })
  const [own, all, alike] = [unevenness(used), unevenness(floor.used()), unevenness(same.used())]
  row('worst resource, max / mean: engine', own)
  row('  bare scan of all', all)
  row('  scan of all by the same formula', alike)
  atMost('unevennessToScan', own / all, 1.02)
  atMost('unevennessToSameFormula', own / alike, 1.02)
}

/** Everything that a call for 1,000 instances costs but etcd. Returns instances per second. */
function whole(cloud: Cloud, number: number): number {
  const fromMs = performance.now()
  const requestId = number.toString(16).padStart(32, '0').split('').reverse().join('')
  const verdict = instantiate(
    cloud.map,
    { component, version: '1.0', count: batch, bulk: true, wish: { need: { cpu: 20, ram: 32, bandwidth: 500 } } },
    {
      actor: { subject: 'bench', role: 'operator' },
      requestId,
      at,
      place: (on, question) => cloud.engine.place(on, question, { nowMs: cloud.nowMs(), at }),
      plan: () => noPlan,
    },
  )
  if (verdict.kind !== 'do' || verdict.steps.length !== batch) throw new Error('not all were placed')
  cloud.commit(verdict.steps.flatMap(step => step.changes))
  return batch / ((performance.now() - fromMs) / 1_000)
}

say(`growing to ${growTo} …`)
{
  const cloud = cloudOf(5_000)
  const rates: number[] = []
  for (let number = 1; number * batch <= growTo + 10 * batch; number++) {
    rates.push(whole(cloud, number))
    if (number % 100 === 0) say(`${number * batch} instances, ${Math.round(rates.at(-1)!)} a second`)
  }
  if (cloud.map.count('instances') < growTo) throw new Error('not all instances are there')
  // The first ten warm up.
  const measured = rates.slice(10)
  const part = Math.max(1, Math.floor(measured.length / 10))
  const [first, last] = [spreadOf(measured.slice(0, part)), spreadOf(measured.slice(-part))]
  const all = spreadOf(measured)
  row('whole, instances/s at 5,000 motherships', all.median, `${all.low.toFixed(0)} – ${all.high.toFixed(0)}`)
  row('of these the first and the last tenth', first.median, last.median.toFixed(0))
  atLeast('placementsPerS5000', all.median, 40_000)
  figures['firstPerS'] = first.median
  figures['lastPerS'] = last.median
  atLeast('lastToFirst', last.median / first.median, 0.9)
}
finish('placement', figures, bars)
