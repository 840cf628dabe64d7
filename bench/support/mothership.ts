/**
 * A mothership as its service starts it, told what to run by a replica that is none, and asked for fragments over a link
 * as a rain server has it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import WebSocket from 'ws'
import { mothershipFlags } from '../../src/cli/up/processes.js'
import { decode, encode } from '../../src/protocol/codec.js'
import { type MessageOf, renderPath, subprotocol, type WantedInstance } from '../../src/protocol/messages.js'
import { freePorts, waitUntil } from '../../test/support/etcd.js'
import { FakeReplica } from '../../test/support/fake-replica.js'
import { aPackage } from '../../test/support/packages.js'
import { aKey } from '../../test/support/tickets.js'

export type Answer = MessageOf<'fragment'> | MessageOf<'failed'>

export interface Memory {
  /** MiB: pages that several processes share are counted once, by shares. */
  readonly pss: number
  /** MiB: pages that several processes share are counted for each. */
  readonly rss: number
  readonly processes: number
}

export class BenchMothership {
  readonly #key = aKey()
  readonly #dir = mkdtempSync(join(tmpdir(), 'rain-bench-'))
  readonly #replica: FakeReplica
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #child: ChildProcess | undefined
  #socket: WebSocket | undefined
  #next = 1

  private constructor(replica: FakeReplica) {
    this.#replica = replica
  }

  static async start(): Promise<BenchMothership> {
    const mothership = new BenchMothership(await FakeReplica.start())
    await mothership.#start()
    return mothership
  }

  async #start(): Promise<void> {
    const [port, metricsPort] = await freePorts(2)
    const tokenFile = join(this.#dir, 'token')
    writeFileSync(tokenFile, 'token')
    this.want({})
    const flags: Record<string, string> = {
      id: 'm1',
      port: String(port),
      'metrics-port': String(metricsPort),
      hypervisor: this.#replica.url,
      'token-file': tokenFile,
      'data-dir': join(this.#dir, 'data'),
      'log-level': 'error',
    }
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
    const stdio = ['ignore', 'ignore', 'inherit'] as const
    const argv = [...mothershipFlags, 'dist/main.js', 'mothership', ...args]
    this.#child = spawn(process.execPath, argv, { stdio: [...stdio] })
    await waitUntil('the mothership has its keys', () => this.#replica.applied.length > 0)
    const authorization = `Bearer ${this.#key.ticket('m1')}`
    const socket = new WebSocket(`ws://127.0.0.1:${port}${renderPath}`, subprotocol, { headers: { authorization } })
    socket.on('message', data => {
      const decoded = decode(data as Buffer)
      if (decoded.kind !== 'message') return
      const { message } = decoded
      if (message.t !== 'fragment' && message.t !== 'failed') return
      const settle = this.#waiting.get(message.r)
      this.#waiting.delete(message.r)
      settle?.(message)
    })
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    this.#socket = socket
  }

  /** A component whose code is `data`, with a template for each view; returns the digest of its package. */
  async deploy(id: string, views: Readonly<Record<string, string>>, data: string): Promise<string> {
    const names = Object.keys(views)
    return this.#replica.has(
      await aPackage({
        'meta.json': JSON.stringify({ id, version: '1.0', views: Object.fromEntries(names.map(each => [each, {}])) }),
        ...Object.fromEntries(names.map(each => [`client/templates/${each}.html`, views[each]!])),
        'client/css/page.css': `.${id} {}`,
        'server/data.js': data,
      }),
    )
  }

  want(instances: Readonly<Record<string, WantedInstance>>): void {
    const { id, publicKey } = this.#key
    const entries = Object.entries(instances).map(([name, each]) => [`instances/${name}`, each])
    this.#replica.want({ keys: { keys: [{ id, publicKey }] }, ...Object.fromEntries(entries) })
  }

  /** Resolves when the replica has heard that it runs. */
  async running(instance: string, generation = 0, everyMs = 1): Promise<void> {
    const untilMs = performance.now() + 60_000
    for (;;) {
      const last = this.#replica.last(instance)
      if (last?.phase === 'running' && last.generation === generation) return
      if (performance.now() > untilMs) throw new Error(`${instance} does not run: ${JSON.stringify(last)}`)
      await new Promise(resolve => setTimeout(resolve, everyMs))
    }
  }

  render(instance: string, view = 'index', deadlineMs = 10_000): Promise<Answer> {
    const r = this.#next++
    this.#socket?.send(encode({ t: 'render', r, instance, view, context: {}, deadlineMs }))
    return new Promise(resolve => this.#waiting.set(r, resolve))
  }

  /** Of the mothership and everything that it started. */
  memory(): Memory {
    const pids = [this.#child!.pid!, ...descendants(this.#child!.pid!)]
    const texts = pids.map(pid => readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
    const sum = (name: string): number =>
      texts.reduce((all, text) => all + Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)![1]) / 1024, 0)
    return { pss: sum('Pss'), rss: sum('Rss'), processes: pids.length }
  }

  async stop(): Promise<void> {
    this.#socket?.terminate()
    const child = this.#child
    if (child && child.exitCode === null) {
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGTERM')
      await gone
    }
    await this.#replica.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

function descendants(of: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // Ended meanwhile.
    }
  }
  const found = new Set([of])
  for (let before = 0; before < found.size; ) {
    before = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  found.delete(of)
  return [...found]
}
