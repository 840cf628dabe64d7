/** What every verb has: how to reach the cloud, and how to print. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { CloudError } from '../cloud/errors.js'
import { Client } from '../sdk/client.js'

export type Environment = Readonly<Record<string, string | undefined>>

export interface Connection {
  readonly url?: string
  readonly token?: string
  readonly dataDir: string
}

export type Finish = (result: Promise<number>) => Promise<void>

/** A verb with the options that all of them have. */
export const verbOf =
  (program: Command) =>
  (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .option('--url <url>', 'REST API of the cloud (RAIN_API_URL; default: what `rain up` wrote)')
      .option('--token <token>', 'token (RAIN_TOKEN; default: the one that `rain up` made)')
      .option('--data-dir <dir>', 'data directory of `rain up`', '.rain')
      .option('--json', 'print what the API answered', false)

/** Who reads what is printed may have seen enough (`| head`). */
function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
}

/** From the flags, the environment, or what `up` wrote. Throws `misconfigured`, saying how to give them. */
export function connect(given: Connection, environment: Environment): Client {
  endWithReader()
  return new Client(reach(given, environment))
}

/** Where the cloud's REST API is, and who asks. */
export function reach(given: Connection, environment: Environment): { url: string; token: string } {
  const url = given.url ?? environment['RAIN_API_URL']
  const token = given.token ?? environment['RAIN_TOKEN']
  if (url !== undefined && token !== undefined) return checked(url, token)
  const path = join(given.dataDir, 'up.json')
  try {
    const { api, tokens } = JSON.parse(readFileSync(path, 'utf8')) as { api: string; tokens: { admin: string } }
    return checked(url ?? api, token ?? tokens.admin)
  } catch {
    throw new CloudError(
      'misconfigured',
      `no cloud: give --url and --token, or start one with \`rain up\` (no ${path})`,
    )
  }
}

function checked(url: string, token: string): { url: string; token: string } {
  if (!URL.canParse(url)) throw new CloudError('misconfigured', `--url ${JSON.stringify(url)} is not an url`)
  return { url, token }
}

export const print = (text: string): void => void process.stdout.write(`${text}\n`)
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2))
export const share = (used: number, of: number): string => (of > 0 ? `${Math.round((used / of) * 100)}%` : '-')

/** With every field that is wrong, not the first one alone. */
export function namingAll(error: unknown, what = ''): unknown {
  if (!(error instanceof CloudError)) return error
  const others = (error.details.errors ?? []).slice(1).map(each => `${each.path}: ${each.message}`)
  return new CloudError(error.code, [`${what}${error.message}`, ...others].join('; '), error.details)
}
