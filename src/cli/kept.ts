/** What only an instance that keeps state needs. */
import type { Command } from 'commander'
import type { InstanceView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'
import { connect, type Environment, type Finish, print, printJson, verbOf } from './connection.js'

export function registerKept(program: Command, environment: Environment, finish: Finish): void {
  verbOf(program)('force', 'go on with what one mothership has of a state that cannot be reached: a last resort')
    .argument('<instance>', 'id of an instance that keeps state')
    .requiredOption('--promote <mothership>', 'the one whose copy becomes the only one')
    .requiredOption('--accept-loss', 'what only other copies had is lost for good')
    .action((id: string, given) => finish(force(connect(given, environment), id, given)))
}

async function force(
  client: Client,
  id: string,
  { promote, json }: { promote: string; json: boolean },
): Promise<number> {
  const body = { promote, acceptLoss: true }
  const view = await client.request<InstanceView>('POST', `/webcomponent/${encodeURIComponent(id)}/force`, { body })
  if (json) printJson(view)
  else print(`${id} goes on at ${promote}, epoch ${view.epoch}: what only other copies had is lost`)
  return 0
}
