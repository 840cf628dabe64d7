/** A small cloud of real processes (etcd, a replica, nodes) whose nodes reach the replica by what a test puts between only. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TestProcess } from '../faults/support/processes.js'
import { freePorts, startEtcd, type TestEtcd, waitUntil } from './etcd.js'
import { aPackage } from './packages.js'
import { type Rest, restOf } from './rest.js'

const program = join(import.meta.dirname, '..', '..', 'dist', 'main.js')

export interface WalledNode {
  readonly kind: 'mothership' | 'rainserver'
  readonly id: string
  /** What runs the process in another network. */
  readonly command?: readonly string[]
  readonly host?: string
  /** To listen on; any that is free. */
  readonly port?: number
  readonly flags: Readonly<Record<string, string>>
}

type Text = Readonly<Record<string, string | number>>
const flagsOf = (given: Text): string[] =>
  Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])

export class WalledCloud {
  readonly #directory = mkdtempSync(join(tmpdir(), 'rain-walled-'))
  readonly #secrets = new Map<string, string>()
  readonly #processes: TestProcess[] = []
  /** Of rain servers, by id. */
  readonly pages = new Map<string, string>()
  #etcd!: TestEtcd
  #replica!: TestProcess
  /** The direct way, which no node knows. */
  readonly url: string

  private constructor(private readonly port: number) {
    this.url = `http://127.0.0.1:${port}`
    mkdirSync(join(this.#directory, 'logs'))
  }

  /** `told`: by what url the replica is known to its nodes, once it is known where it listens. */
  static async start(nodes: readonly string[], told: (url: string) => Promise<string>): Promise<WalledCloud> {
    const cloud = new WalledCloud((await freePorts(1))[0]!)
    cloud.#etcd = await startEtcd()
    cloud.#startReplica(nodes, await told(cloud.url))
    const ready = (): Promise<boolean> =>
      fetch(`${cloud.url}/readyz`).then(
        each => each.ok,
        () => false,
      )
    await waitUntil('the replica serves', ready, 30_000)
    await waitUntil('tokens are there', async () => (await cloud.rest('GET', '/map')).status === 200)
    return cloud
  }

  get rest(): Rest {
    return restOf(this.url, this.#secret('operator'))
  }

  get replica(): TestProcess {
    return this.#replica
  }

  async startNode({ kind, id, command = [], host = '127.0.0.1', port: own, flags }: WalledNode): Promise<TestProcess> {
    const [free, metrics] = host === '127.0.0.1' ? await freePorts(2) : [7_001, 7_002]
    const port = own ?? free
    const role = kind === 'mothership' ? 'mothership' : 'server'
    const common = {
      id,
      host,
      port: port!,
      'metrics-port': metrics!,
      'token-file': this.#file(id, this.#secret(`${kind}/${id}`)),
    }
    const data = kind === 'mothership' ? { 'data-dir': join(this.#directory, id) } : {}
    const process = this.#process(id, [
      ...command,
      ...this.#program(role),
      ...flagsOf({ ...common, ...data, ...flags }),
    ])
    if (kind === 'rainserver') this.pages.set(id, `http://${host}:${port}`)
    process.start()
    return process
  }

  async stateOf(kind: WalledNode['kind'], id: string): Promise<string> {
    const path = kind === 'mothership' ? `/mothership/${id}` : `/rainservers/${id}`
    // Nobody answers while the replica is away.
    const answer = await this.rest('GET', path).catch(() => undefined)
    return String(answer?.body['state'])
  }

  /** A new component is deployed and started, runs, and is shown: packages, wanted states and observations all passed. */
  async showsNew(name: string, server = 'r1', withinMs = 30_000): Promise<number> {
    const fromMs = performance.now()
    const bytes = await aPackage({
      'meta.json': JSON.stringify({ id: name, version: '1.0', views: { index: {} } }),
      'client/templates/index.html': `<p>this is ${name}</p>`,
    })
    const deployed = await this.rest('POST', '/webcomponent/', bytes)
    if (deployed.status !== 201) throw new Error(`not deployed: ${deployed.text}`)
    const path = `/webcomponent/${name}.1`
    const body = { id: `${name}.1`, placement: { copies: 1 } }
    const started = async (): Promise<boolean> => {
      const { status, text } = await this.rest('POST', `/webcomponent/${name}/1.0`, body)
      // The mothership is not back yet.
      if (status !== 201 && status !== 409) throw new Error(`not started: ${text}`)
      return status === 201
    }
    await waitUntil(`${name} is started`, started, withinMs)
    const runs = async (): Promise<boolean> => String((await this.rest('GET', path)).body['phase']) === 'running'
    await waitUntil(`${name} runs`, runs, withinMs)
    const url = `${this.pages.get(server)}/${name}/index`
    const shown = async (): Promise<boolean> => (await pageAt(url)).includes(`this is ${name}`)
    await waitUntil(`${name} is shown`, shown, withinMs)
    return performance.now() - fromMs
  }

  logOf(id: string): string {
    return this.#processes.find(each => each.name === id)?.words() ?? ''
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(each => each.end('SIGTERM')))
    await this.#etcd.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #startReplica(nodes: readonly string[], url: string): void {
    const digest = (text: string): string => createHash('sha256').update(text).digest('hex')
    const tokens = nodes.map(subject => {
      const [kind, id] = subject.split('/')
      return { id: digest(this.#secret(subject)), role: 'node', subject, node: { kind, id } }
    })
    const operator = { id: digest(this.#secret('operator')), role: 'operator', subject: 'operator' }
    const files = {
      'peer-secret-file': this.#file('peers', this.#secret('peers')),
      'bootstrap-file': this.#file('bootstrap.json', JSON.stringify([operator, ...tokens])),
    }
    const options = { id: 'h1', host: '127.0.0.1', port: this.port, url, etcd: this.#etcd.urls.join(',') }
    this.#replica = this.#process('h1', [...this.#program('hypervisor'), ...flagsOf({ ...options, ...files })])
    this.#replica.start()
  }

  #program(role: string): string[] {
    return [process.execPath, program, role]
  }

  #process(name: string, command: readonly string[]): TestProcess {
    const started = new TestProcess({ name, command, logFile: join(this.#directory, 'logs', `${name}.log`) })
    this.#processes.push(started)
    return started
  }

  #secret(name: string): string {
    let secret = this.#secrets.get(name)
    if (!secret) this.#secrets.set(name, (secret = `rain_${randomBytes(24).toString('base64url')}`))
    return secret
  }

  #file(name: string, content: string): string {
    const path = join(this.#directory, `${name}.file`)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
}

const pageAt = (url: string): Promise<string> =>
  fetch(url, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(3_000) }).then(
    each => each.text(),
    () => '',
  )
