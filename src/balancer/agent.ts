/** A balancer agent: the node that keeps HAProxy in step with the cloud. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { isUrlPattern } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import type { Order } from '../cloud/order.js'
import { dynamicCookieKey } from '../cloud/routing/cookie.js'
import { type BalancerConfig, metricsUrl } from '../config.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { NodeSession, type Refused, type WantedState } from '../sdk/node-session.js'
import { Director } from './director.js'
import { metricsOf } from './metrics.js'
import type { Frame } from './render.js'
import { addressOf, readTargets, readWeights, type Shape, shapeOf, type WantedTargets, type Weights } from './shape.js'

export interface BalancerDeps {
  readonly log: Log
  readonly clock: Clock
  readonly software?: string
}

export interface Balancer {
  readonly registry: { readonly contentType: string; metrics(): Promise<string> }
  /** Of HAProxy's master process. */
  readonly haproxyPid: number | undefined
  stop(): Promise<void>
}

/** A unix socket's path is at most 107 bytes, and HAProxy adds a suffix while it binds. */
const socketPathMax = 80

/** In the directory where that can be; a comma would begin another address. */
export function socketIn(directory: string, name = 'haproxy'): string {
  const own = join(directory, `${name}.sock`)
  if (Buffer.byteLength(own) <= socketPathMax && !own.includes(',')) return own
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 16)
  return join(tmpdir(), `rain-${name}-${hash}.sock`)
}

export async function startBalancer(config: BalancerConfig, deps: BalancerDeps): Promise<Balancer> {
  const directory = resolve(config.dataDir)
  await makeDirectory(directory)
  const agent = new Agent(config, deps, directory, await readRemembered(directory, deps.log))
  await agent.start()
  return agent
}

class Agent implements Balancer {
  readonly #frame: Frame
  readonly #director: Director
  readonly #session: NodeSession
  #targets: WantedTargets
  #weights: Weights = new Map()
  #shape: Shape
  readonly registry: Balancer['registry']

  constructor(
    private readonly config: BalancerConfig,
    private readonly deps: BalancerDeps,
    private readonly directory: string,
    remembered: Remembered | undefined,
  ) {
    const { clock, log } = deps
    this.#frame = frameOf(config, directory)
    this.#targets = remembered ?? beforeAnything(config)
    this.#shape = shapeOf(this.#targets, config.slots)
    this.#director = new Director({ program: config.haproxy, frame: this.#frame, clock, log }, this.#shape)
    this.registry = metricsOf(this.#director, this.#frame, () => this.#shape)
    this.#session = this.#openSession(remembered?.order)
  }

  get haproxyPid(): number | undefined {
    return this.#director.pid
  }

  async start(): Promise<void> {
    await this.#director.start()
    this.#session.start()
  }

  async stop(): Promise<void> {
    await this.#session.stop()
    await this.#director.stop()
  }

  #openSession(order: Order | undefined): NodeSession {
    const { config, deps } = this
    const { software, log } = deps
    return new NodeSession({
      node: { kind: 'balancer', id: config.id },
      hypervisors: config.hypervisors,
      token: config.token,
      ...(config.network ? { network: config.network } : {}),
      hello: () => ({
        address: config.address,
        metrics: metricsUrl(config),
        ...(software === undefined ? {} : { software }),
      }),
      ...(order === undefined ? {} : { initialOrder: order }),
      onWanted: state => this.#onWanted(state),
      onHint: weights => this.#onHint(weights),
      log,
    })
  }

  async #onWanted({ entries, order }: WantedState): Promise<readonly Refused[]> {
    const { targets, refused } = readTargets(entries)
    this.#targets = withReplicas(targets, this.config)
    await this.#apply()
    await remember(this.directory, { ...this.#targets, order })
    return refused
  }

  /** The whole of the latest; who is not named has the usual weight. */
  #onHint(given: Readonly<Record<string, number>>): void {
    this.#weights = readWeights(given)
    this.#apply().catch((error: unknown) => this.deps.log.warn({ err: error }, 'weights could not be set'))
  }

  #apply(): Promise<void> {
    this.#shape = shapeOf(this.#targets, this.config.slots, this.#shape, this.#weights)
    return this.#director.apply(this.#shape)
  }
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CloudError('misconfigured', `--data-dir ${directory} cannot be written (${code ?? 'unknown'})`)
  }
}

function frameOf(config: BalancerConfig, directory: string): Frame {
  return {
    host: config.host,
    pagesPort: config.port,
    apiPort: config.apiPort,
    socket: socketIn(directory),
    metricsSocket: socketIn(directory, 'metrics'),
    directory,
    cookieKey: dynamicCookieKey,
  }
}

/** The replicas that the agent was told of: REST answers before the first wanted state came. */
function beforeAnything(config: BalancerConfig): WantedTargets {
  const replicas = config.hypervisors.flatMap((url, index) => {
    const at = addressOf(url)
    return at ? [{ id: `given-${index + 1}`, ...at, draining: false }] : []
  })
  return { servers: [], replicas }
}

/** A moment without any replica in the map is no reason to send REST nowhere. */
const withReplicas = (targets: WantedTargets, config: BalancerConfig): WantedTargets =>
  targets.replicas.length > 0 ? targets : { ...targets, replicas: beforeAnything(config).replicas }

const rememberedFile = (directory: string): string => join(directory, 'targets.json')

/** With the order that they are of: older ones are refused after a restart, too. */
interface Remembered extends WantedTargets {
  readonly order?: Order
}

async function remember(directory: string, targets: Remembered): Promise<void> {
  const path = rememberedFile(directory)
  await writeFile(`${path}.new`, JSON.stringify(targets), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** What was wanted in an earlier life; what cannot be read is as good as nothing, the hypervisor tells it anew. */
async function readRemembered(directory: string, log: Log): Promise<Remembered | undefined> {
  let text: string
  try {
    text = await readFile(rememberedFile(directory), 'utf8')
  } catch {
    return undefined
  }
  try {
    return checked(JSON.parse(text) as Remembered)
  } catch (error) {
    log.warn({ err: error }, 'what was wanted before cannot be read, beginning anew')
    return undefined
  }
}

/** Throws when something of it could not stand in HAProxy's configuration. */
function checked({ servers, replicas, order }: Remembered): Remembered {
  for (const { host, port } of [...servers, ...replicas]) {
    if (!addressOf(`http://${bracketed(host)}:${port}`)) throw new Error(`${host}:${port} is no address`)
  }
  for (const url of servers.flatMap(each => each.urls)) if (!isUrlPattern(url)) throw new Error(`${url} is no pattern`)
  if (order === undefined) return { servers, replicas }
  if (![order.era, order.revision].every(Number.isSafeInteger)) throw new Error('the order is none')
  return { servers, replicas, order }
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)
