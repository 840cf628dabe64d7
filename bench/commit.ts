/**
 * Group commit: how fast instances are started and acknowledged, against what etcd does bare through the same client
 * library, in one run on the same three members, in turns. Three real replicas; instances are started through one that
 * does not lead, one by one over 64 connections and in bulk (`?count=1000`), and one at a time for the latency.
 *
 * Calls bring no `Idempotency-Key`, so the answers to those of one transaction are kept in one value.
 *
 * Checked before anything is believed: every answer is 201, etcd holds exactly as many instances and answers more than
 * before as were acknowledged, and the chain of audit values has no gap.
 *
 * Not measured: motherships' reports (theirs never say anything), wanted states sent to nodes, several machines (all
 * processes and this client share the cores), a network between the members, disks that are slow to sync.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Etcd3 } from 'etcd3'
import { prefixEnd } from '../src/store/etcd.js'
import { readAnswers } from '../src/store/requests.js'
import { type EtcdQuestion, putsEach } from './floors/questions.js'
import { type Bar, finish, load, type Measured, printTable, rounds, spreadOf } from './harness.js'
import { type Cluster, deploy, keys, startCluster } from './support/cluster.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const option = (name: string): string | undefined =>
  process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3)

const roundsCount = Number(option('rounds') ?? 5)
const roundMs = Number(option('ms') ?? 2_000)
const warmUpMs = 6_000
const bulk = 1_000
const bulkConnections = 4
const connections = 64
/** For profiles: some of the things only, and nothing is compared. */
const only = option('only')?.split(',')
const profileInto = option('profile')

class Floor {
  #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(url: string): Promise<Floor> {
    const child = fork(fileURLToPath(new URL('./floors/etcd.js', import.meta.url)), [url])
    await new Promise(resolve => child.once('message', resolve))
    return new Floor(child)
  }

  ask(question: EtcdQuestion): Promise<Measured> {
    return new Promise((resolve, reject) => {
      const failed = (): void => reject(new Error('the floor ended'))
      this.#child.once('exit', failed)
      this.#child.once('message', measured => {
        this.#child.off('exit', failed)
        resolve(measured as Measured)
      })
      this.#child.send(question)
    })
  }

  stop(): void {
    this.#child.kill()
  }
}

/** What the cluster holds, as etcd counts it. */
interface Holdings {
  readonly instances: number
  readonly requests: number
  readonly audits: number
  readonly turn: number
}

class Auditor {
  readonly #client: Etcd3

  constructor(url: string) {
    this.#client = new Etcd3({ hosts: url })
  }

  async holdings(): Promise<Holdings> {
    const root = keys.map.replace(/map\/$/, '')
    const count = (prefix: string): Promise<number> => this.#client.getAll().prefix(prefix).count()
    const [instances, requests, audits, turn] = await Promise.all([
      count(keys.record('instances', 'x').slice(0, -1)),
      this.#answered(`${root}request/turn/`),
      count(`${root}log/audit/`),
      this.turn(),
    ])
    return { instances, requests, audits, turn }
  }

  /** Calls whose answer is kept. */
  async #answered(prefix: string): Promise<number> {
    let answered = 0
    const end = prefixEnd(prefix)
    for (let key = prefix, more = true; more; ) {
      const page = await this.#client.kv.range({ key: Buffer.from(key), range_end: Buffer.from(end), limit: 200 })
      for (const { value } of page.kvs) answered += readAnswers(value).filter(each => each.done).length
      key = `${page.kvs.at(-1)?.key.toString() ?? prefix}\0`
      more = page.more
    }
    return answered
  }

  async turn(): Promise<number> {
    const record = (await this.#client.get(keys.record('turn', '')).json()) as { number: number } | null
    return record?.number ?? 0
  }

  async bytesOf(instance: string): Promise<number> {
    const value = await this.#client.get(keys.record('instances', instance)).buffer()
    if (!value) throw new Error(`${instance} was acknowledged and is not in etcd`)
    return value.byteLength
  }

  close(): void {
    this.#client.close()
  }
}

/** The member that leads etcd itself: what is bare is measured where it is fastest. */
async function fastestMember({ layout }: Cluster): Promise<string> {
  for (const { url } of layout.etcd) {
    const client = new Etcd3({ hosts: url })
    const { leader, header } = await client.maintenance.status().finally(() => client.close())
    if (leader === header.member_id) return url
  }
  return layout.etcd[0]!.url
}

/** Acknowledged so far, warming up included. */
const acknowledged = { instances: 0, requests: 0 }
const cpuByThing = new Map<string, Record<string, number>>()
const workByThing = new Map<string, number>()
const turnsByThing = new Map<string, number>()

function starts(url: string, headers: Cluster['headers'], lanes: number, ms: number): () => Promise<Measured> {
  return async () => {
    const check = (status: number, body: string): boolean =>
      status === 201 && (body === '' || body.startsWith('{"id":"bench.'))
    const target = `${url}/webcomponent/bench/1.0`
    const asked = { url: target, method: 'POST', headers, connections: lanes, ms, check }
    const measured = await load({ ...asked, checkEvery: 20 })
    acknowledged.instances += measured.answers
    acknowledged.requests += measured.answers
    return measured
  }
}

/** In instances. */
function bulks(url: string, headers: Cluster['headers']): () => Promise<Measured> {
  return async () => {
    const check = (status: number, body: string): boolean =>
      status === 201 && (body === '' || (body.includes('"refused":[]') && body.split('"epoch":').length === bulk + 1))
    const target = `${url}/webcomponent/bench/1.0?count=${bulk}`
    const asked = { url: target, method: 'POST', headers, connections: bulkConnections, ms: roundMs, check }
    const measured = await load({ ...asked, checkEvery: 10 })
    acknowledged.instances += measured.answers * bulk
    acknowledged.requests += measured.answers
    return { ...measured, rate: measured.rate * bulk, answers: measured.answers * bulk }
  }
}

/** This process is the client of what is started, and idle while the floor is measured. */
function cpuSeconds(cluster: Cluster): Readonly<Record<string, number>> {
  const { user, system } = process.cpuUsage()
  return { ...cluster.cpuSeconds(), client: (user + system) / 1e6 }
}

/** Notes what each process spent on it. */
function spent(
  cluster: Cluster,
  auditor: Auditor,
  name: string,
  run: () => Promise<Measured>,
): () => Promise<Measured> {
  return async () => {
    const turn = await auditor.turn()
    const before = cpuSeconds(cluster)
    const measured = await run()
    turnsByThing.set(name, (turnsByThing.get(name) ?? 0) + (await auditor.turn()) - turn)
    const sums = cpuByThing.get(name) ?? {}
    for (const [process, seconds] of Object.entries(cpuSeconds(cluster))) {
      sums[process] = (sums[process] ?? 0) + seconds - (before[process] ?? 0)
    }
    cpuByThing.set(name, sums)
    workByThing.set(name, (workByThing.get(name) ?? 0) + measured.answers)
    return measured
  }
}

async function firstInstance(url: string, headers: Cluster['headers']): Promise<string> {
  const answer = await fetch(`${url}/webcomponent/bench/1.0`, { method: 'POST', headers })
  if (answer.status !== 201) throw new Error(`no instance: ${answer.status} ${await answer.text()}`)
  return ((await answer.json()) as { id: string }).id
}

async function measure(cluster: Cluster): Promise<void> {
  const { layout, headers } = cluster
  await deploy(cluster, 'bench', '1.0')
  const leader = await cluster.leader()
  const other = layout.replicas.find(each => each.id !== leader)!.url
  const member = await fastestMember(cluster)
  const auditor = new Auditor(member)
  const bytes = await auditor.bytesOf(await firstInstance(other, headers))
  say(`${leader} leads, the floor asks ${member}, values of ${bytes} bytes`)
  const before = await auditor.holdings()
  const floor = await Floor.start(member)
  const puts = (concurrency: number, ms: number) => (): Promise<Measured> =>
    floor.ask({ kind: 'puts', concurrency, ms, bytes })
  const things: Record<string, () => Promise<Measured>> = {
    puts: puts(connections, roundMs),
    starts: starts(other, headers, connections, roundMs),
    transactions: () => floor.ask({ kind: 'transactions', concurrency: 1, ms: roundMs, bytes }),
    bulk: bulks(other, headers),
    put: puts(1, roundMs / 2),
    here: starts(cluster.url(leader), headers, 1, roundMs / 2),
    there: starts(other, headers, 1, roundMs / 2),
  }
  const wanted = Object.entries(things).filter(([name]) => only?.includes(name) ?? true)
  await warmUp(wanted.filter(([name]) => name === 'starts' || name === 'bulk'))
  const noted = Object.fromEntries(wanted.map(([name, run]) => [name, spent(cluster, auditor, name, run)]))
  const found = await rounds(roundsCount, noted)
  floor.stop()
  verify(before, await auditor.holdings())
  auditor.close()
  if ((await cluster.leader()) !== leader) throw new Error('another replica leads now: the run says nothing')
  printSpent(leader, cluster)
  if (only) printTable([...found].map(([name, runs]) => ({ name, runs })))
  else report(found)
}

/** Until the code of the replicas is compiled: a first round alone is too short for that. */
async function warmUp(things: readonly (readonly [name: string, run: () => Promise<Measured>])[]): Promise<void> {
  say('warming up …')
  for (const [, run] of things) for (let ms = 0; ms < warmUpMs; ms += roundMs) await run()
}

function verify(before: Holdings, after: Holdings): void {
  const instances = after.instances - before.instances
  const requests = after.requests - before.requests
  if (instances !== acknowledged.instances || requests !== acknowledged.requests) {
    const said = `${acknowledged.instances} instances by ${acknowledged.requests} requests were acknowledged`
    throw new Error(`${said}, etcd holds ${instances} and ${requests} more than before`)
  }
  if (after.audits - before.audits !== after.turn - before.turn) throw new Error('the chain of audit values has a gap')
}

const medianOf = (runs: readonly Measured[], of: (run: Measured) => number): number => spreadOf(runs.map(of)).median

function report(found: Map<string, Measured[]>): void {
  const runs = (name: string): Measured[] => found.get(name)!
  const transactions = runs('transactions').map(each => ({ ...each, rate: each.rate * putsEach }))
  printTable([
    { name: `bare puts, ${connections} at once`, runs: runs('puts') },
    { name: `instantiate through another replica, ${connections} connections`, runs: runs('starts') },
    { name: `bare fenced transactions of ${putsEach}, one after another (puts)`, runs: transactions },
    { name: `instantiate ?count=${bulk}, ${bulkConnections} connections (instances)`, runs: runs('bulk') },
    { name: 'bare put, alone', runs: runs('put') },
    { name: 'instantiate through the leader, alone', runs: runs('here') },
    { name: 'instantiate through another replica, alone', runs: runs('there') },
  ])
  const rate = (each: Measured): number => each.rate
  const ratio = (of: readonly Measured[], to: readonly Measured[]): number =>
    spreadOf(of.map((each, round) => each.rate / to[round]!.rate)).median
  const startsToPuts = ratio(runs('starts'), runs('puts'))
  const bulkToTransactions = ratio(runs('bulk'), transactions)
  const [commitMs, hereMs, thereMs] = ['put', 'here', 'there'].map(name =>
    medianOf(runs(name), each => each.p50Ms),
  ) as [number, number, number]
  const allowedMs = 2 * commitMs + 5
  process.stdout.write(
    `starts / puts ${startsToPuts.toFixed(2)}, bulk / transactions ${bulkToTransactions.toFixed(2)}, ` +
      `alone ${hereMs.toFixed(2)} and ${thereMs.toFixed(2)} ms of ${allowedMs.toFixed(2)} ms\n`,
  )
  const atLeast = (value: number, bar: number): Bar => ({ value: Number(value.toPrecision(4)), bar, ok: value >= bar })
  const atMost = (value: number, bar: number): Bar => ({
    value: Number(value.toPrecision(4)),
    bar: Number(bar.toPrecision(4)),
    ok: value <= bar,
  })
  finish(
    'commit',
    {
      putsPerS: medianOf(runs('puts'), rate),
      startsPerS: medianOf(runs('starts'), rate),
      startsP50Ms: medianOf(runs('starts'), each => each.p50Ms),
      startsP99Ms: medianOf(runs('starts'), each => each.p99Ms),
      transactionPutsPerS: medianOf(transactions, rate),
      bulkInstancesPerS: medianOf(runs('bulk'), rate),
      putAloneMs: commitMs,
      startAtLeaderMs: hereMs,
      startElsewhereMs: thereMs,
    },
    {
      startsToPuts: atLeast(startsToPuts, 1.5),
      bulkToTransactions: atLeast(bulkToTransactions, 0.6),
      startAtLeaderMs: atMost(hereMs, allowedMs),
      startElsewhereMs: atMost(thereMs, allowedMs),
    },
  )
}

/** Processor time by process, for one instance started (or one put, one transaction). */
function printSpent(leader: string, cluster: Cluster): void {
  const { etcd, replicas } = cluster.layout
  const names = [...etcd.map(each => `etcd-${each.id}`), ...replicas.map(nameOf), 'client']
  process.stdout.write(`\nprocessor time for each, µs (hypervisor-${leader} leads)\n`)
  for (const [thing, sums] of cpuByThing) {
    const work = workByThing.get(thing)!
    const each = names.map(name => `${name} ${Math.round(((sums[name] ?? 0) / work) * 1e6)}`)
    const perTurn = work / turnsByThing.get(thing)!
    const shared = perTurn < 1_000 ? `   (${perTurn.toFixed(1)} to a transaction)` : ''
    process.stdout.write(`  ${thing.padEnd(14)}${each.join('   ')}${shared}\n`)
  }
}

const nameOf = ({ id }: { readonly id: string }): string => `hypervisor-${id}`

say('starting a cluster …')
const nodeFlags = profileInto === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileInto]
const cluster = await startCluster({ motherships: 10, nodeFlags })
try {
  await measure(cluster)
} finally {
  await cluster.stop()
}
