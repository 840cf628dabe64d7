/**
 * Promotion of kept state: how long after the end of a mothership the instances whose primary copy it had are changed
 * again. In each round the mothership that has most of the primaries is killed (SIGKILL: the hypervisor sees the end of
 * its session) or stopped for a while (SIGSTOP: it is only silent), while clients change each instance through a rain
 * server, a few at a time. Measured for each of its instances: until the first change that was sent after the kill is
 * acknowledged. Then the mothership is started again, or goes on, and all copies are in sync before the next round.
 *
 * Checked: each acknowledged change is in the document in the end, once, as the number that it was told, in an order
 * that real time allows. After every 20 rounds the instances are stopped and begun anew: their documents grow by every
 * change, and would be most of what is measured.
 *
 * Not measured: several machines (all processes share the cores and the disk), the time until all copies are there again.
 *
 * `npm run bench -- promotion [--kills=200] [--stops=20]`
 */
import { StateCloud } from '../test/support/state-cloud.js'
import { Adders, readLog, violationsOf } from '../test/support/tally.js'
import { bar, finish } from './harness.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const option = (name: string): string | undefined =>
  process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3)

const kills = Number(option('kills') ?? 200)
const stops = Number(option('stops') ?? 20)
const instances = ['tally1', 'tally2', 'tally3']
const copies = 2
const batch = 20
const clientsEach = 2
const againWithinMs = 30_000
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

type AddersOf = ReadonlyMap<string, Adders>

async function changedAgain(adders: Adders, sinceMs: number): Promise<number> {
  while (performance.now() - sinceMs < againWithinMs) {
    const first = adders.firstSince(sinceMs)
    if (first) return first.ackedMs - sinceMs
    await pause(2)
  }
  throw new Error(`nothing was acknowledged for ${againWithinMs} ms`)
}

/** The one with most of the primaries; of equal ones the first. */
async function victimOf(cloud: StateCloud): Promise<{ id: string; instances: readonly string[] }> {
  const by = new Map<string, string[]>()
  for (const each of instances) {
    const primary = await cloud.primary(`${each}.main`)
    by.set(primary, [...(by.get(primary) ?? []), each])
  }
  const [id, its] = [...by].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1))[0]!
  return { id, instances: its }
}

async function whole(cloud: StateCloud): Promise<void> {
  for (const each of instances) await cloud.isWhole(`${each}.main`, copies)
}

async function round(cloud: StateCloud, adders: AddersOf, signal: 'SIGKILL' | 'SIGSTOP'): Promise<number[]> {
  const victim = await victimOf(cloud)
  const { process } = cloud.mothership(victim.id)
  const atMs = performance.now()
  process.signal(signal)
  const found = await Promise.all(victim.instances.map(each => changedAgain(adders.get(each)!, atMs)))
  if (signal === 'SIGSTOP') process.signal('SIGCONT')
  else {
    await process.end()
    process.start()
  }
  await whole(cloud)
  return found
}

interface Found {
  readonly times: readonly number[]
  readonly acknowledged: number
}

async function all(cloud: StateCloud, count: number, signal: 'SIGKILL' | 'SIGSTOP'): Promise<Found> {
  const times: number[] = []
  let acknowledged = 0
  for (let done = 0; done < count; done += batch) {
    for (const each of instances) await cloud.keep(each, copies)
    const adders = new Map(instances.map(each => [each, new Adders(cloud.urlOf(each), each, clientsEach)]))
    await pause(1_000)
    for (let n = done; n < Math.min(done + batch, count); n++) times.push(...(await round(cloud, adders, signal)))
    acknowledged += await verify(cloud, adders)
    for (const each of instances) await cloud.end(each)
    say(`${signal}: ${Math.min(done + batch, count)} of ${count} rounds, ${acknowledged} changes, none lost`)
  }
  return { times: times.sort((a, b) => a - b), acknowledged }
}

async function verify(cloud: StateCloud, adders: AddersOf): Promise<number> {
  let acknowledged = 0
  for (const [instance, each] of adders) {
    const added = await each.stop()
    const wrong = [...violationsOf(added, await readLog(cloud.urlOf(instance)))]
    if (wrong.length > 0) throw new Error(`${instance}: ${wrong.slice(0, 3).join('; ')}`)
    acknowledged += added.length
  }
  return acknowledged
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN

function print(name: string, sorted: readonly number[]): void {
  const cells = [sorted[0], at(sorted, 0.5), at(sorted, 0.9), at(sorted, 0.99), sorted.at(-1)]
  process.stdout.write(`${name.padEnd(34)}${cells.map(ms => (ms ?? Number.NaN).toFixed(0).padStart(10)).join('')}\n`)
}

say('starting a cloud …')
const cloud = await StateCloud.start({ motherships: 3 })
try {
  const { times: killed, acknowledged: beforeStops } = await all(cloud, kills, 'SIGKILL')
  const { times: silent, acknowledged: whileStopped } = await all(cloud, stops, 'SIGSTOP')
  const acknowledged = beforeStops + whileStopped
  const heads = ['lowest', 'p50', 'p90', 'p99', 'highest'].map(each => each.padStart(10)).join('')
  process.stdout.write(`${'ms'.padEnd(34)}${heads}\n`)
  print(`killed ${kills} times, ${killed.length} promotions`, killed)
  print(`silent ${stops} times, ${silent.length} promotions`, silent)
  process.stdout.write(`${acknowledged} changes were acknowledged, all of them are there, once\n`)
  finish(
    'promotion',
    {
      kills,
      promotions: killed.length,
      killedP50Ms: at(killed, 0.5),
      killedP99Ms: at(killed, 0.99),
      stops,
      silentP50Ms: at(silent, 0.5),
      silentP99Ms: at(silent, 0.99),
      acknowledged,
      lost: 0,
    },
    {
      killedP99Ms: bar(at(killed, 0.99), 1_000, 'atMost'),
      silentP99Ms: bar(at(silent, 0.99), 4_000, 'atMost'),
    },
  )
} finally {
  await cloud.close()
}
