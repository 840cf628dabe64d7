/** `rain route`: where one url goes, and why. `rain routes`: the table, also as files for other balancers. */
import { spawn } from 'node:child_process'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { CloudError, type Code } from '../cloud/errors.js'
import type { Candidate, RoutesAnswer } from '../cloud/routing/table.js'
import type { Client } from '../sdk/client.js'
import { connect, type Environment, type Finish, print, printJson, verbOf } from './connection.js'
import { envoyFiles } from './routes-envoy.js'
import { nginxFile } from './routes-nginx.js'
import { table } from './table.js'

interface RouteAnswer {
  readonly path: string
  readonly pattern: string | null
  readonly candidates: readonly Candidate[]
  readonly chosen: string | null
  readonly why: string
  readonly page: {
    readonly kind: string
    readonly reason?: string
    readonly component?: string
    readonly version?: string
    readonly view?: string
    readonly copies?: readonly { readonly instance: string; readonly mothership: string; readonly reachable: boolean }[]
  } | null
}

const formats = ['table', 'json', 'nginx', 'envoy'] as const

interface RoutesOptions {
  readonly format: (typeof formats)[number]
  readonly listen: number
  readonly out?: string
  readonly run?: string
  readonly watch: boolean
  readonly json: boolean
}

export function registerRoutes(program: Command, environment: Environment, finish: Finish): void {
  const verb = verbOf(program)
  verb('route', 'say which rain server, and which copy, a url goes to, and why')
    .argument('<url>', 'a path, or an url')
    .option('--session <text>', 'cookie RAIN, cookie rain-sid, or a whole Cookie header')
    .action((url: string, given) => finish(route(connect(given, environment), url, given)))

  verb('routes', 'show which rain servers render which urls, or write that for another balancer')
    .addOption(new Option('--format <format>', 'what to write').choices(formats).default('table'))
    .option('--listen <port>', 'nginx: where it is to listen', port, 8080)
    .option('--out <path>', 'write to this file (envoy: files in this directory), when it changes only')
    .option('--run <command>', 'run this by a shell after the file changed, such as: nginx -s reload')
    .option('--watch', 'go on until stopped', false)
    .action((given: RoutesOptions & Parameters<typeof connect>[0]) =>
      finish(routes(connect(given, environment), given)),
    )
}

function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text)
  throw new InvalidArgumentError('a port.')
}

async function route(
  client: Client,
  url: string,
  { session, json }: { session?: string; json: boolean },
): Promise<number> {
  const found = await client.request<RouteAnswer>('GET', '/route', {
    query: { url, ...(session === undefined ? {} : { session }) },
  })
  if (json) printJson(found)
  else printRoute(found)
  return found.pattern === null ? 1 : 0
}

function printRoute({ path, pattern, candidates, chosen, why, page }: RouteAnswer): void {
  print(`${path} is decided by ${pattern ?? 'no pattern'}: ${chosen === null ? why : `${chosen}, because ${why}`}`)
  if (candidates.length > 0) {
    const heads = ['RAIN SERVER', 'STATE', 'WEIGHT', 'OF NEW VISITORS', 'COOKIE', 'ADDRESS']
    const share = (part: number): string => `${(part * 100).toFixed(1)}%`
    print(
      table(
        heads,
        candidates.map(each => [
          each.id,
          each.state,
          String(each.weight),
          share(each.share),
          each.cookie ?? '?',
          each.address,
        ]),
      ),
    )
  }
  if (!page) return
  if (page.kind === 'none') return print(`there it is no page: ${page.reason}`)
  print(
    `there it is ${page.kind} ${page.view ?? ''} of ${page.component}/${page.version}, by these copies in this order:`,
  )
  for (const { instance, mothership, reachable } of page.copies ?? []) {
    print(`  ${instance} on ${mothership}${reachable ? '' : ' (not reachable)'}`)
  }
}

const blockS = 5
/** No waiting helps. */
const lasting: readonly Code[] = ['unauthenticated', 'forbidden', 'misconfigured']

async function routes(client: Client, options: RoutesOptions): Promise<number> {
  const { out, run, watch } = options
  if (run !== undefined && out === undefined) {
    throw new CloudError('misconfigured', '--run needs --out: it is run when that has changed')
  }
  let after: string | undefined
  let shown: string | undefined
  /** What was written has not been run for yet. */
  let due = false
  do {
    const answer = await ask(client, after, watch)
    // While nobody answers, what was written stands.
    if (!answer) continue
    after = answer.revision
    const files = textsOf(answer, options)
    if (out === undefined) {
      const text = Object.values(files).join('\n').trimEnd()
      if (text !== shown) print(text)
      shown = text
    } else {
      due = (await write(files, out)) || due
      // A command that failed leaves the balancer with what was before: it is run again at the next look.
      due = due && run !== undefined && !(await runShell(run))
    }
  } while (watch)
  return due ? 1 : 0
}

async function ask(client: Client, after: string | undefined, patient: boolean): Promise<RoutesAnswer | undefined> {
  try {
    // Weights change without a revision, so that a wait for one is short.
    const query = after === undefined ? {} : { block: `${blockS}s`, after }
    return await client.request<RoutesAnswer>('GET', '/routes', { query })
  } catch (error) {
    if (!patient || (error instanceof CloudError && lasting.includes(error.code))) throw error
    process.stderr.write(`rain: ${error instanceof Error ? error.message : String(error)}\n`)
    await new Promise(resolve => setTimeout(resolve, 1_000))
    return undefined
  }
}

/** By name, or one without. */
function textsOf(answer: RoutesAnswer, { format, json, listen, out }: RoutesOptions): Readonly<Record<string, string>> {
  if (json || format === 'json') return { '': `${JSON.stringify(answer, null, 2)}\n` }
  if (format === 'nginx') return { '': nginxFile(answer, listen) }
  if (format === 'envoy') return envoyFiles(answer, resolve(out ?? '.'))
  const rows = answer.routes.flatMap(({ pattern, servers }) =>
    servers.map(each => [pattern, each.id, each.state, String(each.weight), each.address]),
  )
  const heads = ['PATTERN', 'RAIN SERVER', 'STATE', 'WEIGHT', 'ADDRESS']
  return { '': `${rows.length === 0 ? 'no routes' : table(heads, rows)}\n` }
}

/** Whether any has changed. Each is put in place as a whole, so that nobody reads half of it. */
async function write(files: Readonly<Record<string, string>>, out: string): Promise<boolean> {
  let changed = false
  for (const [name, text] of Object.entries(files)) {
    const path = name === '' ? out : join(out, name)
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) continue
    await mkdir(dirname(path), { recursive: true })
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
    changed = true
    process.stderr.write(`wrote ${path}\n`)
  }
  return changed
}

/** Whether it ended well; if not, that is said. */
function runShell(command: string): Promise<boolean> {
  return new Promise(done => {
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'] })
    child.once('error', error => {
      process.stderr.write(`rain: ${error.message}\n`)
      done(false)
    })
    child.once('exit', code => {
      if (code !== 0) process.stderr.write(`rain: ${JSON.stringify(command)} ended with ${code}\n`)
      done(code === 0)
    })
  })
}
