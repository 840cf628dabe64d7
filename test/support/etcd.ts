/** Real etcd members on loopback for tests, on free ports, ended with the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TestEtcd {
  readonly urls: readonly string[]
  pid(member: number): number
  /** SIGKILL, and waits for the end of the process. */
  kill(member: number): Promise<void>
  signal(member: number, signal: NodeJS.Signals): void
  /** Starts a killed member again, with its data. */
  restart(member: number): Promise<void>
  stop(): Promise<void>
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer()
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

export async function waitUntil(
  what: string,
  check: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  const untilMs = performance.now() + withinMs
  for (;;) {
    if (await check()) return
    if (performance.now() > untilMs) throw new Error(`not in ${withinMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

export async function startEtcd(members: 1 | 3 = 1, more: readonly string[] = []): Promise<TestEtcd> {
  const dir = mkdtempSync(join(tmpdir(), 'rain-etcd-'))
  const ports = await freePorts(members * 2)
  const names = Array.from({ length: members }, (_, i) => `e${i}`)
  const client = (i: number): string => `http://127.0.0.1:${ports[i * 2]}`
  const peer = (i: number): string => `http://127.0.0.1:${ports[i * 2 + 1]}`
  const cluster = names.map((name, i) => `${name}=${peer(i)}`).join(',')
  const running = new Map<number, ChildProcess>()

  const start = (i: number): void => {
    const child = spawn(
      'etcd',
      [
        ...['--name', names[i]!, '--data-dir', join(dir, names[i]!)],
        ...['--listen-client-urls', client(i), '--advertise-client-urls', client(i)],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
        ...['--pre-vote=true', '--log-level', 'error', '--logger', 'zap'],
        ...more,
      ],
      { stdio: 'ignore' },
    )
    children.add(child)
    running.set(i, child)
    child.once('exit', () => children.delete(child))
  }
  const healthy = (i: number) => async (): Promise<boolean> => {
    const answer = await fetch(`${client(i)}/health`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    return answer?.ok === true
  }
  const end = (i: number): Promise<void> => {
    const child = running.get(i)
    running.delete(i)
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
    return new Promise(resolve => {
      child.once('exit', () => resolve())
      child.kill('SIGKILL')
    })
  }

  for (let i = 0; i < members; i++) start(i)
  for (let i = 0; i < members; i++) await waitUntil(`etcd member ${i} is healthy`, healthy(i), 40_000)
  return {
    urls: names.map((_, i) => client(i)),
    pid: member => running.get(member)!.pid!,
    kill: end,
    signal: (member, signal) => void running.get(member)?.kill(signal),
    restart: async member => {
      start(member)
      await waitUntil(`etcd member ${member} is healthy again`, healthy(member), 40_000)
    },
    stop: async () => {
      await Promise.all(names.map((_, i) => end(i)))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
