/** `rain route`: where one url goes, and why. `rain routes`: the table, also as files for other balancers. */
import { spawn } from 'node:child_process'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { CloudError } from '../cloud/errors.js'
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

async function routes(client: Client, options: RoutesOptions): Promise<number> {
  let after: string | undefined
  do {
    const answer = await ask(client, after, options.watch)
    // While nobody answers, what was written stands.
    if (!answer) continue
    after = answer.revision
    await show(answer, options)
  } while (options.watch)
  return 0
}

async function ask(client: Client, after: string | undefined, patient: boolean): Promise<RoutesAnswer | undefined> {
  try {
    // Weights change without a revision, so that a wait for one is short.
    const query = after === undefined ? {} : { block: `${blockS}s`, after }
    return await client.request<RoutesAnswer>('GET', '/routes', { query })
  } catch (error) {
    const lasting = error instanceof CloudError && ['unauthorized', 'forbidden', 'misconfigured'].includes(error.code)
    if (!patient || lasting) throw error
    process.stderr.write(`rain: ${error instanceof Error ? error.message : String(error)}\n`)
    await new Promise(resolve => setTimeout(resolve, 1_000))
    return undefined
  }
}

async function show(answer: RoutesAnswer, { format, json, listen, out, run }: RoutesOptions): Promise<void> {
  if (json || format === 'json') return deliver({ '': `${JSON.stringify(answer, null, 2)}\n` }, out, run)
  if (format === 'nginx') return deliver({ '': nginxFile(answer, listen) }, out, run)
  if (format === 'envoy') return deliver(envoyFiles(answer, resolve(out ?? '.')), out ?? '', run, out === undefined)
  const rows = answer.routes.flatMap(({ pattern, servers }) =>
    servers.map(each => [pattern, each.id, each.state, String(each.weight), each.address]),
  )
  print(rows.length === 0 ? 'no routes' : table(['PATTERN', 'RAIN SERVER', 'STATE', 'WEIGHT', 'ADDRESS'], rows))
}

/** `files`: by name, or one without. Each is put in place as a whole, so that nobody reads half of it. */
async function deliver(
  files: Readonly<Record<string, string>>,
  out: string | undefined,
  run: string | undefined,
  shown = out === undefined,
): Promise<void> {
  if (shown) return print(Object.values(files).join('\n').trimEnd())
  let changed = false
  for (const [name, text] of Object.entries(files)) {
    const path = name === '' ? out! : join(out!, name)
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) continue
    await mkdir(dirname(path), { recursive: true })
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
    changed = true
    process.stderr.write(`wrote ${path}\n`)
  }
  if (changed && run !== undefined) await runShell(run)
}

function runShell(command: string): Promise<void> {
  return new Promise(done => {
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'] })
    child.once('error', error => {
      process.stderr.write(`rain: ${error.message}\n`)
      done()
    })
    child.once('exit', code => {
      if (code !== 0) process.stderr.write(`rain: ${JSON.stringify(command)} ended with ${code}\n`)
      done()
    })
  })
}
