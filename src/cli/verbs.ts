/** The operator's verbs: what one wants of a cloud from a shell. */
import { type Command, InvalidArgumentError } from 'commander'
import { CloudError, type Refusal } from '../cloud/errors.js'
import { instanceIdPattern, nodeIdPattern } from '../cloud/ids.js'
import type { WiringWhy } from '../cloud/wiring/explain.js'
import type { ComponentView, InstanceView, MothershipView, RainServerView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { registerActivations } from './activations.js'
import { adviceOn } from './advice.js'
import { pathOfComponent } from './components.js'
import { connect, type Environment, type Finish, namingAll, print, printJson, share, verbOf } from './connection.js'
import { registerKept } from './kept.js'
import { registerOperations } from './operations.js'
import { registerPackages } from './packages.js'
import { registerRollouts } from './rollouts.js'
import { registerRoutes } from './routes.js'
import { table } from './table.js'
import { registerUndeploy } from './undeploy.js'

export function registerVerbs(program: Command, environment: Environment, finish: Finish): void {
  const verb = verbOf(program)
  verb('get', 'show motherships, servers, their wiring, components, instances or replicas')
    .argument('<kind>', kindNames.join(', '), kindOf)
    .argument('[id]', 'one of them only; a component as id or id/version')
    .action((kind: KindName, id: string | undefined, given) =>
      finish(get(connect(given, environment), kind, id, given)),
    )

  verb('run', 'start instances of a component')
    .argument('<component>', 'id/version; a fragment of a version takes the highest, none the newest')
    .option('--count <n>', 'how many', '1')
    .option('--copies <n>', 'copies of each, on different motherships')
    .option('--wait <phase>', 'placed, running or wired', 'running')
    .option('--dry-run', 'only say where they would go', false)
    .action((component: string, given) => finish(run(connect(given, environment), component, given)))

  verb('stop', 'stop instances')
    .argument('<instance...>', 'ids of instances')
    .action((ids: string[], given) => finish(stop(connect(given, environment), ids)))

  registerPackages(program, environment, finish)
  registerActivations(program, environment, finish)
  registerOperations(program, environment, finish)
  registerKept(program, environment, finish)
  registerRollouts(program, environment, finish)
  registerUndeploy(program, environment, finish)
  registerRoutes(program, environment, finish)
}

const kindNames = ['motherships', 'servers', 'wiring', 'components', 'instances', 'replicas'] as const
type KindName = (typeof kindNames)[number]

function kindOf(text: string): KindName {
  const name = kindNames.find(each => each === text || each === `${text}s`)
  if (name) return name
  throw new InvalidArgumentError(`one of ${kindNames.join(', ')}.`)
}

interface Kind<V> {
  readonly heads: readonly string[]
  readonly row: (view: V) => string[]
  readonly list: (client: Client) => AsyncIterable<V>
  readonly idPattern: string
  /** Path of one. */
  readonly one: (id: string) => string
}

const kind = <V>(each: Kind<V>): Kind<unknown> => each as Kind<unknown>

const kindsByName: Readonly<Record<KindName, Kind<unknown>>> = {
  motherships: kind<MothershipView>({
    heads: ['ID', 'STATE', 'INSTANCES', 'CPU', 'RAM', 'BANDWIDTH', 'ADDRESS'],
    row: each => [
      each.id,
      each.cordoned ? `${each.state},cordoned` : each.state,
      String(each.instances),
      ...(['cpu', 'ram', 'bandwidth'] as const).map(name => share(each.reserved[name], each.capacity[name])),
      each.address,
    ],
    list: client => client.all('/mothership/all'),
    idPattern: nodeIdPattern,
    one: id => `/mothership/${encodeURIComponent(id)}`,
  }),
  servers: kind<RainServerView>({
    heads: ['ID', 'STATE', 'URLS', 'WIRED TO', 'ADDRESS'],
    row: each => [each.id, each.state, each.urls.join(','), each.wires.map(w => w.mothership).join(','), each.address],
    list: client => client.all('/rainservers/all'),
    idPattern: nodeIdPattern,
    one: id => `/rainservers/${encodeURIComponent(id)}`,
  }),
  wiring: kind<WiringWhy & { readonly id: string }>({
    heads: ['RAIN SERVER', 'WIRES', 'SHORT OF', 'WITHOUT COPIES'],
    row: ({ id, wires, components, withoutCopies }) => [
      id,
      wires.map(each => `${each.mothership} (${each.because} ${each.components.length})`).join(', '),
      components
        .filter(each => each.serving < each.wanted)
        .map(each => `${each.component} (${each.serving} of ${each.wanted})`)
        .join(', '),
      withoutCopies.join(', '),
    ],
    list: async function* (client) {
      for await (const { id } of client.all<RainServerView>('/rainservers/all')) yield await client.get(wiringPath(id))
    },
    idPattern: nodeIdPattern,
    one: wiringPath,
  }),
  components: kind<ComponentView>({
    heads: ['ID', 'VERSION', 'ACTIVE', 'INSTANCES', 'PHASES', 'MOTHERSHIPS'],
    row: each => [
      each.id,
      each.version,
      each.active ? 'yes' : 'no',
      String(each.instances.total),
      Object.entries(each.instances.byPhase)
        .map(([phase, count]) => `${count} ${phase}`)
        .join(', '),
      each.motherships.join(','),
    ],
    list: client => client.all('/webcomponent/all'),
    idPattern: '^[\\w-]+(/[\\d.]+)?$',
    one: id => `/webcomponent/${id.split('/').map(encodeURIComponent).join('/')}`,
  }),
  instances: kind<InstanceView>({
    heads: ['ID', 'COMPONENT', 'PHASE', 'ON'],
    row: each => [
      each.id,
      `${each.component}/${each.version}`,
      each.phase,
      each.copies.map(copy => `${copy.mothership} (${copy.role}, ${copy.phase})`).join(', '),
    ],
    list: allInstances,
    idPattern: instanceIdPattern,
    one: id => `/webcomponent/${encodeURIComponent(id)}`,
  }),
  replicas: kind<{ id: string; url: string; leader: boolean }>({
    heads: ['ID', 'LEADS', 'URL'],
    row: each => [each.id, each.leader ? 'yes' : '', each.url],
    list: async function* (client) {
      yield* (await client.get<{ items: { id: string; url: string; leader: boolean }[] }>('/replicas')).items
    },
    idPattern: nodeIdPattern,
    one: () => '/replicas',
  }),
}

function wiringPath(id: string): string {
  return `/rainservers/${encodeURIComponent(id)}/wiring`
}

/** By mothership, each once. */
async function* allInstances(client: Client): AsyncIterable<InstanceView> {
  const seen = new Set<string>()
  for await (const { id } of client.all<MothershipView>('/mothership/all')) {
    for await (const instance of client.all<InstanceView>(`/mothership/${encodeURIComponent(id)}/webcomponents`)) {
      if (!seen.has(instance.id)) yield instance
      seen.add(instance.id)
    }
  }
}

async function get(
  client: Client,
  name: KindName,
  id: string | undefined,
  { json }: { json: boolean },
): Promise<number> {
  const { heads, row, list, one, idPattern } = kindsByName[name]
  if (id !== undefined && !(new RegExp(idPattern).test(id) && id !== 'all')) {
    throw new CloudError('bad-request', `${JSON.stringify(id)} cannot be the id of one of the ${name}`)
  }
  const items: unknown[] = []
  if (id === undefined || name === 'replicas' || (name === 'components' && !id.includes('/'))) {
    for await (const item of list(client)) {
      if (id === undefined || (item as { id: string }).id === id) items.push(item)
    }
    if (id !== undefined && items.length === 0) throw new CloudError('unknown-thing', `there is no ${id}`)
  } else items.push(await client.get(one(id)))
  if (json) printJson(items)
  else print(items.length === 0 ? `no ${name}` : table(heads, items.map(row)))
  return 0
}

interface RunOptions {
  readonly count: string
  readonly copies?: string
  readonly wait: string
  readonly dryRun: boolean
  readonly json: boolean
}

async function run(client: Client, name: string, given: RunOptions): Promise<number> {
  const path = await pathOfComponent(client, name)
  const body = given.copies === undefined ? {} : { placement: { copies: Number(given.copies) } }
  const query = { count: given.count, wait: given.wait, ...(given.dryRun ? { dryRun: true } : {}) }
  const answer = await client.request<RunAnswer>('POST', path, { query, body }).catch(whyNowhere(Number(given.count)))
  if (given.json) printJson(answer)
  else if (answer.placed) print(answer.placed.map(on => on.join(', ')).join('\n') || 'nowhere')
  else
    for (const each of answer.items ?? [])
      print(`${each.id} ${each.phase} on ${each.copies.map(c => c.mothership).join(', ')}`)
  return sayRefused(answer)
}

interface RunAnswer {
  readonly items?: readonly InstanceView[]
  readonly refused?: readonly { reasons: readonly Refusal[] }[]
  readonly placed?: readonly (readonly string[])[]
  readonly reasons?: readonly Refusal[]
}

/** Where none of them found room, the answer is an error that says why; it is told as where some did not. */
const whyNowhere =
  (count: number) =>
  (error: unknown): RunAnswer => {
    if (!(error instanceof CloudError) || error.code !== 'no-room') throw namingAll(error)
    return { refused: Array<{ reasons: readonly Refusal[] }>(count).fill({ reasons: error.details.reasons ?? [] }) }
  }

/** What found no room is said, with what can be done, and makes the exit code 1. */
function sayRefused({ refused = [], reasons = refused[0]?.reasons ?? [], placed }: RunAnswer): number {
  if (refused.length === 0 && (placed === undefined || placed.length > 0)) return 0
  const why = reasons.map(each => `${each.mothership} ${each.reason}`).join('; ')
  process.stderr.write(`rain: ${refused.length > 0 ? `${refused.length} not placed` : 'no room'}: ${why}\n`)
  for (const advice of adviceOn(reasons)) process.stderr.write(`  ${advice}\n`)
  return 1
}

async function stop(client: Client, ids: readonly string[]): Promise<number> {
  for (const id of ids) {
    await client.request('DELETE', `/webcomponent/${encodeURIComponent(id)}`)
    print(`${id} stops`)
  }
  return 0
}
