/**
 * What nodes cost a replica: the memory of ten thousand sessions, and the processor time of their heartbeats and load
 * reports, each beside a bare websocket server with as many connections that only ping, in one run. Both are processes
 * of their own, and so are the two crowds of nodes.
 *
 * Memory is what the process grew by (rss, after collection) from before the first node came until all had their
 * welcome and their wanted state; for the bare server two frames as long. It holds the nodes' records, too, which are in
 * the map of any replica. Not measured: larger wanted states, changes of the cloud, TLS, several replicas.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Change, put } from '../src/cloud/records.js'
import { digestOf } from '../src/hypervisor/actors.js'
import { fill, say, startEtcd } from './clouds/etcd.js'
import type { Gauge } from './clouds/gauge.js'
import { startReplica } from './clouds/replica.js'
import { bar, finish, type Spread, spreadOf } from './harness.js'
import type { Count, Order } from './sessions/crowd.js'
import { nodeId, secretOf } from './sessions/names.js'

const [nodes = 10_000, rounds = 5] = process.argv.slice(2).map(Number)
const windowMs = 10_000
const settleMs = 3_000
const cluster = 'sessions'
const dir = mkdtempSync(join(tmpdir(), 'rain-bench-'))
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Answers in order, one at a time. */
function start(path: string, args: readonly string[], execArgv: readonly string[] = []) {
  const child = fork(file(path), [...args], { execArgv: [...execArgv] })
  children.add(child)
  const ended = new Promise<never>((_resolve, reject) => {
    child.once('exit', code => reject(new Error(`${path} ended with ${code}`)))
  })
  ended.catch(() => undefined)
  const next = <T>(): Promise<T> =>
    Promise.race([ended, new Promise<T>(resolve => child.once('message', word => resolve(word as T)))])
  const ask = <T>(word: Order | string): Promise<T> => {
    const answer = next<T>()
    child.send(word)
    return answer
  }
  return { next, ask, stop: () => void child.kill('SIGKILL') }
}

type Process = ReturnType<typeof start>

function* tokens(): Iterable<Change> {
  for (let i = 0; i < nodes; i++) {
    const id = digestOf(secretOf(i))
    const node = { kind: 'rainserver' as const, id: nodeId(i) }
    const createdAt = '2026-01-01T00:00:00.000Z'
    yield put('tokens', id, { schema: 1, id, role: 'node', subject: `rainserver/${node.id}`, createdAt, node })
  }
}

interface Server {
  readonly name: string
  readonly gauge: () => Promise<Gauge>
  readonly cpuMs: () => Promise<number>
  readonly crowd: Process
}

/** Grown by, for each node, in bytes. */
async function fillUp({ name, gauge, crowd }: Server): Promise<{ rss: number; held: number; count: Count }> {
  const before = await settled(gauge)
  const fromMs = performance.now()
  const count = await crowd.ask<Count>({ do: 'connect' })
  if (count.greeted < nodes || count.open !== nodes) throw new Error(`${name}: ${JSON.stringify(count)}`)
  say(`${name}: ${nodes} nodes after ${Math.round(performance.now() - fromMs)} ms`)
  const after = await settled(gauge)
  return {
    rss: (after.rssBytes - before.rssBytes) / nodes,
    held: (after.heldBytes - before.heldBytes) / nodes,
    count,
  }
}

async function settled(gauge: () => Promise<Gauge>): Promise<Gauge> {
  await sleep(settleMs)
  await gauge()
  await sleep(1_000)
  return gauge()
}

/** Milliseconds of the processor for each second, over one window. */
async function cpuOf({ name, cpuMs, crowd }: Server): Promise<number> {
  const { pongs, lost } = await crowd.ask<Count>({ do: 'count' })
  const before = await cpuMs()
  const fromMs = performance.now()
  await sleep(windowMs)
  const after = await cpuMs()
  const count = await crowd.ask<Count>({ do: 'count' })
  const seconds = (performance.now() - fromMs) / 1_000
  const answered = (count.pongs - pongs) / seconds
  if (count.lost !== lost || count.open !== nodes) throw new Error(`${name}: nodes were lost: ${JSON.stringify(count)}`)
  if (answered < 0.9 * nodes) throw new Error(`${name}: only ${Math.round(answered)} pings a second were answered`)
  // What a busy crowd left out counts as if it had been asked.
  return ((after - before) / seconds) * (nodes / answered)
}

const etcd = await startEtcd(join(dir, 'etcd'))
try {
  await fill(etcd.etcd, cluster, tokens())
  const replica = await startReplica({ id: 'h1', etcd: etcd.url, cluster, dir }, 0)
  const gauge = new URL('./clouds/gauge.js', import.meta.url).href
  const crowdOf = (url: string, what: string): Process => start('./sessions/crowd.js', [url, what, String(nodes)])

  const nodesOfReplica = crowdOf(replica.url, 'replica')
  const ours: Server = { name: 'replica', gauge: replica.gauge, cpuMs: replica.cpuMs, crowd: nodesOfReplica }
  const grown = await fillUp(ours)
  const sizes = [grown.count.welcomeBytes, grown.count.wantedBytes].map(String)
  const bareServer = start('./floors/ws.js', sizes, ['--expose-gc', '--max-old-space-size=8192', '--import', gauge])
  const bareUrl = await bareServer.next<string>()
  const bareGauge = (): Promise<Gauge> => bareServer.ask<Gauge>('gauge')
  const bareCpuMs = (): Promise<number> => bareServer.ask<number>('cpu')
  const bare: Server = { name: 'bare', gauge: bareGauge, cpuMs: bareCpuMs, crowd: crowdOf(bareUrl, 'bare') }
  const floor = await fillUp(bare)
  await nodesOfReplica.ask<Count>({ do: 'beat', loads: true })
  await bare.crowd.ask<Count>({ do: 'beat', loads: false })

  const [oursMs, bareMs, ratios]: [number[], number[], number[]] = [[], [], []]
  await sleep(settleMs)
  for (let round = 0; round <= rounds; round++) {
    // Both all the time, in the same windows: whatever else the machine does touches both alike.
    const [a, b] = await Promise.all([cpuOf(ours), cpuOf(bare)])
    say(`round ${round}: replica ${a.toFixed(0)} ms/s, bare ${b.toFixed(0)} ms/s`)
    if (round === 0) continue
    oursMs.push(a)
    bareMs.push(b)
    ratios.push(a / b)
  }
  await checkLoads(replica)
  const rows: [string, Spread][] = [
    ['processor, replica, ms each second', spreadOf(oursMs)],
    ['processor, bare, ms each second', spreadOf(bareMs)],
    ['processor, replica / bare', spreadOf(ratios)],
  ]
  for (const [name, { median, low, high }] of rows) {
    process.stdout.write(
      `${name.padEnd(38)} ${median.toFixed(2).padStart(9)}   ${low.toFixed(2)} – ${high.toFixed(2)}\n`,
    )
  }
  process.stdout.write(
    `grown by, for each of ${nodes} nodes: replica ${grown.rss.toFixed(0)} bytes (${grown.held.toFixed(0)} held by JavaScript), ` +
      `bare ${floor.rss.toFixed(0)} (${floor.held.toFixed(0)})\n`,
  )
  const figures = {
    nodes,
    replicaBytes: grown.rss,
    bareBytes: floor.rss,
    replicaHeldBytes: grown.held,
    bareHeldBytes: floor.held,
    replicaMs: spreadOf(oursMs).median,
    bareMs: spreadOf(bareMs).median,
  }
  finish('sessions', figures, {
    memory: bar(grown.rss / floor.rss, 1.5, 'atMost'),
    cpu: bar(spreadOf(ratios).median, 2, 'atMost'),
  })
  nodesOfReplica.stop()
  bare.crowd.stop()
  bareServer.stop()
  await replica.stop()
} finally {
  await etcd.stop()
  rmSync(dir, { recursive: true, force: true })
}

/** The reports have come to be what the replica says of its nodes. */
async function checkLoads(replica: { get(path: string): Promise<{ readonly body: unknown }> }): Promise<void> {
  for (const i of [0, Math.floor(nodes / 2), nodes - 1]) {
    const { body } = await replica.get(`/rainservers/${nodeId(i)}`)
    const { state, load } = body as { state: string; load: { cpu: number; freshness: string } | null }
    if (state !== 'ready' || load?.freshness !== 'fresh')
      throw new Error(`not a node that reports: ${JSON.stringify(body)}`)
  }
}
