/**
 * A cloud of real processes for kept state: one member of etcd, two replicas of the hypervisor, motherships and a rain
 * server; on loopback, or each in a network namespace of its own. Nobody starts again what a test kills but the test.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mothershipFlags } from '../../src/cli/up/processes.js'
import { Network } from '../faults/support/network.js'
import { TestProcess } from '../faults/support/processes.js'
import { EchoingLinks } from './echoing-links.js'
import { freePorts, waitUntil } from './etcd.js'
import { TestProxy } from './proxy.js'
import { type Json, type Rest, restOf } from './rest.js'
import { tally } from './tally.js'

/** Tests and benchmarks are run at the root. */
const program = join(process.cwd(), 'dist', 'main.js')
const replicaCount = 2

export interface StateCloudOptions {
  readonly motherships: number
  /** Each process in a network namespace. */
  readonly network?: boolean
  /** Motherships are reached through a proxy each. */
  readonly proxied?: boolean
  /** What rain servers hear of motherships is said again, more than once and late. */
  readonly echoed?: boolean
  /** How many; one by itself. */
  readonly rainServers?: number
  /** Where a mothership keeps its data, when not in the directory of the cloud. */
  readonly dataDir?: (mothership: string) => string | undefined
}

export interface Part {
  readonly id: string
  readonly url: string
  readonly process: TestProcess
  /** Its place in the network. */
  readonly place: number
}

interface Place {
  readonly host: string
  readonly ports: readonly number[]
  readonly command: readonly string[]
}

export class StateCloud {
  readonly admin: string
  readonly etcd: Part
  readonly replicas: readonly Part[]
  readonly motherships: readonly Part[]
  readonly rainServers: readonly Part[]
  readonly #secrets = new Map<string, string>()

  private constructor(
    readonly directory: string,
    private readonly places: readonly Place[],
    readonly network: Network | undefined,
    /** Of each mothership. */
    readonly proxies: readonly TestProxy[],
    readonly echoes: readonly EchoingLinks[],
    private readonly options: StateCloudOptions,
  ) {
    this.admin = this.#secret('admin')
    this.etcd = this.#etcd()
    this.replicas = this.#replicas()
    this.motherships = Array.from({ length: options.motherships }, (_, index) => this.#mothership(index))
    this.rainServers = Array.from({ length: rainServersOf(options) }, (_, index) => this.#rainServer(index))
  }

  static async start(options: StateCloudOptions): Promise<StateCloud> {
    const directory = mkdtempSync(join(tmpdir(), 'rain-kept-'))
    const count = 1 + replicaCount + options.motherships + rainServersOf(options)
    const network = options.network ? Network.open(count) : undefined
    const places = await placesOf(count, network)
    const targets = places.slice(1 + replicaCount, 1 + replicaCount + options.motherships)
    const proxies = options.proxied
      ? await Promise.all(targets.map(({ host, ports }) => TestProxy.start(`http://${host}:${ports[0]}`)))
      : []
    const echoes = options.echoed
      ? await Promise.all(targets.map(({ host, ports }) => EchoingLinks.start(`ws://${host}:${ports[0]}`)))
      : []
    mkdirSync(join(directory, 'logs'))
    const cloud = new StateCloud(directory, places, network, proxies, echoes, options)
    try {
      await cloud.#start()
      return cloud
    } catch (error) {
      const words = cloud.#parts.map(each => `${each.id}: ${each.process.words().slice(-400)}`).join('\n')
      await cloud.close()
      throw new Error(`the cloud did not start: ${(error as Error).message}\n${words}`, { cause: error })
    }
  }

  get #parts(): readonly Part[] {
    return [...this.rainServers, ...this.motherships, ...this.replicas, this.etcd]
  }

  get rainServer(): Part {
    return this.rainServers[0]!
  }

  get rest(): Rest {
    return restOf(this.replicas[0]!.url, this.admin)
  }

  mothership(id: string): Part {
    return this.motherships.find(each => each.id === id)!
  }

  /** Where the controller of the component `tally` is that writes, and reads all. */
  urlOf(component: string, rainServer = this.rainServer): string {
    return `${rainServer.url}/${component}/1.0/controller/add`
  }

  async instance(id: string): Promise<Json> {
    return (await this.rest('GET', `/webcomponent/${id}`)).body
  }

  async inSync(id: string): Promise<readonly string[]> {
    return ((await this.instance(id))['inSync'] ?? []) as unknown as string[]
  }

  async primary(id: string): Promise<string> {
    return (await this.instance(id))['primary'] as unknown as string
  }

  /** A component of its own for each instance, so that a page of it is a page of that one. */
  async keep(component: string, copies: number, placement: object = {}): Promise<string> {
    const id = `${component}.main`
    const deployed = await this.rest('POST', '/webcomponent', await tally(component))
    if (![200, 201].includes(deployed.status)) throw new Error(`${component} is not deployed: ${deployed.text}`)
    const body = { id, placement: { copies, ...placement }, need: { cpu: 10, ram: 16, bandwidth: 10 } }
    const started = await this.rest('POST', `/webcomponent/${component}/1.0`, body)
    if (started.status !== 201) throw new Error(`${id} is not started: ${started.text}`)
    await this.isWhole(id, copies)
    return id
  }

  /** With its state. */
  async end(component: string): Promise<void> {
    const id = `${component}.main`
    const stopped = await this.rest('DELETE', `/webcomponent/${id}`)
    if (![200, 202, 204].includes(stopped.status)) throw new Error(`${id} is not stopped: ${stopped.text}`)
    await waitUntil(`${id} is gone`, async () => (await this.rest('GET', `/webcomponent/${id}`)).status === 404, 60_000)
  }

  async isWhole(id: string, copies: number, withinMs = 60_000): Promise<void> {
    await waitUntil(
      `${id} has ${copies} copies in sync that run`,
      async () => {
        const { inSync, phase, copies: all } = await this.instance(id)
        const running = ((all ?? []) as unknown as { phase: string }[]).every(each => each.phase === 'running')
        return ((inSync ?? []) as unknown as string[]).length === copies && String(phase) === 'running' && running
      },
      withinMs,
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await this.instance(id))}`, { cause: error })
    })
  }

  async close(): Promise<void> {
    this.network?.heal()
    for (const { process } of this.#parts) process.signal('SIGCONT')
    await Promise.all(this.#parts.map(({ process }) => process.end()))
    await Promise.all([...this.proxies, ...this.echoes].map(each => each.stop()))
    this.network?.close()
    if (process.env['RAIN_KEEP']) return
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #start(): Promise<void> {
    this.etcd.process.start()
    const healthy = async (): Promise<boolean> =>
      (await fetch(`${this.etcd.url}/health`).catch(() => undefined))?.ok === true
    await waitUntil('etcd is healthy', healthy, 40_000)
    for (const { process } of this.replicas) process.start()
    const leads = async (): Promise<boolean> => {
      const answer = await fetch(`${this.replicas[0]!.url}/readyz`).catch(() => undefined)
      return /"leader":"h/.test((await answer?.text()) ?? '')
    }
    await waitUntil('a replica leads', leads, 40_000)
    for (const { process } of [...this.motherships, ...this.rainServers]) process.start()
    for (const { id } of this.motherships) {
      const ready = async (): Promise<boolean> =>
        String((await this.rest('GET', `/mothership/${id}`)).body['state']) === 'ready'
      await waitUntil(`${id} is ready`, ready, 40_000)
    }
  }

  #secret(name: string): string {
    let secret = this.#secrets.get(name)
    if (!secret) this.#secrets.set(name, (secret = `rain_${randomBytes(32).toString('base64url')}`))
    return secret
  }

  #file(name: string, content: string): string {
    const path = join(this.directory, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }

  #part(id: string, place: number, url: string, command: readonly string[]): Part {
    const logFile = join(this.directory, 'logs', `${id}.log`)
    const process = new TestProcess({ name: id, command: [...this.places[place]!.command, ...command], logFile })
    return { id, url, process, place }
  }

  #role(role: string, id: string, place: number, scheme: string, given: Record<string, string | number>): Part {
    const { host, ports } = this.places[place]!
    const options = { id, host, port: ports[0]!, ...given }
    return this.#part(id, place, `${scheme}://${host}:${ports[0]}`, [
      process.execPath,
      ...(role === 'mothership' ? mothershipFlags : []),
      program,
      role,
      ...flags(options),
    ])
  }

  #etcd(): Part {
    const { host, ports } = this.places[0]!
    const [client, peer] = ports.map(port => `http://${host}:${port}`) as [string, string]
    const command = flags({
      name: 'e1',
      'data-dir': join(this.directory, 'e1'),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `e1=${peer}`,
      'log-level': 'warn',
    })
    return this.#part('e1', 0, client, ['etcd', ...command])
  }

  #replicas(): Part[] {
    const digest = (text: string): string => createHash('sha256').update(text).digest('hex')
    const ships = Array.from({ length: this.options.motherships }, (_, i) => `mothership/m${i + 1}`)
    const servers = Array.from({ length: rainServersOf(this.options) }, (_, i) => `rainserver/r${i + 1}`)
    const nodes = [...ships, ...servers].map(subject => {
      const [kind, id] = subject.split('/')
      return { id: digest(this.#secret(subject)), role: 'node', subject, node: { kind, id } }
    })
    const admin = { id: digest(this.admin), role: 'admin', subject: 'admin' }
    const bootstrap = this.#file('bootstrap.json', JSON.stringify([admin, ...nodes]))
    const peers = this.#file('peers.secret', this.#secret('peers'))
    const given = { etcd: this.etcd.url, 'peer-secret-file': peers, 'bootstrap-file': bootstrap }
    return Array.from({ length: replicaCount }, (_, i) => this.#role('hypervisor', `h${i + 1}`, 1 + i, 'http', given))
  }

  #node(role: string, kind: string, id: string, place: number, scheme: string, more: Record<string, string>): Part {
    return this.#role(role, id, place, scheme, {
      'metrics-port': this.places[place]!.ports[1]!,
      hypervisor: this.replicas.map(each => each.url).join(','),
      'token-file': this.#file(`${id}.token`, this.#secret(`${kind}/${id}`)),
      ...more,
    })
  }

  #mothership(index: number): Part {
    const id = `m${index + 1}`
    const between = this.proxies[index]?.url.replace('http', 'ws') ?? this.echoes[index]?.url
    return this.#node('mothership', 'mothership', id, 1 + replicaCount + index, 'ws', {
      'data-dir': this.options.dataDir?.(id) ?? join(this.directory, id),
      ...(between === undefined ? {} : { address: between }),
    })
  }

  #rainServer(index: number): Part {
    const place = 1 + replicaCount + this.options.motherships + index
    return this.#node('server', 'rainserver', `r${index + 1}`, place, 'http', { urls: '/*' })
  }
}

const rainServersOf = ({ rainServers = 1 }: StateCloudOptions): number => rainServers

async function placesOf(count: number, network: Network | undefined): Promise<Place[]> {
  if (network) {
    return Array.from({ length: count }, (_, i) => ({
      host: network.address(i),
      ports: [7_001, 7_002],
      command: network.command(i),
    }))
  }
  const ports = await freePorts(2 * count)
  return Array.from({ length: count }, (_, i) => ({
    host: '127.0.0.1',
    ports: ports.slice(2 * i, 2 * i + 2),
    command: [],
  }))
}

const flags = (given: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])
