/** One rain server and three motherships as their services start them, told what to do by replicas that are none. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mothershipFlags, rainServerFlags } from '../../src/cli/up/processes.js'
import type { WantedComponent, WantedInstance, WantedServer } from '../../src/protocol/messages.js'
import { freePorts, waitUntil } from '../../test/support/etcd.js'
import { FakeReplica } from '../../test/support/fake-replica.js'
import { aPackage } from '../../test/support/packages.js'
import { aKey } from '../../test/support/tickets.js'
import { Running } from './process.js'

/** A package's files by path, and the motherships (1 to 3) that have a copy. */
export interface Part {
  readonly id: string
  readonly on: readonly number[]
  readonly files: Readonly<Record<string, string>>
}

interface Mothership {
  readonly id: string
  readonly replica: FakeReplica
  readonly port: number
  running: Running
  readonly args: readonly string[]
}

const count = 3

export class PageCloud {
  readonly #key = aKey()
  readonly #dir = mkdtempSync(join(tmpdir(), 'rain-pages-'))
  readonly motherships: Mothership[] = []
  server!: Running
  url!: string
  metricsUrl!: string
  #replica!: FakeReplica

  static async start(parts: readonly Part[], server: Partial<WantedServer> = {}): Promise<PageCloud> {
    const cloud = new PageCloud()
    writeFileSync(join(cloud.#dir, 'token'), 'token')
    const ports = await freePorts(2 * count + 2)
    for (let n = 1; n <= count; n++) await cloud.#mothership(n, ports.splice(0, 2) as [number, number])
    await cloud.#deploy(parts)
    await cloud.#rainServer(parts, server, ports as [number, number])
    return cloud
  }

  #flags(flags: Readonly<Record<string, string>>): string[] {
    const all = { 'token-file': join(this.#dir, 'token'), 'log-level': 'error', ...flags }
    return Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])
  }

  async #mothership(n: number, [port, metricsPort]: [number, number]): Promise<void> {
    const id = `m${n}`
    const replica = await FakeReplica.start()
    replica.want({ keys: { keys: [{ id: this.#key.id, publicKey: this.#key.publicKey }] } })
    const flags = this.#flags({
      id,
      port: String(port),
      'metrics-port': String(metricsPort),
      hypervisor: replica.url,
      'data-dir': join(this.#dir, id),
      address: `ws://127.0.0.1:${port}`,
    })
    const args = [...mothershipFlags, 'dist/main.js', 'mothership', ...flags]
    this.motherships.push({ id, replica, port, args, running: await Running.start(args, undefined) })
    await waitUntil('the mothership has its keys', () => replica.applied.length > 0)
  }

  async #deploy(parts: readonly Part[]): Promise<void> {
    for (const [index, { id, replica }] of this.motherships.entries()) {
      const entries: Record<string, unknown> = {
        keys: { keys: [{ id: this.#key.id, publicKey: this.#key.publicKey }] },
      }
      const here = parts.filter(each => each.on.includes(index + 1))
      for (const part of here) {
        const digest = replica.has(await aPackage(part.files))
        const wanted: WantedInstance = {
          component: part.id,
          version: '1.0.0',
          digest,
          size: 1,
          role: 'primary',
          epoch: 1,
          generation: 0,
          isolation: 'shared',
          need: { cpu: 500, ram: 64, bandwidth: 1000 },
        }
        entries[`instances/${part.id}.${id}`] = wanted
      }
      replica.want(entries)
      for (const part of here) {
        await waitUntil(`${part.id} runs on ${id}`, () => replica.last(`${part.id}.${id}`)?.phase === 'running', 30_000)
      }
    }
  }

  async #rainServer(parts: readonly Part[], server: Partial<WantedServer>, [port, metrics]: number[]): Promise<void> {
    this.#replica = await FakeReplica.start()
    const components = parts.map((part): [string, WantedComponent] => {
      const meta = JSON.parse(part.files['meta.json']!) as { views: Record<string, object> }
      const copies = part.on.map(n => ({ instance: `${part.id}.m${n}`, mothership: `m${n}`, epoch: 1 }))
      const views = Object.keys(meta.views)
      return [
        `components/${part.id}/1.0.0`,
        { id: part.id, version: '1.0.0', exact: '1.0', active: true, views, copies },
      ]
    })
    const wires = this.motherships.map(({ id, port: at }) => [
      `wires/${id}`,
      { mothership: id, address: `ws://127.0.0.1:${at}`, ticket: this.#key.ticket(id) },
    ])
    const wanted: WantedServer = {
      urls: ['/*'],
      generation: 0,
      fragmentDeadlineMs: 1_000,
      pageDeadlineMs: 3_000,
      errorComponent: null,
      ...server,
    }
    this.#replica.want({ server: wanted, ...Object.fromEntries(components), ...Object.fromEntries(wires) })
    const flags = this.#flags({
      id: 'r1',
      port: String(port),
      'metrics-port': String(metrics),
      hypervisor: this.#replica.url,
      urls: '/*',
      address: `http://127.0.0.1:${port}`,
    })
    this.url = `http://127.0.0.1:${port}`
    this.metricsUrl = `http://127.0.0.1:${metrics}/metrics`
    this.server = await Running.start([...rainServerFlags, 'dist/main.js', 'server', ...flags], undefined)
    await waitUntil('the rain server is ready', async () => {
      const answer = await fetch(`${this.url}/healthz`).catch(() => undefined)
      return answer?.status === 200
    })
  }

  async stop(): Promise<void> {
    await this.server.end()
    for (const { running, replica } of this.motherships) {
      await running.end()
      await replica.close()
    }
    await this.#replica.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
