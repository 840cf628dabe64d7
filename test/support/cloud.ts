/** A whole cloud of real processes, started as a user would: by `rain up`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { UpState } from '../../src/cli/up/state.js'
import { waitUntil } from './etcd.js'

const program = join(import.meta.dirname, '..', '..', 'dist', 'main.js')

export interface TestCloud {
  readonly dataDir: string
  readonly portBase: number
  /** What `up.json` says now. */
  state(): UpState
  /** Everything that `up` printed so far. */
  said(): string
  /** SIGINT to `up`, as Ctrl-C sends it; resolves with its exit code. */
  stop(): Promise<number>
  /** Stops if need be, and removes the data. */
  close(): Promise<void>
}

/** A base with enough free ports above it; other clouds on this machine have other ones. */
export async function freePortBase(): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const base = 20_000 + Math.floor(Math.random() * 60) * 200
    const probes = [0, 1, 2, 5, 10, 11, 12, 30, 50, 70, 90, 120, 121, 124]
    const free = await Promise.all(probes.map(offset => isFree(base + offset)))
    if (free.every(Boolean)) return base
  }
  throw new Error('no free ports')
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })

const started = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of started) child.kill('SIGTERM')
})

export interface CloudOptions {
  readonly args?: readonly string[]
  readonly dataDir?: string
  readonly portBase?: number
}

/** Resolves when it printed `ready`; rejects with what it printed when it ended instead. */
export async function startCloud({ args = [], dataDir, portBase }: CloudOptions = {}): Promise<TestCloud> {
  const directory = dataDir ?? mkdtempSync(join(tmpdir(), 'rain-cloud-'))
  const base = portBase ?? (await freePortBase())
  const { child, said, ended } = runUp(['--data-dir', directory, '--port-base', String(base), ...args])
  let code: number | undefined
  void ended.then(value => {
    code = value
  })
  await waitUntil(
    'the cloud is ready',
    () => {
      if (code !== undefined) throw new Error(`up ended with ${code}: ${said()}`)
      return /^ready$/m.test(said())
    },
    90_000,
  )
  const stop = async (): Promise<number> => {
    child.kill('SIGINT')
    return ended
  }
  return {
    dataDir: directory,
    portBase: base,
    said,
    state: () => JSON.parse(readFileSync(join(directory, 'up.json'), 'utf8')) as UpState,
    stop,
    close: async () => {
      if (code === undefined) await stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

export interface RunningUp {
  readonly child: ChildProcess
  said(): string
  /** Its exit code. */
  readonly ended: Promise<number>
}

export function runRain(args: readonly string[], env: NodeJS.ProcessEnv = {}): RunningUp {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  started.add(child)
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
  }
  const ended = new Promise<number>(resolve => {
    child.once('close', code => {
      started.delete(child)
      resolve(code ?? -1)
    })
  })
  return { child, said: () => text, ended }
}

export const runUp = (args: readonly string[]): RunningUp => runRain(['up', ...args])

/** Pids of all processes whose command line names the directory. */
export async function processesOf(directory: string): Promise<number[]> {
  const { readdir } = await import('node:fs/promises')
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    try {
      if (readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(directory)) found.push(Number(name))
    } catch {
      // It ended meanwhile.
    }
  }
  return found
}
