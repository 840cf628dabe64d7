/** The verbs of refresh: single instances, or all of a version a few at a time, watched and steered. */
import { type Command, InvalidArgumentError } from 'commander'
import type { rolloutActions } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import type { RolloutView } from '../hypervisor/rollout-view.js'
import type { InstanceView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { pathOfComponent } from './components.js'
import { connect, type Environment, type Finish, print, printJson, verbOf } from './connection.js'
import { patiently, pause } from './patience.js'
import { table } from './table.js'

const lookEveryMs = 300

export function registerRollouts(program: Command, environment: Environment, finish: Finish): void {
  const verb = verbOf(program)

  verb('refresh', 'start instances anew, without a gap: the old process serves until the new one runs')
    .argument('[instance...]', 'ids of instances')
    .option('--all-of <component>', 'all instances of a version, a few at a time: name@version')
    .option('--max-unavailable <n>', 'so many at once: a number, or a share like 25%', amountOf)
    .option('--on-failure <what>', 'pause: wait for an operator; return: back to the process of before', onFailureOf)
    .option('--timeout <duration>', 'how long one may take until it runs', durationOf)
    .option('--wait', 'show the progress, and wait until it is over or paused', false)
    .action((ids: string[], given: RefreshOptions) => finish(refresh(connect(given, environment), ids, given)))

  verb('rollouts', 'show rollouts, or one of them; pause, resume, abort or return it')
    .argument('[id]', 'one of them')
    .option('--pause', 'begin nothing more')
    .option('--resume', 'go on: what did not come up is tried in another process')
    .option('--abort', 'end it: what does not run yet keeps its process')
    .option('--return', 'as abort, and told as returned')
    .option('--wait', 'show the progress, and wait until it is over or paused', false)
    .action((id: string | undefined, given) => finish(rollouts(connect(given, environment), id, given)))
}

interface RefreshOptions {
  readonly url?: string
  readonly token?: string
  readonly dataDir: string
  readonly json: boolean
  readonly allOf?: string
  readonly maxUnavailable?: number | string
  readonly onFailure?: string
  readonly timeout?: string
  readonly wait: boolean
}

function amountOf(text: string): number | string {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  if (/^(100|[1-9]?\d)%$/.test(text)) return text
  throw new InvalidArgumentError('a number, or a share like 25%.')
}

function onFailureOf(text: string): string {
  if (text === 'pause' || text === 'return') return text
  throw new InvalidArgumentError('pause or return.')
}

function durationOf(text: string): string {
  if (/^\d{1,9}(ms|s|m|h)$/.test(text)) return text
  throw new InvalidArgumentError('a duration like 30s or 5m.')
}

async function refresh(client: Client, ids: readonly string[], given: RefreshOptions): Promise<number> {
  const { allOf, maxUnavailable, onFailure, timeout, wait, json } = given
  if ((allOf === undefined) === (ids.length === 0)) {
    throw new CloudError('bad-request', 'name instances, or a version with --all-of')
  }
  if (allOf === undefined) return refreshInstances(client, ids, { wait, json })
  const path = await pathOfComponent(client, allOf.replace('@', '/'))
  const { id: component, version } = await client.get<{ id: string; version: string }>(path)
  const body = {
    component,
    version,
    ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
    ...(onFailure === undefined ? {} : { onFailure }),
    ...(timeout === undefined ? {} : { timeout }),
  }
  const view = await client.request<RolloutView>('POST', '/rollouts/', { body })
  if (wait) return watch(client, view, json)
  if (json) printJson(view)
  else
    print(`${view.id}: ${component}/${version} is refreshed, ${view.total} instances, ${view.maxUnavailable} at once`)
  return 0
}

async function refreshInstances(
  client: Client,
  ids: readonly string[],
  { wait, json }: { wait: boolean; json: boolean },
): Promise<number> {
  let code = 0
  for (const id of ids) {
    const path = `/webcomponent/${encodeURIComponent(id)}`
    const query = wait ? { wait: 'running', timeout: '60s' } : {}
    const view = await client.request<InstanceView>('PUT', path, { query })
    if (json) printJson(view)
    else print(`${id} ${view.phase}, refresh ${view.generation}`)
    const why = view.copies.find(each => each.reason !== undefined)
    if (!wait || why === undefined) continue
    code = 1
    process.stderr.write(`rain: ${id} does not come up anew on ${why.mothership}: ${why.reason}\n`)
  }
  return code
}

const lineOf = ({ done, total, underWay, phase, reason }: RolloutView): string =>
  `${done} of ${total} run anew${underWay.length > 0 ? `, ${underWay.length} under way` : ''} (${phase}${reason === undefined ? '' : `: ${reason}`})`

/** 0 when all of them run anew. */
async function watch(client: Client, first: RolloutView, json: boolean): Promise<number> {
  let view = first
  let told = ''
  for (;;) {
    const text = `${view.id}: ${lineOf(view)}`
    if (!json && text !== told) print(text)
    told = text
    if (view.phase !== 'running') break
    await pause(lookEveryMs)
    view = await patiently(() => client.get<RolloutView>(`/rollouts/${first.id}`))
  }
  if (json) printJson(view)
  else if (view.phase === 'paused') print(`\`rain rollouts ${view.id} --resume\` goes on, --abort ends it`)
  return view.phase === 'done' ? 0 : 1
}

type Action = (typeof rolloutActions)[number]

async function rollouts(
  client: Client,
  id: string | undefined,
  given: Partial<Record<Action, true>> & { readonly wait: boolean; readonly json: boolean },
): Promise<number> {
  const actions = (['pause', 'resume', 'abort', 'return'] as const).filter(each => given[each])
  if (id === undefined) {
    if (actions.length > 0 || given.wait) throw new CloudError('bad-request', 'say of which rollout: `rain rollouts`')
    return list(client, given.json)
  }
  if (actions.length > 1) throw new CloudError('bad-request', `one of --${actions.join(', --')}`)
  const path = `/rollouts/${encodeURIComponent(id)}`
  const [action] = actions
  const view = await (action === undefined
    ? client.get<RolloutView>(path)
    : client.request<RolloutView>('PUT', path, { body: { action } }))
  if (given.wait) return watch(client, view, given.json)
  if (given.json) printJson(view)
  else print(`${view.id}: ${view.component}/${view.version}, ${lineOf(view)}`)
  return 0
}

async function list(client: Client, json: boolean): Promise<number> {
  const views: RolloutView[] = []
  for await (const view of client.all<RolloutView>('/rollouts')) views.push(view)
  if (json) printJson(views)
  else if (views.length === 0) print('no rollouts')
  else {
    const rows = views.map(each => [
      each.id,
      `${each.component}/${each.version}`,
      each.phase,
      `${each.done}/${each.total}`,
      String(each.underWay.length),
      each.startedAt,
      each.reason ?? '',
    ])
    print(table(['ID', 'VERSION', 'PHASE', 'DONE', 'UNDER WAY', 'STARTED', 'REASON'], rows))
  }
  return 0
}
