/** The verb that takes a version out: its instances stop in order, then its package goes. */
import type { Command } from 'commander'
import { CloudError } from '../cloud/errors.js'
import type { ComponentView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { connect, type Environment, type Finish, print, printJson, verbOf } from './connection.js'
import { patiently, pause } from './patience.js'

const lookEveryMs = 300

export function registerUndeploy(program: Command, environment: Environment, finish: Finish): void {
  verbOf(program)('undeploy', 'stop all instances of a version, and remove its package')
    .argument('<component>', 'name@version, exact')
    .option('--wait', 'show the progress, and wait until it is gone', false)
    .action((name: string, given) => finish(undeploy(connect(given, environment), name, given)))
}

async function undeploy(
  client: Client,
  name: string,
  { wait, json }: { wait: boolean; json: boolean },
): Promise<number> {
  const [, id, version] = /^([\w-]+)[@/](\d+(?:\.\d+){1,2})$/.exec(name) ?? []
  if (id === undefined || version === undefined) {
    throw new CloudError('bad-request', `${JSON.stringify(name)} is no exact version: give name@version`)
  }
  const path = `/webcomponent/${encodeURIComponent(id)}/${version}`
  const answer = await client.request<{ stopping: number }>('DELETE', path, { query: wait ? { timeout: '1ms' } : {} })
  if (json) printJson(answer)
  else print(`${id}/${version} goes: ${answer.stopping} instances stop`)
  return wait ? untilGone(client, path, json) : 0
}

async function untilGone(client: Client, path: string, json: boolean): Promise<number> {
  let told = ''
  for (;;) {
    const left = await patiently(() => remaining(client, path))
    const text = left === undefined ? 'gone' : `${left} left`
    if (!json && text !== told) print(text)
    told = text
    if (left === undefined) return 0
    await pause(lookEveryMs)
  }
}

/** Undefined once it is gone. */
async function remaining(client: Client, path: string): Promise<number | undefined> {
  try {
    const { undeploying, instances } = await client.get<ComponentView>(path)
    return undeploying?.remaining ?? instances.total
  } catch (error) {
    if (error instanceof CloudError && error.code === 'unknown-thing') return undefined
    throw error
  }
}
