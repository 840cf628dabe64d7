/** The verb `rain dev`. */
import { type Command, InvalidArgumentError } from 'commander'
import { Client } from '../../sdk/client.js'
import { type Connection, type Environment, type Finish, reach, verbOf } from '../connection.js'
import { dev } from './dev.js'

export interface DevDeps {
  readonly environment: Environment
  /** The `rain` program. */
  readonly program: string
}

const portDefault = 7900

export function registerDev(program: Command, deps: DevDeps, finish: Finish): void {
  verbOf(program)(
    'dev',
    'write a component: it runs here, everything else comes from a cloud; pages follow each change',
  )
    .argument('<directory>', 'directory with a meta.json')
    .option('--cloud <url>', 'the cloud: its REST API (as --url)')
    .option('--port <port>', 'where pages are shown, on this machine only', portOf, portDefault)
    .addHelpText('after', help)
    .action((directory: string, given: Connection & { cloud?: string; port: number }) => {
      const { url, token } = reach(given.cloud === undefined ? given : { ...given, url: given.cloud }, deps.environment)
      const client = new Client({ url, token })
      return finish(dev({ directory, port: given.port, client, url, program: deps.program }))
    })
}

const help = `
All pages of the cloud are at http://127.0.0.1:${portDefault}. Where they show this component, without a version or in the
version of its meta.json, they show the one of the directory, in the process that a mothership runs components in; what
it includes, and what includes it, is rendered in the cloud with the same context, session and language as ever. When a
file changes, the component is looked over, started anew, and pages load again; what is wrong is shown here and in them,
and the last version that started stays. What the component prints is printed here.

The cloud registers a rain server that takes no visitors for as long as this runs, so an admin token is needed, and the
cloud's motherships have to be reachable from here.`

function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new InvalidArgumentError('a port.')
}
