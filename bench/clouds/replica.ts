/** A replica in a process of its own (the built program), as an operator starts it, with a gauge in it. */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './etcd.js'
import type { Gauge } from './gauge.js'

const secret = 'bench-secret'
const program = join('dist', 'main.js')
const gauge = new URL('./gauge.js', import.meta.url).href

export interface BenchReplica {
  readonly url: string
  /** From the start of the process until it answered from its map. */
  readonly readyMs: number
  gauge(): Promise<Gauge>
  /** Milliseconds of the processor so far. */
  cpuMs(): Promise<number>
  get(path: string): Promise<{ readonly status: number; readonly ms: number; readonly body: unknown }>
  post(path: string, body: unknown): Promise<{ readonly status: number; readonly ms: number; readonly body: unknown }>
  stop(): Promise<void>
}

export interface ReplicaOptions {
  readonly id: string
  readonly etcd: string
  readonly cluster: string
  readonly dir: string
  readonly heapMiB?: number
}

/** Resolves when REST says that there are so many instances; throws when that takes longer than two minutes. */
export async function startReplica(options: ReplicaOptions, instances: number): Promise<BenchReplica> {
  const { id, dir, etcd, cluster } = options
  const port = await freePort()
  const [secretFile, bootstrapFile] = [join(dir, 'peer-secret'), join(dir, 'bootstrap.json')]
  writeFileSync(secretFile, secret)
  const digest = createHash('sha256').update(secret).digest('hex')
  writeFileSync(bootstrapFile, JSON.stringify([{ id: digest, role: 'admin', subject: 'bench' }]))
  const fromMs = performance.now()
  const child = fork(
    program,
    [
      ...['hypervisor', '--id', id, '--port', String(port), '--etcd', etcd, '--cluster', cluster],
      ...['--peer-secret-file', secretFile, '--bootstrap-file', bootstrapFile, '--log-level', 'warn'],
    ],
    {
      execArgv: ['--expose-gc', `--max-old-space-size=${options.heapMiB ?? 8192}`, '--import', gauge],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  const replica = handleOf(child, `http://127.0.0.1:${port}`)
  const readyMs = await ready(child, replica, instances, fromMs)
  return { ...replica, readyMs }
}

type Handle = Omit<BenchReplica, 'readyMs'>

function handleOf(child: ChildProcess, url: string): Handle {
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const call = async (path: string, init: RequestInit): ReturnType<BenchReplica['get']> => {
    const fromMs = performance.now()
    const headers = { user: secret, 'content-type': 'application/json' }
    const answer = await fetch(url + path, { ...init, headers })
    const body = await answer.json()
    return { status: answer.status, ms: performance.now() - fromMs, body }
  }
  const ended = gone.then(() => {
    throw new Error('the replica ended')
  })
  ended.catch(() => undefined)
  const ask = <T>(what: string): Promise<T> => {
    const answer = new Promise<T>(resolve => child.once('message', word => resolve(word as T)))
    child.send(what)
    return Promise.race([ended, answer])
  }
  process.once('exit', () => child.kill('SIGKILL'))
  return {
    url,
    gauge: () => ask<Gauge>('gauge'),
    cpuMs: () => ask<number>('cpu'),
    get: path => call(path, {}),
    post: (path, body) => call(path, { method: 'POST', body: JSON.stringify(body) }),
    stop: async () => {
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** The health route needs no token: the tokens are in the map, and on a first start not written yet. */
async function ready(child: ChildProcess, replica: Handle, instances: number, fromMs: number): Promise<number> {
  for (;;) {
    const takenMs = performance.now() - fromMs
    if (child.exitCode !== null) throw new Error(`the replica ended with ${child.exitCode}`)
    const answer = await replica.get('/map').catch(() => undefined)
    const found = (answer?.body as { instances?: number } | undefined)?.instances
    if (answer?.status === 200 && found === instances) return takenMs
    if (takenMs > 120_000) throw new Error(`not ready in two minutes: ${JSON.stringify(answer)?.slice(0, 300)}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
