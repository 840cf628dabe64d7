/** The verbs of who runs the cloud: look at the load, ask why, take motherships out, move instances, change settings. */
import { type Command, InvalidArgumentError } from 'commander'
import { CloudError } from '../cloud/errors.js'
import { isInstanceId } from '../cloud/ids.js'
import { resourceNames } from '../cloud/placement/host.js'
import type { InstanceView, MothershipView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { adviceOn } from './advice.js'
import { pathOfComponent } from './components.js'
import { connect, type Environment, type Finish, namingAll, print, printJson, share, verbOf } from './connection.js'
import { table } from './table.js'

const lookEveryMs = 500

export function registerOperations(program: Command, environment: Environment, finish: Finish): void {
  const verb = verbOf(program)

  verb('top', 'show how full the motherships are: measured, and reserved').action(given =>
    finish(top(connect(given, environment), given)),
  )

  verb('explain', 'say why an instance is where it is, or where a component would go')
    .argument('<what>', 'id of an instance, or a component: id or id/version')
    .action((what: string, given) => finish(explain(connect(given, environment), what, given)))

  verb('clone', 'make one more copy of an instance, on another mothership')
    .argument('<instance>', 'id of an instance')
    .option('--on <mothership>', 'on this one')
    .action((id: string, given) => finish(clone(connect(given, environment), id, given)))

  for (const [name, cordoned, what] of [
    ['cordon', true, 'place nothing more on motherships; what runs there stays'],
    ['uncordon', false, 'place instances on motherships again'],
  ] as const) {
    verb(name, what)
      .argument('<mothership...>', 'ids of motherships')
      .action((ids: string[], given) => finish(cordon(connect(given, environment), ids, cordoned)))
  }

  verb('drain', 'move everything off motherships: start elsewhere, switch, stop')
    .argument('<mothership...>', 'ids of motherships')
    .option('--deadline <duration>', 'after that, do not wait for the copies elsewhere to run', durationOf)
    .option('--cancel', 'keep what is still there, and place instances there again', false)
    .option('--wait <duration>', 'show the progress, and wait until they are empty; at most so long', durationOf)
    .action((ids: string[], given) => finish(drain(connect(given, environment), ids, given)))

  verb('rebalance', 'move instances so that motherships are about as full')
    .option('--dry-run', 'only say what would be moved', false)
    .option('--moves <n>', 'at most so many', movesOf)
    .action(given => finish(rebalance(connect(given, environment), given)))

  verb('settings', 'show the settings, or change some')
    .argument('[what...]', 'names to show, or changes: name=value; of a group group.name=value', wordOf)
    .action((words: readonly Word[] | undefined, given) =>
      finish(settings(connect(given, environment), words ?? [], given)),
    )
}

function durationOf(text: string): string {
  if (/^\d{1,9}(ms|s|m|h)$/.test(text)) return text
  throw new InvalidArgumentError('a duration like 30s or 5m.')
}

function movesOf(text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) >= 1 && Number(text) <= 1000) return Number(text)
  throw new InvalidArgumentError('a whole number from 1 to 1000.')
}

const pathOf = (mothership: string): string => `/mothership/${encodeURIComponent(mothership)}`

async function motherships(client: Client): Promise<MothershipView[]> {
  const views: MothershipView[] = []
  for await (const view of client.all<MothershipView>('/mothership/all')) views.push(view)
  return views
}

async function top(client: Client, { json }: { json: boolean }): Promise<number> {
  const views = await motherships(client)
  if (json) {
    printJson(views)
    return 0
  }
  const heads = [
    'ID',
    'STATE',
    'INSTANCES',
    ...resourceNames.map(name => `${name.toUpperCase()} USED`),
    'RESERVED',
    'LOAD',
  ]
  const worst = (view: MothershipView): number =>
    Math.max(
      ...resourceNames.map(name => (view.measured?.[name] ?? view.reserved[name]) / Math.max(view.capacity[name], 1)),
    )
  const rows = [...views]
    .sort((a, b) => worst(b) - worst(a))
    .map(view => [
      view.id,
      view.cordoned ? `${view.state},cordoned` : view.state,
      String(view.instances),
      ...resourceNames.map(name => (view.measured ? share(view.measured[name], view.capacity[name]) : '?')),
      resourceNames.map(name => share(view.reserved[name], view.capacity[name])).join(' '),
      view.measured ? `${view.measured.freshness}, by ${view.measured.source}` : 'unknown',
    ])
  print(rows.length === 0 ? 'no motherships' : table(heads, rows))
  const { prometheus } = await client.get<{ prometheus: Asked | null }>('/readyz')
  if (prometheus && prometheus.state !== 'good') {
    const why = prometheus.message ?? 'not asked yet'
    print(`Prometheus is ${prometheus.state}: ${why}; reports stand in for what is missing or stale`)
  }
  return 0
}

/** How it goes with Prometheus, at the replica that answers. */
interface Asked {
  readonly state: string
  readonly message?: string
}

interface Explained {
  readonly candidates: readonly {
    readonly mothership: string
    readonly score: number
    readonly terms: Readonly<Record<string, number>>
    readonly pressure: Readonly<Record<(typeof resourceNames)[number], number>>
    readonly loadAgeMs: number | null
  }[]
  readonly refusedByRule?: Readonly<Record<string, number>>
  readonly reasons?: readonly { readonly mothership: string; readonly rule: string; readonly reason: string }[]
}

function printExplained({ candidates, refusedByRule = {}, reasons = [] }: Explained): void {
  if (candidates.length > 0) {
    const heads = ['MOTHERSHIP', 'SCORE', 'CPU', 'RAM', 'BANDWIDTH', 'TERMS', 'LOAD']
    const rows = candidates.map(each => [
      each.mothership,
      each.score.toFixed(4),
      ...resourceNames.map(name => share(each.pressure[name], 1)),
      Object.entries(each.terms)
        .map(([name, value]) => `${name} ${value.toFixed(3)}`)
        .join(', '),
      each.loadAgeMs === null ? 'as declared' : `measured ${(each.loadAgeMs / 1000).toFixed(1)} s before`,
    ])
    print(table(heads, rows))
  } else print('no mothership could take it')
  for (const { mothership, rule, reason } of reasons) print(`  ${mothership || '-'}: ${reason} (${rule})`)
  const counts = Object.entries(refusedByRule).filter(() => reasons.length === 0)
  if (counts.length > 0) print(`  refused: ${counts.map(([rule, count]) => `${count} by ${rule}`).join(', ')}`)
  if (candidates.length > 0) return
  for (const advice of adviceOn(reasons)) print(`  what can be done: ${advice}`)
}

async function explain(client: Client, what: string, { json }: { json: boolean }): Promise<number> {
  if (!isInstanceId(what)) return explainComponent(client, what, json)
  const path = `/webcomponent/${encodeURIComponent(what)}`
  const { copies, component, version } = await client.get<InstanceView>(path)
  const found = await client.get<Explained & { at: string; decisionRevision: number; now?: Explained }>(
    `${path}/placement`,
  )
  if (json) {
    printJson(found)
    return 0
  }
  print(
    `${what} (${component}/${version}) is on ${copies.map(each => `${each.mothership} (${each.phase})`).join(', ')}`,
  )
  for (const { mothership, reason } of copies) if (reason !== undefined) print(`  ${mothership}: ${reason}`)
  if (found.decisionRevision > 0) {
    print(`\nas decided at ${found.at}, on revision ${found.decisionRevision}:`)
    printExplained(found)
  } else print('\nwhy it was placed there is not kept any more')
  if (found.now) {
    print('\nif it were placed now:')
    printExplained(found.now)
  }
  return 0
}

async function explainComponent(client: Client, what: string, json: boolean): Promise<number> {
  const path = await pathOfComponent(client, what)
  const found = await client.request<Explained & { placed: string[][] }>('POST', path, {
    query: { dryRun: true },
    body: {},
  })
  if (json) printJson(found)
  else {
    const [where] = found.placed
    print(where ? `an instance of ${what} would go to ${where.join(', ')}` : `no room for an instance of ${what}`)
    printExplained(found)
  }
  return found.placed.length > 0 ? 0 : 1
}

async function clone(client: Client, id: string, { on, json }: { on?: string; json: boolean }): Promise<number> {
  const body = on === undefined ? {} : { mothership: on }
  const view = await client.request<InstanceView>('POST', `/webcomponent/${encodeURIComponent(id)}`, { body })
  if (json) printJson(view)
  else print(`${id} is on ${view.copies.map(each => `${each.mothership} (${each.role}, ${each.phase})`).join(', ')}`)
  return 0
}

async function cordon(client: Client, ids: readonly string[], cordoned: boolean): Promise<number> {
  for (const id of ids) {
    await client.request('PUT', pathOf(id), { body: { cordoned } })
    print(`${id} ${cordoned ? 'takes nothing more' : 'takes instances again'}`)
  }
  return 0
}

interface DrainOptions {
  readonly deadline?: string
  readonly cancel: boolean
  readonly wait?: string
}

async function drain(
  client: Client,
  ids: readonly string[],
  { deadline, cancel, wait }: DrainOptions,
): Promise<number> {
  const draining = cancel ? false : deadline === undefined ? true : { deadline }
  for (const id of ids) {
    const view = await client.request<MothershipView>('PUT', pathOf(id), { body: { draining } })
    print(cancel ? `${id} keeps its ${view.instances} instances` : `${id} drains: ${view.instances} instances to move`)
  }
  if (cancel || wait === undefined) return 0
  const untilMs = performance.now() + msOf(wait)
  let told = ''
  for (;;) {
    const views = await Promise.all(ids.map(id => client.get<MothershipView>(pathOf(id))))
    const text = views.map(view => `${view.id} ${view.instances} left`).join(', ')
    if (text !== told) print(text)
    told = text
    if (views.every(view => view.instances === 0)) return 0
    if (performance.now() > untilMs) {
      throw new CloudError('timeout', `not empty within ${wait}: \`rain explain <instance>\` says what keeps one there`)
    }
    await new Promise(resolve => setTimeout(resolve, lookEveryMs))
  }
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }
function msOf(duration: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h)$/.exec(duration)!
  return Number(amount) * unitMs[unit!]!
}

interface Moves {
  readonly imbalance?: { readonly before: number; readonly after: number }
  readonly moves: readonly {
    readonly instance: string
    readonly from: string
    readonly to: string
    readonly gain?: number
  }[]
  readonly staying?: Readonly<Record<string, number>>
}

async function rebalance(
  client: Client,
  { dryRun, moves, json }: { dryRun: boolean; moves?: number; json: boolean },
): Promise<number> {
  const some = moves === undefined ? {} : { moves }
  const found = dryRun
    ? await client.get<Moves>('/rebalance/plan', some)
    : await client.request<Moves>('POST', '/rebalance', { body: some })
  if (json) {
    printJson(found)
    return 0
  }
  const { imbalance, staying = {} } = found
  if (imbalance) {
    const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
    print(
      `the fullest or emptiest mothership is ${percent(imbalance.before)} of capacity from the mean, ${percent(imbalance.after)} after the moves`,
    )
  }
  if (found.moves.length === 0) print('nothing to move')
  else
    print(
      table(
        ['INSTANCE', 'FROM', 'TO'],
        found.moves.map(each => [each.instance, each.from, each.to]),
      ),
    )
  for (const [why, count] of Object.entries(staying)) print(`  ${count} stay: ${why}`)
  return 0
}

/** A name, with a value when that is to be changed. */
interface Word {
  readonly name: string
  readonly value?: unknown
}

/** A value is JSON where it can be, and a word else. */
function wordOf(text: string, before: readonly Word[] | undefined): readonly Word[] {
  const [, name, given] = /^(\w+(?:\.\w+)?)(?:=(.*))?$/s.exec(text) ?? []
  if (name === undefined) throw new InvalidArgumentError('a name, name=value or group.name=value.')
  if (given === undefined) return [...(before ?? []), { name }]
  let value: unknown = given
  try {
    value = JSON.parse(given)
  } catch {
    // A word.
  }
  return [...(before ?? []), { name, value }]
}

async function settings(client: Client, words: readonly Word[], { json }: { json: boolean }): Promise<number> {
  const body: Record<string, unknown> = {}
  for (const { name, value } of words) {
    if (value === undefined) continue
    const [group = '', field] = name.split('.')
    body[group] = field === undefined ? value : { ...(body[group] as object | undefined), [field]: value }
  }
  const changes = Object.keys(body).length > 0
  const answer = changes ? client.request<object>('PUT', '/settings', { body }) : client.get<object>('/settings')
  const found = await answer.catch((error: unknown) => {
    throw namingAll(error)
  })
  if (json) {
    printJson(found)
    return 0
  }
  const asked = words.filter(each => each.value === undefined).map(each => each.name)
  const told = Object.entries(found).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value as object).map(([field, each]) => [`${name}.${field}`, each] as const)
      : [[name, value] as const],
  )
  const unknown = asked.find(each => !told.some(([name]) => isIn(name, each)))
  if (unknown !== undefined) throw new CloudError('unknown-thing', `there is no setting ${unknown}`)
  for (const [name, value] of told) {
    if (asked.length === 0 || asked.some(each => isIn(name, each))) print(`${name}=${JSON.stringify(value)}`)
  }
  return 0
}

const isIn = (name: string, asked: string): boolean => name === asked || name.startsWith(`${asked}.`)
