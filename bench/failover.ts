/**
 * Failover: how long after the end of the leader an instance is started again. In each round the leader of three real
 * replicas is killed (SIGKILL), and at the same moment one instantiation is sent to another replica, which carries it
 * until some leader has written it; measured until its answer, 201. Then the same with a clean stop (SIGTERM). Beside
 * it, in the same run, what the three transactions of a bare takeover cost.
 *
 * Checked: every term is two seconds old when its leader ends, another replica leads afterwards, every answer is 201 at
 * the first sending, and in the end every instance that was acknowledged is in etcd, once.
 *
 * Not measured: several machines (all processes share the cores), a leader that is cut off or stands still (see the
 * faults), motherships' part in a failover.
 */

import { takeoverFloor } from './floors/takeover.js'
import { type Bar, finish, spreadOf } from './harness.js'
import { type Cluster, deploy, startCluster } from './support/cluster.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const option = (name: string): string | undefined =>
  process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3)

const kills = Number(option('kills') ?? 200)
const stops = Number(option('stops') ?? 40)
const settledMs = 2_000
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

interface Round {
  readonly ms: number
  readonly status: number
}

const acknowledged: string[] = []

async function instantiate(url: string, headers: Cluster['headers']): Promise<number> {
  const answer = await fetch(`${url}/webcomponent/bench/1.0`, { method: 'POST', headers })
  const body = (await answer.json()) as { id?: string }
  if (answer.status === 201) acknowledged.push(body.id!)
  return answer.status
}

/** Who leads, once all three replicas say the same and have links to each other. */
async function settled(cluster: Cluster): Promise<string> {
  const { replicas } = cluster.layout
  for (let tries = 0; tries < 400; tries++) {
    const said = await Promise.all(replicas.map(({ url }) => readiness(url)))
    const [first] = said
    if (first?.leader && said.every(each => each?.leader === first.leader)) return first.leader
    await pause(25)
  }
  throw new Error('the replicas did not agree on a leader')
}

async function readiness(url: string): Promise<{ leader: string | null } | undefined> {
  const answer = await fetch(`${url}/readyz`).catch(() => undefined)
  return answer?.ok ? ((await answer.json()) as { leader: string | null }) : undefined
}

async function round(cluster: Cluster, number: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<Round> {
  const leader = await settled(cluster)
  await pause(settledMs)
  const others = cluster.layout.replicas.filter(each => each.id !== leader)
  const { url } = others[number % others.length]!
  if ((await instantiate(url, cluster.headers)) !== 201)
    throw new Error('no instance could be started before the round')
  const fromMs = performance.now()
  const end = cluster.end(leader, signal)
  const status = await instantiate(url, cluster.headers)
  const ms = performance.now() - fromMs
  await end
  if ((await readiness(url))?.leader === leader) throw new Error('the round did not change the leader')
  await cluster.start(leader)
  return { ms, status }
}

async function all(cluster: Cluster, count: number, signal: 'SIGKILL' | 'SIGTERM', floor: () => Promise<void>) {
  const found: number[] = []
  for (let number = 0; number < count; number++) {
    const { ms, status } = await round(cluster, number, signal)
    if (status !== 201) throw new Error(`round ${number}: ${status} after ${Math.round(ms)} ms`)
    found.push(ms)
    await floor()
    if ((number + 1) % 10 === 0) say(`${number + 1} of ${count} by ${signal}, the last one ${ms.toFixed(1)} ms`)
  }
  return found.sort((a, b) => a - b)
}

async function verify(cluster: Cluster): Promise<void> {
  const url = cluster.url(await settled(cluster))
  const found = new Set<string>()
  for (let start = 0; ; start += 1000) {
    const path = `/mothership/m1/webcomponents?start=${start}&range=1000&consistency=linearizable`
    const answer = await fetch(url + path, { headers: cluster.headers })
    const { items } = (await answer.json()) as { items: { id: string }[] }
    for (const { id } of items) found.add(id)
    if (items.length < 1000) break
  }
  const missing = acknowledged.filter(id => !found.has(id))
  if (missing.length > 0 || found.size !== acknowledged.length) {
    throw new Error(`${acknowledged.length} were acknowledged, ${found.size} are there, ${missing.length} missing`)
  }
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]!

function print(name: string, sorted: readonly number[]): void {
  const cells = [sorted[0]!, at(sorted, 0.5), at(sorted, 0.9), at(sorted, 0.99), sorted.at(-1)!]
  process.stdout.write(`${name.padEnd(28)}${cells.map(ms => ms.toFixed(1).padStart(10)).join('')}\n`)
}

say('starting a cluster …')
const cluster = await startCluster({ motherships: 1 })
const bare = takeoverFloor(cluster.layout.etcd[0]!.url)
try {
  await deploy(cluster, 'bench', '1.0')
  const floors: number[] = []
  const floor = async (): Promise<void> => void floors.push(await bare.once())
  await floor()
  floors.length = 0
  const killed = await all(cluster, kills, 'SIGKILL', floor)
  const stopped = await all(cluster, stops, 'SIGTERM', floor)
  await verify(cluster)
  floors.sort((a, b) => a - b)
  const heads = ['lowest', 'p50', 'p90', 'p99', 'highest'].map(each => each.padStart(10)).join('')
  process.stdout.write(`${'ms'.padEnd(28)}${heads}\n`)
  print(`kill -9, ${killed.length} rounds`, killed)
  print(`clean stop, ${stopped.length} rounds`, stopped)
  print(`bare takeover, ${floors.length} rounds`, floors)
  const atMost = (value: number, bar: number): Bar => ({ value: Number(value.toPrecision(4)), bar, ok: value <= bar })
  finish(
    'failover',
    {
      kills: killed.length,
      killP50Ms: at(killed, 0.5),
      killP99Ms: at(killed, 0.99),
      killMaxMs: killed.at(-1)!,
      stops: stopped.length,
      stopP50Ms: at(stopped, 0.5),
      stopMaxMs: stopped.at(-1)!,
      bareTakeoverMs: spreadOf(floors).median,
    },
    {
      killP99Ms: atMost(at(killed, 0.99), 100),
      killMaxMs: atMost(killed.at(-1)!, 1_000),
      stopMaxMs: atMost(stopped.at(-1)!, 100),
    },
  )
} finally {
  bare.close()
  await cluster.stop()
}
