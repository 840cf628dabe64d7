/**
 * A cloud of real processes for faults: three etcd members, three replicas of the hypervisor, one mothership with a
 * component; on loopback, or each in a network namespace of its own. Nobody starts again what a test kills but the test.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts, waitUntil } from '../../support/etcd.js'
import { aPackage } from '../../support/packages.js'
import { TestProxy } from '../../support/proxy.js'
import { type Rest, restOf } from '../../support/rest.js'
import { EtcdLog } from './etcd-log.js'
import { Network } from './network.js'
import { TestProcess } from './processes.js'

const program = join(import.meta.dirname, '..', '..', '..', 'dist', 'main.js')
const members = 3

export interface FaultCloudOptions {
  /** Each process in a network namespace. */
  readonly network?: boolean
  readonly heartbeatMs?: number
  readonly electionMs?: number
  readonly quotaBytes?: number
  /** Each replica reaches etcd through proxies of its own. */
  readonly proxied?: boolean
  /** Where a member of etcd keeps its data, when not in the directory of the cloud. */
  readonly etcdDirectory?: (member: number) => string | undefined
  /** More tokens for nodes, as `kind/id`. */
  readonly nodes?: readonly string[]
}

export interface Member {
  readonly id: string
  readonly url: string
  readonly process: TestProcess
  /** Its place in the network. */
  readonly place: number
}

export interface Leader {
  readonly index: number
  readonly term: number
}

interface Place {
  readonly host: string
  readonly ports: readonly number[]
  readonly command: readonly string[]
}

export class FaultCloud {
  readonly operator: string
  readonly etcd: readonly Member[]
  readonly replicas: readonly Member[]
  readonly mothership: Member
  readonly log: EtcdLog
  readonly #secrets = new Map<string, string>()

  private constructor(
    readonly directory: string,
    places: readonly Place[],
    readonly network: Network | undefined,
    /** Of each replica, one for each member of etcd. */
    readonly proxies: readonly (readonly TestProxy[])[],
    private readonly options: FaultCloudOptions,
  ) {
    this.operator = this.#secret('operator')
    this.etcd = etcdMembers(places.slice(0, members), directory, options)
    this.replicas = this.#replicas(places.slice(members, 2 * members))
    this.mothership = this.#mothership(places[2 * members]!)
    this.log = new EtcdLog(this.etcd.map(each => each.url))
  }

  static async start(options: FaultCloudOptions = {}): Promise<FaultCloud> {
    const directory = mkdtempSync(join(tmpdir(), 'rain-faults-'))
    const network = options.network ? Network.open(2 * members + 1) : undefined
    const places = await placesOf(2 * members + 1, network)
    const urls = places.slice(0, members).map(({ host, ports }) => `http://${host}:${ports[0]}`)
    const proxies = options.proxied
      ? await Promise.all(places.slice(0, members).map(() => Promise.all(urls.map(url => TestProxy.start(url)))))
      : []
    mkdirSync(join(directory, 'logs'))
    const cloud = new FaultCloud(directory, places, network, proxies, options)
    try {
      await cloud.#start()
      return cloud
    } catch (error) {
      const words = cloud.replicas.map(each => `${each.id}: ${each.process.words().slice(-600)}`).join('\n')
      await cloud.close()
      throw new Error(`the cloud did not start: ${(error as Error).message}\n${words}`, { cause: error })
    }
  }

  async #start(): Promise<void> {
    for (const { process } of this.etcd) process.start()
    await waitUntil('etcd is healthy', async () => (await Promise.all(this.etcd.map(isHealthy))).every(Boolean), 40_000)
    for (const { process } of this.replicas) process.start()
    await this.leader(40_000)
    this.mothership.process.start()
    await waitUntil('the component is deployed', () => this.#deploy(), 30_000)
    await waitUntil(
      'the mothership is ready',
      async () => (await this.rest(0)('GET', `/mothership/${this.mothership.id}`)).body['state'] === ('ready' as never),
      30_000,
    )
  }

  async close(): Promise<void> {
    this.network?.heal()
    await this.log.close()
    const processes = [this.mothership, ...this.replicas, ...this.etcd].map(each => each.process)
    await Promise.all(processes.map(each => each.end()))
    await Promise.all(this.proxies.flat().map(each => each.stop()))
    this.network?.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  rest(replica: number, token = this.operator): Rest {
    return restOf(this.replicas[replica]!.url, token)
  }

  tokenOf(node: string): string {
    return this.#secret(node)
  }

  /** Who leads, as those say who can be reached and are not behind: the newest term of any of them. */
  async leader(withinMs = 20_000, asked: readonly number[] = [0, 1, 2]): Promise<Leader> {
    let found: Leader | undefined
    await waitUntil(
      'a replica leads',
      async () => {
        const seen = (await Promise.all(asked.map(each => this.leaderAt(each)))).filter(each => each !== undefined)
        found = seen.reduce<Leader | undefined>((a, b) => (a && a.term >= b.term ? a : b), undefined)
        return found !== undefined
      },
      withinMs,
    )
    return found!
  }

  /** Who leads in the memory of one replica. */
  async leaderAt(replica: number): Promise<Leader | undefined> {
    const text = await this.metrics(replica)
    const term = Number(/^rain_leader_term (\d+)$/m.exec(text)?.[1] ?? 0)
    const ready = await this.ready(replica)
    const index = this.replicas.findIndex(each => each.id === ready?.['leader'])
    return term > 0 && index >= 0 ? { index, term } : undefined
  }

  async metrics(replica: number): Promise<string> {
    return (await ask(`${this.replicas[replica]!.url}/metrics`)) ?? ''
  }

  async ready(replica: number): Promise<Readonly<Record<string, unknown>> | undefined> {
    const text = await ask(`${this.replicas[replica]!.url}/readyz`)
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>)
  }

  /** A term that is two seconds old, as rounds of faults begin with. */
  async settledLeader(): Promise<Leader> {
    let sinceMs = performance.now()
    let leader = await this.leader()
    await waitUntil('a term lasts for two seconds', async () => {
      const now = await this.leader()
      if (now.term !== leader.term) sinceMs = performance.now()
      leader = now
      return performance.now() - sinceMs > 2_000
    })
    return leader
  }

  /** Which member of etcd leads. */
  async etcdLeader(): Promise<number> {
    let found = -1
    await waitUntil('etcd has a leader', async () => {
      const states = await Promise.all(this.etcd.map(each => ask(`${each.url}/metrics`)))
      found = states.findIndex(text => /^etcd_server_is_leader 1$/m.test(text ?? ''))
      return found >= 0
    })
    return found
  }

  async restartReplica(index: number): Promise<void> {
    const { process } = this.replicas[index]!
    if (!process.alive) process.start()
    await waitUntil(`replica ${index} serves again`, async () => (await this.ready(index))?.['ready'] === true, 30_000)
  }

  async restartEtcd(index: number): Promise<void> {
    const member = this.etcd[index]!
    if (!member.process.alive) member.process.start()
    await waitUntil(`etcd member ${index} is healthy again`, () => isHealthy(member), 40_000)
  }

  async #deploy(): Promise<boolean> {
    const bytes = await aPackage({
      'meta.json': JSON.stringify({ id: 'probe', version: '1.0', views: { index: {} } }),
      'client/templates/index.html': '<p>probe</p>',
    })
    const answer = await this.rest(0)('POST', '/webcomponent/', bytes).catch(() => undefined)
    return answer?.status === 201 || answer?.status === 200
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

  #process(name: string, place: Place, command: readonly string[]): TestProcess {
    const logFile = join(this.directory, 'logs', `${name}.log`)
    return new TestProcess({ name, command: [...place.command, ...command], logFile })
  }

  #replicas(places: readonly Place[]): Member[] {
    const digest = (text: string): string => createHash('sha256').update(text).digest('hex')
    const nodes = ['mothership/m1', ...(this.options.nodes ?? [])].map(subject => {
      const [kind, id] = subject.split('/')
      return { id: digest(this.#secret(subject)), role: 'node', subject, node: { kind, id } }
    })
    const operator = { id: digest(this.operator), role: 'operator', subject: 'operator' }
    const bootstrap = this.#file('bootstrap.json', JSON.stringify([operator, ...nodes]))
    const peers = this.#file('peers.secret', this.#secret('peers'))
    return places.map((place, index) => {
      const id = `h${index + 1}`
      const etcd = this.proxies[index]?.map(each => each.url) ?? this.etcd.map(each => each.url)
      const options = { id, host: place.host, port: place.ports[0]!, etcd: etcd.join(',') }
      const files = { 'peer-secret-file': peers, 'bootstrap-file': bootstrap }
      const command = [process.execPath, program, 'hypervisor', ...flags({ ...options, ...files })]
      const url = `http://${place.host}:${place.ports[0]}`
      return { id, url, process: this.#process(id, place, command), place: members + index }
    })
  }

  #mothership(place: Place): Member {
    const command = [
      ...[process.execPath, program, 'mothership'],
      ...flags({
        id: 'm1',
        host: place.host,
        port: place.ports[0]!,
        'metrics-port': place.ports[1]!,
        hypervisor: this.replicas.map(each => each.url).join(','),
        'token-file': this.#file('m1.token', this.#secret('mothership/m1')),
        'data-dir': join(this.directory, 'm1'),
      }),
    ]
    const url = `ws://${place.host}:${place.ports[0]}`
    return { id: 'm1', url, process: this.#process('m1', place, command), place: 2 * members }
  }
}

async function placesOf(count: number, network: Network | undefined): Promise<Place[]> {
  if (network) {
    const place = (i: number): Place => ({
      host: network.address(i),
      ports: [7_001, 7_002],
      command: network.command(i),
    })
    return Array.from({ length: count }, (_, i) => place(i))
  }
  const ports = await freePorts(2 * count)
  return Array.from({ length: count }, (_, i) => ({
    host: '127.0.0.1',
    ports: ports.slice(2 * i, 2 * i + 2),
    command: [],
  }))
}

function etcdMembers(places: readonly Place[], directory: string, options: FaultCloudOptions): Member[] {
  const { heartbeatMs = 100, electionMs = 1_000, quotaBytes, etcdDirectory } = options
  const client = ({ host, ports }: Place): string => `http://${host}:${ports[0]}`
  const peer = ({ host, ports }: Place): string => `http://${host}:${ports[1]}`
  const cluster = places.map((place, i) => `e${i + 1}=${peer(place)}`).join(',')
  return places.map((place, i) => {
    const id = `e${i + 1}`
    const command = [
      ...place.command,
      'etcd',
      ...flags({
        name: id,
        'data-dir': etcdDirectory?.(i) ?? join(directory, id),
        'listen-client-urls': client(place),
        'advertise-client-urls': client(place),
        'listen-peer-urls': peer(place),
        'initial-advertise-peer-urls': peer(place),
        'initial-cluster': cluster,
        'initial-cluster-state': 'new',
        'heartbeat-interval': heartbeatMs,
        'election-timeout': electionMs,
        ...(quotaBytes === undefined ? {} : { 'quota-backend-bytes': quotaBytes }),
        'log-level': 'warn',
        logger: 'zap',
      }),
      '--pre-vote=true',
    ]
    const logFile = join(directory, 'logs', `${id}.log`)
    return { id, url: client(place), process: new TestProcess({ name: id, command, logFile }), place: i }
  })
}

const flags = (given: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])

async function ask(url: string): Promise<string | undefined> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(1_500) }).catch(() => undefined)
  return answer?.text().catch(() => undefined)
}

export const isHealthy = async ({ url }: { readonly url: string }): Promise<boolean> =>
  /"health":\s*"true"/.test((await ask(`${url}/health`)) ?? '')
