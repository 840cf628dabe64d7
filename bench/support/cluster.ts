/**
 * Three etcd members and three replicas as `rain up` would start them, on free ports of loopback, and motherships that
 * have a session and never say anything: what the control plane does by itself, without nodes that report.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Etcd3 } from 'etcd3'
import { pack } from 'tar-stream'
import { type Layout, layoutOf } from '../../src/cli/up/layout.js'
import { etcdProcesses, type ProcessSpec, replicaProcesses } from '../../src/cli/up/processes.js'
import { readSecrets } from '../../src/cli/up/secrets.js'
import { Keys } from '../../src/store/keys.js'
import { writeValue } from '../../src/store/values.js'

export interface Cluster {
  readonly layout: Layout
  readonly headers: Readonly<Record<string, string>>
  /** As the replicas themselves say it. */
  leader(): Promise<string>
  /** Url of a replica. */
  url(replica: string): string
  /** Seconds of processor time that each process has used so far, by its name. */
  cpuSeconds(): Readonly<Record<string, number>>
  /** Sends the signal now; resolves when the process has ended. */
  end(replica: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** Starts a replica that has ended; resolves when it serves. */
  start(replica: string): Promise<void>
  stop(): Promise<void>
}

export interface ClusterOptions {
  readonly motherships: number
  /** For Node, before the program: `--cpu-prof` and the like. */
  readonly nodeFlags?: readonly string[]
}

/** The name that the replicas give their cloud when nothing else is said. */
export const keys = new Keys('main')
const capacity = { cpu: 1e9, ram: 1e9, bandwidth: 1e9 }
const ticksPerSecond = 100

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })

/** A base with free ports at the offsets that a layout takes. */
export async function freeBase(): Promise<number> {
  const offsets = [0, 1, 2, 5, 10, 11, 12, 30, 50, 70, 90, 120, 121, 122, 123, 124, 125]
  const first = 34_000 + 200 * Math.floor(Math.random() * 60)
  for (let base = first; base < 60_000; base += 200) {
    const free = await Promise.all(offsets.map(offset => isFree(base + offset)))
    if (free.every(Boolean)) return base
  }
  throw new Error('no free ports')
}

async function until(what: string, check: () => Promise<boolean>, withinMs = 30_000): Promise<void> {
  const untilMs = performance.now() + withinMs
  while (!(await check().catch(() => false))) {
    if (performance.now() > untilMs) throw new Error(`not in ${withinMs} ms: ${what}`)
    await pause(50)
  }
}

class Processes {
  readonly #children = new Map<string, ChildProcess>()

  constructor(private readonly directory: string) {
    mkdirSync(directory, { recursive: true })
    process.once('exit', () => {
      for (const child of this.#children.values()) child.kill('SIGKILL')
    })
  }

  start({ name, program, args }: ProcessSpec): void {
    const log = openSync(join(this.directory, `${name}.log`), 'w')
    this.#children.set(name, spawn(program, args, { stdio: ['ignore', log, log] }))
  }

  cpuSeconds(): Record<string, number> {
    return Object.fromEntries([...this.#children].map(([name, { pid }]) => [name, cpuSecondsOf(pid)]))
  }

  end(name: string, signal: NodeJS.Signals): Promise<void> {
    return ended(this.#children.get(name)!, signal)
  }

  async stop(): Promise<void> {
    for (const child of [...this.#children.values()].reverse()) await ended(child, 'SIGTERM')
  }
}

function cpuSecondsOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise(resolve => child.once('exit', resolve))
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exit
  clearTimeout(timer)
}

const answers = async (url: string): Promise<boolean> => (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok

export async function startCluster({ motherships, nodeFlags = [] }: ClusterOptions): Promise<Cluster> {
  const dataDir = mkdtempSync(join(tmpdir(), 'rain-bench-'))
  const sizes = { etcd: 3, replicas: 3, motherships, rainServers: 0, portBase: await freeBase() }
  const layout = layoutOf(sizes)
  const secrets = readSecrets(dataDir, layout)
  const processes = new Processes(join(dataDir, 'log'))
  const headers = { user: secrets.tokens.operator, 'content-type': 'application/json' }
  const url = (replica: string): string => layout.replicas.find(each => each.id === replica)!.url
  const leader = async (): Promise<string> => {
    const answer = await fetch(`${layout.replicas[0]!.url}/readyz`, { signal: AbortSignal.timeout(2_000) })
    return ((await answer.json()) as { leader: string | null }).leader ?? ''
  }
  const stop = async (): Promise<void> => {
    await processes.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
  try {
    for (const spec of etcdProcesses(layout, dataDir)) processes.start(spec)
    for (const each of layout.etcd) await until(`${each.id} is healthy`, () => answers(`${each.url}/health`))
    const specs = replicaProcesses(layout, secrets, { node: process.execPath, rain: 'dist/main.js' })
    const replicas = specs.map(spec => ({ ...spec, args: [...nodeFlags, ...spec.args] }))
    for (const spec of replicas) processes.start(spec)
    const start = async (replica: string): Promise<void> => {
      processes.start(replicas[layout.replicas.findIndex(each => each.id === replica)]!)
      await until(`${replica} serves`, () => answers(`${url(replica)}/readyz`))
    }
    const end: Cluster['end'] = (replica, signal) => processes.end(`hypervisor-${replica}`, signal)
    for (const each of layout.replicas) await until(`${each.id} serves`, () => answers(`${each.url}/readyz`))
    await until('there is a leader', async () => (await leader()) !== '')
    await addMotherships(layout, headers)
    return { layout, headers, url, leader, stop, end, start, cpuSeconds: () => processes.cpuSeconds() }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Registered over REST; the sessions are put beside every lease, as no process is there to keep them. */
async function addMotherships({ motherships, replicas, etcd }: Layout, headers: Cluster['headers']): Promise<void> {
  const [replica] = replicas
  const client = new Etcd3({ hosts: etcd[0]!.url })
  try {
    for (const { id, url: address } of motherships) {
      const body = JSON.stringify({ id, address, capacity })
      const answer = await fetch(`${replica!.url}/mothership/`, { method: 'POST', headers, body })
      if (answer.status !== 201) throw new Error(`${id} is not registered: ${answer.status} ${await answer.text()}`)
      // Held by no replica, so that none takes it along when it ends.
      const session = { schema: 1, kind: 'mothership', id, replica: 'nobody', address } as const
      const value = Buffer.from(writeValue('sessions', session))
      await client.put(keys.record('sessions', `mothership/${id}`)).value(value)
    }
  } finally {
    client.close()
  }
}

/** A component of one view, deployed. */
export async function deploy({ layout, headers }: Cluster, id: string, version: string): Promise<void> {
  const tar = pack()
  const meta = { id, version, description: 'for a benchmark', views: { index: {} } }
  const mtime = new Date(0)
  tar.entry({ name: 'meta.json', mtime }, JSON.stringify(meta))
  tar.entry({ name: 'client/templates/index.html', mtime }, '<p>hello</p>')
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  const answer = await fetch(`${layout.replicas[0]!.url}/webcomponent/`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/gzip' },
    body: new Uint8Array(gzipSync(Buffer.concat(parts))),
  })
  if (answer.status !== 201) throw new Error(`the package was not taken: ${answer.status} ${await answer.text()}`)
}
