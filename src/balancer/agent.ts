/** A balancer agent: the node that keeps HAProxy in step with the cloud. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Gauge, Registry } from 'prom-client'
import { CloudError } from '../cloud/errors.js'
import { type BalancerConfig, metricsUrl } from '../config.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { NodeSession, type Refused, type WantedState } from '../sdk/node-session.js'
import { Director } from './director.js'
import type { Frame } from './render.js'
import { ask, parseStats } from './runtime.js'
import { addressOf, readTargets, type Shape, shapeOf, type WantedTargets } from './shape.js'

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
export function socketIn(directory: string): string {
  const own = join(directory, 'haproxy.sock')
  if (Buffer.byteLength(own) <= socketPathMax && !own.includes(',')) return own
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 16)
  return join(tmpdir(), `rain-${hash}.sock`)
}

export async function startBalancer(config: BalancerConfig, { log, clock, software }: BalancerDeps): Promise<Balancer> {
  const directory = resolve(config.dataDir)
  await makeDirectory(directory)
  const remembered = await readRemembered(directory, log)
  let shape = shapeOf(remembered ?? beforeAnything(config), config.slots)
  const director = new Director({ program: config.haproxy, frame: frameOf(config, directory), clock, log }, shape)
  await director.start()
  const onWanted = async ({ entries }: WantedState): Promise<readonly Refused[]> => {
    const { targets, refused } = readTargets(entries)
    const wanted = withReplicas(targets, config)
    shape = shapeOf(wanted, config.slots, shape)
    await director.apply(shape)
    await remember(directory, wanted)
    return refused
  }
  const session = new NodeSession({
    node: { kind: 'balancer', id: config.id },
    hypervisors: config.hypervisors,
    token: config.token,
    hello: () => ({
      address: config.address,
      metrics: metricsUrl(config),
      ...(software === undefined ? {} : { software }),
    }),
    onWanted,
    log,
  })
  session.start()
  return {
    registry: metricsOf(director, frameOf(config, directory).socket, () => shape),
    get haproxyPid() {
      return director.pid
    },
    stop: async () => {
      await session.stop()
      await director.stop()
    },
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
    directory,
    cookieKey: 'rain',
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

async function remember(directory: string, targets: WantedTargets): Promise<void> {
  const path = rememberedFile(directory)
  await writeFile(`${path}.new`, JSON.stringify(targets), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** What was wanted in an earlier life; what cannot be read is as good as nothing, the hypervisor tells it anew. */
async function readRemembered(directory: string, log: Log): Promise<WantedTargets | undefined> {
  let text: string
  try {
    text = await readFile(rememberedFile(directory), 'utf8')
  } catch {
    return undefined
  }
  try {
    const { servers, replicas } = JSON.parse(text) as WantedTargets
    const sound = [...servers, ...replicas].every(each => addressOf(`http://${bracketed(each.host)}:${each.port}`))
    if (sound && servers.every(each => each.urls.every(url => typeof url === 'string'))) return { servers, replicas }
  } catch (error) {
    log.warn({ err: error }, 'what was wanted before cannot be read, beginning anew')
  }
  return undefined
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

function metricsOf(director: Director, socket: string, shape: () => Shape): Balancer['registry'] {
  const registry = new Registry()
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `rain_balancer_${name}`, help, labelNames, registers: [registry] })
  const running = gauge('up', '1 while HAProxy runs')
  const changes = gauge('changes', 'Changes of HAProxy since the agent started, by the way taken', 'way')
  const up = gauge('server_up', '1 while HAProxy sends to a server', 'backend', 'server')
  const sessions = gauge('server_sessions', 'Sessions under way at a server', 'backend', 'server')
  const requests = gauge('server_requests', 'Sessions that a server has had since the last reload', 'backend', 'server')
  const look = async (): Promise<void> => {
    running.set(director.pid === undefined ? 0 : 1)
    for (const [way, count] of Object.entries(director.counts)) changes.set({ way }, count)
    const stats = parseStats(await ask(socket, 'show stat').catch(() => ''))
    const ids = namesOf(shape())
    for (const each of [up, sessions, requests]) each.reset()
    for (const each of stats) {
      const server = ids.get(`${each.backend}/${each.server}`) ?? each.server
      const set = { backend: each.backend, server }
      up.set(set, each.up ? 1 : 0)
      sessions.set(set, each.sessions)
      requests.set(set, each.requests)
    }
  }
  return {
    contentType: registry.contentType,
    metrics: async () => {
      await look()
      return registry.metrics()
    },
  }
}

const namesOf = ({ pages, api }: Shape): Map<string, string> =>
  new Map(
    [...pages, api].flatMap(group =>
      group.slots.flatMap((target, index) => (target ? [[`${group.name}/s${index + 1}`, target.id] as const] : [])),
    ),
  )
