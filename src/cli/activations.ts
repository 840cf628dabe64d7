/** The verbs of which versions are active: change it, see how it came to be so, go back. */
import type { Command } from 'commander'
import { CloudError } from '../cloud/errors.js'
import type { ComponentView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { connect, type Environment, type Finish, print, printJson, verbOf } from './connection.js'
import { table } from './table.js'

export function registerActivations(program: Command, environment: Environment, finish: Finish): void {
  const verb = verbOf(program)
  for (const [name, active, what] of [
    ['activate', true, 'let versions be meant where no version is named: the highest active one is'],
    ['deactivate', false, 'let versions be found by their exact names only; what runs goes on running'],
  ] as const) {
    verb(name, what)
      .argument('<component...>', 'id/version, the version in full')
      .action((names: string[], given) => finish(activate(connect(given, environment), names, active, given)))
  }

  verb('rollback', 'go back to the version of a component that was active before')
    .argument('<component>', 'id')
    .option('--to <version>', 'to this version, lower or higher')
    .option('--force', 'also to a version of which nothing runs, without starting it', false)
    .addHelpText('after', rollbackHelp)
    .action((id: string, given) => finish(rollback(connect(given, environment), id, given)))

  verb('history', 'say which version of a component was meant when, and who changed that')
    .argument('<component>', 'id')
    .addHelpText(
      'after',
      '\nThe last 100 changes, the newest first. FROM and TO are the highest active version before and after.',
    )
    .action((id: string, given) => finish(history(connect(given, environment), id, given)))
}

const rollbackHelp = `
The version that was active before is active again, and higher ones are not, in one step. Once more goes further back.
A version of which nothing runs is started first, with as many instances as the one of now has, so that pages have no
hole; \`rain history\` says where a rollback would go.`

async function activate(
  client: Client,
  names: readonly string[],
  active: boolean,
  { json }: { json: boolean },
): Promise<number> {
  for (const name of names) {
    const [, id = '', version = ''] = /^([\w-]+)\/([\d.]+)$/.exec(name) ?? []
    if (id === '') throw new CloudError('bad-request', `${JSON.stringify(name)} is no version: give id/version`)
    const view = await client.request<ComponentView>('PUT', `${pathOf(id, version)}/activation`, { body: { active } })
    if (json) printJson(view)
    else print(`${view.id}/${view.version} is ${view.state}`)
  }
  return 0
}

interface History {
  readonly current: string | null
  readonly previous: string | null
  readonly items: readonly {
    readonly at: string
    readonly by: string
    readonly what: string
    readonly version: string
    readonly from: string | null
    readonly to: string | null
  }[]
}

const pathOf = (id: string, version: string): string =>
  `/webcomponent/${encodeURIComponent(id)}/${encodeURIComponent(version)}`
const historyOf = (client: Client, id: string): Promise<History> =>
  client.get<History>(`/webcomponent/${encodeURIComponent(id)}/history`)

async function history(client: Client, id: string, { json }: { json: boolean }): Promise<number> {
  const found = await historyOf(client, id)
  if (json) printJson(found)
  else {
    const rows = found.items.map(each => [each.at, each.by, each.what, each.version, each.from ?? '-', each.to ?? '-'])
    print(table(['AT', 'BY', 'WHAT', 'VERSION', 'FROM', 'TO'], rows))
    print(`active: ${found.current ?? 'none'}; a rollback goes to: ${found.previous ?? 'nothing'}`)
  }
  return 0
}

async function rollback(
  client: Client,
  id: string,
  { to, force, json }: { to?: string; force: boolean; json: boolean },
): Promise<number> {
  if (!force) await started(client, id, to, json)
  const path = `/webcomponent/${encodeURIComponent(id)}/rollback`
  const body = { force, ...(to === undefined ? {} : { to }) }
  const done = await client.request<{ from: string | null; to: string }>('POST', path, { body })
  if (json) printJson(done)
  else if (done.from === done.to) print(`${id}/${done.to} is what is meant already`)
  else print(`${id}: ${done.from ?? 'nothing'} -> ${done.to}`)
  return 0
}

/** Makes it run as often as the version of now does. Active as well, it is not meant yet: that one is, or runs. */
async function started(client: Client, id: string, to: string | undefined, json: boolean): Promise<void> {
  const { current, previous } = await historyOf(client, id)
  const target = to ?? previous
  if (target === null || current === null || target === current) return
  const [now, then] = await Promise.all(
    [current, target].map(version => client.get<ComponentView>(pathOf(id, version))),
  )
  const running = (view: ComponentView | undefined): number => view?.instances.byPhase['running'] ?? 0
  const count = running(now)
  if (count === 0 || running(then) > 0) return
  if (!json) print(`${id}/${target} does not run: it is started ${count === 1 ? 'once' : `${count} times`} first`)
  await client.request('PUT', `${pathOf(id, target)}/activation`, { body: { active: true } })
  const query = { count, wait: 'running', timeout: '25s' }
  await client.request('POST', pathOf(id, target), { query, body: {} })
}
