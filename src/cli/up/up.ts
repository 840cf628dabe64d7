/** `rain up`: a whole cloud on this machine, looked after until it is told to stop. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { CloudError } from '../../cloud/errors.js'
import type { MothershipView, RainServerView } from '../../hypervisor/views.js'
import { Client } from '../../sdk/client.js'
import { Child, childPids, isSupervisor } from './child.js'
import { endLeftovers } from './down.js'
import { host, type Layout, layoutOf, portsOf, portsTaken, type Sizes } from './layout.js'
import { etcdProcesses, nodeProcesses, type ProcessSpec, prometheusProcess, replicaProcesses } from './processes.js'
import { deploySample } from './sample.js'
import { readSecrets, type Secrets } from './secrets.js'
import { claimDataDir, openDataDir, readState, writeState } from './state.js'

export interface UpOptions extends Sizes {
  readonly dataDir: string
  readonly detach: boolean
  /** It is the one that `--detach` started: its words go to a log, where no secret belongs. */
  readonly background: boolean
}

export interface UpDeps {
  /** Path of this program's entry, and of the sample application. */
  readonly program: string
  readonly sample: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly renderPrometheusConfig: (options: { readonly replicas: readonly string[] }) => string
}

const etcdWithinMs = 40_000
const readyWithinMs = 40_000
const stopWithinMs = 8_000
const etcdStopWithinMs = 1_000
const lookEveryMs = 50

const say = (text: string): void => void process.stdout.write(`${text}\n`)
/** Who read what `up` says may go (`| head`): the cloud stays. */
const outliveReaders = (): void => {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
}

/** Resolves with the exit code when the cloud has been stopped, or, detached, when it is ready. */
export async function up(options: UpOptions, deps: UpDeps): Promise<number> {
  const dataDir = resolve(options.dataDir)
  if (options.detach) return detach({ ...options, dataDir }, deps)
  if (options.portBase + portsTaken > 65_535) {
    throw new CloudError('misconfigured', `--port-base ${options.portBase}: at most ${65_535 - portsTaken}`)
  }
  outliveReaders()
  needPrograms()
  openDataDir(dataDir)
  await oneAtATime(dataDir)
  const layout = layoutOf(options)
  await needPorts(layout)
  claimDataDir(dataDir, options)
  const cloud = new LocalCloud(layout, readSecrets(dataDir, layout), dataDir, deps)
  // For good: whoever presses Ctrl-C again while it stops must not end it before the processes that it looks after.
  const signal = new Promise<'signal'>(resolve => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => resolve('signal'))
  })
  try {
    const first = await Promise.race([cloud.start(), signal])
    if (first !== 'signal') {
      if (!options.background) say(greeting(layout, cloud.secrets.tokens.admin, first))
      say(`ready${options.background ? ` ${first}` : ''}`)
      await signal
    }
    return 0
  } finally {
    say('stopping …')
    await cloud.stop()
    say('stopped')
  }
}

class LocalCloud {
  readonly #children = new Map<string, Child>()
  readonly #client: Client
  #stopping = false
  #look: NodeJS.Timeout | undefined
  #written = ''

  constructor(
    private readonly layout: Layout,
    readonly secrets: Secrets,
    private readonly dataDir: string,
    private readonly deps: UpDeps,
  ) {
    this.#client = new Client({ url: layout.api, token: secrets.tokens.admin })
  }

  /** Resolves with the path of the page to look at first. */
  async start(): Promise<string> {
    const { layout, dataDir, secrets } = this
    const commands = { node: process.execPath, rain: this.deps.program }
    const config = join(dataDir, 'prometheus.yml')
    writeFileSync(config, this.deps.renderPrometheusConfig({ replicas: layout.replicas.map(each => each.url) }))
    this.#launch(etcdProcesses(layout, dataDir))
    this.#launch(replicaProcesses(layout, secrets, commands))
    await this.#progress(`etcd, ${count(layout.etcd, 'member')}`, etcdWithinMs, () =>
      this.#allAnswer('etcd', '/health'),
    )
    this.#launch(nodeProcesses(layout, secrets, dataDir, commands))
    this.#launch([prometheusProcess(layout, dataDir, config)])
    this.#look = setInterval(() => this.#writeState(), 500)
    await this.#progress(`hypervisor, ${count(layout.replicas, 'replica')}`, readyWithinMs, () => this.#haveLeader())
    await this.#progress(`HAProxy at ${layout.pages}`, readyWithinMs, () => answers(`${layout.api}/readyz`))
    await this.#progress(
      `${count(layout.motherships, 'mothership')}, ${count(layout.rainServers, 'rain server')}`,
      readyWithinMs,
      () => this.#nodesAreThere(),
    )
    await this.#progress('Prometheus', readyWithinMs, () => answers(`${layout.prometheus.url}/-/ready`))
    const page = await this.#sample()
    await this.#progress(`the page ${page}`, readyWithinMs, () => this.#pageIsWhole(page))
    this.#writeState()
    return page
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#look)
    const stop = (names: RegExp, withinMs = stopWithinMs): Promise<unknown> =>
      Promise.all([...this.#children.values()].filter(each => names.test(each.name)).map(each => each.stop(withinMs)))
    await stop(/^(balancer|prometheus)/)
    await stop(/^(rainserver|mothership)/)
    await stop(/^hypervisor/)
    // The last members of a cluster that loses its majority would look for a new leader instead of ending.
    await stop(/^etcd/, etcdStopWithinMs)
    await endLeftovers(this.dataDir)
  }

  #launch(specs: readonly ProcessSpec[]): void {
    // The start goes on beside the stop that a signal asked for.
    if (this.#stopping) return
    for (const spec of specs) {
      const child = new Child({
        ...spec,
        logFile: join(this.dataDir, 'logs', `${spec.name}.log`),
        endsGroup: spec.name.startsWith('mothership'),
        onChange: () => this.#writeState(),
        onDied: how => {
          if (!this.#stopping) say(`${spec.name} ended (${how}): starting it again`)
        },
      })
      this.#children.set(spec.name, child)
      child.start()
    }
  }

  /** Says what it waits for, and fails when one of the processes cannot stay up. */
  async #progress(what: string, withinMs: number, check: () => Promise<boolean>): Promise<void> {
    const fromMs = performance.now()
    while (!(await check())) {
      this.#failWhenHopeless()
      if (performance.now() - fromMs > withinMs) {
        const logs = join(this.dataDir, 'logs')
        throw new CloudError('timeout', `not ready within ${withinMs / 1000} s: ${what}; the logs are in ${logs}`)
      }
      await new Promise(resolve => setTimeout(resolve, lookEveryMs))
    }
    say(`  ${what}`)
  }

  #failWhenHopeless(): void {
    for (const child of this.#children.values()) {
      if (child.restarts < 3) continue
      throw new CloudError('misconfigured', `${child.name} does not stay up: ${child.lastWords()}`)
    }
  }

  async #allAnswer(kind: 'etcd' | 'replicas', path: string): Promise<boolean> {
    const all = await Promise.all(this.layout[kind].map(each => answers(each.url + path)))
    return all.every(Boolean)
  }

  async #haveLeader(): Promise<boolean> {
    if (!(await this.#allAnswer('replicas', '/readyz'))) return false
    const first = this.layout.replicas[0]!
    const answer = await fetch(`${first.url}/readyz`).catch(() => undefined)
    return ((await answer?.json().catch(() => undefined)) as { leader?: string } | undefined)?.leader != null
  }

  async #nodesAreThere(): Promise<boolean> {
    try {
      const map = await this.#client.get<{ motherships: MothershipView[]; rainServers: RainServerView[] }>('/map')
      const here = (ids: readonly { id: string }[], views: readonly { id: string; state: string }[]): boolean =>
        ids.every(({ id }) =>
          views.some(view => view.id === id && (view.state === 'ready' || view.state === 'draining')),
        )
      return here(this.layout.motherships, map.motherships) && here(this.layout.rainServers, map.rainServers)
    } catch (error) {
      if (error instanceof CloudError && error.code === 'unauthenticated') return false
      if (error instanceof CloudError && (error.code === 'store-unavailable' || error.code === 'bad-request'))
        return false
      throw error
    }
  }

  async #sample(): Promise<string> {
    const page = await deploySample(this.#client, this.deps.sample)
    say('  the sample application')
    return page
  }

  async #pageIsWhole(page: string): Promise<boolean> {
    const answer = await fetch(this.layout.pages + page, { headers: { accept: 'text/html' } }).catch(() => undefined)
    return answer?.status === 200 && !(await answer.text()).includes('data-rain-status')
  }

  #pid(name: string): number {
    return this.#children.get(name)?.pid ?? 0
  }

  /** HAProxy's pid is not told to us: it is the agent's child, so it is looked for. */
  #writeState(): void {
    const { layout, secrets } = this
    const { balancer } = layout
    const agent = this.#pid(`balancer-${balancer.id}`)
    const running = (prefix: string, each: { id: string; url: string }) => ({
      id: each.id,
      url: each.url,
      pid: this.#pid(`${prefix}-${each.id}`),
    })
    const state = {
      api: layout.api,
      pages: layout.pages,
      console: `${layout.api}/console`,
      prometheus: layout.prometheus.url,
      tokens: secrets.tokens,
      replicas: layout.replicas.map(each => running('hypervisor', each)),
      motherships: layout.motherships.map(each => running('mothership', each)),
      rainServers: layout.rainServers.map(each => running('rainserver', each)),
      balancers: [{ id: balancer.id, pid: agent, haproxyPid: agent === 0 ? 0 : (childPids(agent)[0] ?? 0) }],
      etcd: layout.etcd.map(each => running('etcd', each)),
      supervisor: process.pid,
      prometheusPid: this.#pid('prometheus'),
    }
    const text = JSON.stringify(state)
    if (text === this.#written) return
    try {
      writeState(this.dataDir, state)
      this.#written = text
    } catch (error) {
      // A disk that is full is no reason to leave the cloud alone: it is written when there is room.
      say(`up.json could not be written: ${(error as Error).message}`)
    }
  }
}

const count = (all: readonly unknown[], what: string): string => `${all.length} ${what}${all.length === 1 ? '' : 's'}`

const answers = async (url: string): Promise<boolean> => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
  await answer?.arrayBuffer().catch(() => undefined)
  return answer?.ok === true
}

/** Throws `misconfigured`, saying what to install. */
function needPrograms(): void {
  const packages: Readonly<Record<string, string>> = {
    etcd: 'etcd-server',
    haproxy: 'haproxy',
    prometheus: 'prometheus',
  }
  const missing = Object.keys(packages).filter(program => !isInstalled(program))
  if (missing.length === 0) return
  const names = missing.map(each => packages[each]).join(' ')
  throw new CloudError('misconfigured', `not installed: ${missing.join(', ')}. Try: apt-get install ${names}`)
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function oneAtATime(dataDir: string): Promise<void> {
  const state = readState(dataDir)
  if (state && isSupervisor(state.supervisor)) {
    const message = `a cloud runs in ${dataDir} already (process ${state.supervisor}): stop it with \`rain down --data-dir ${dataDir}\``
    throw new CloudError('misconfigured', message)
  }
  await endLeftovers(dataDir)
}

async function needPorts(layout: Layout): Promise<void> {
  const taken: number[] = []
  for (const port of portsOf(layout)) if (!(await isFree(port))) taken.push(port)
  if (taken.length === 0) return
  const list = `${taken.slice(0, 5).join(', ')}${taken.length > 5 ? ', …' : ''}`
  const message = `port ${list} of ${host} is taken by another program: give another --port-base (and --data-dir)`
  throw new CloudError('misconfigured', message)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })

function greeting({ api, pages, prometheus }: Layout, token: string, page: string): string {
  return `
  pages       ${pages}${page}
  REST API    ${api}   (documentation: ${api}/docs)
  console     ${api}/console
  Prometheus  ${prometheus.url}
  admin token ${token}

  curl -H 'user: ${token}' ${api}/mothership/all
`
}

/** Starts itself anew in the background, and shows its words until the cloud is ready. */
async function detach(options: UpOptions, deps: UpDeps): Promise<number> {
  openDataDir(options.dataDir)
  const logFile = join(options.dataDir, 'logs', 'up.log')
  const log = openSync(logFile, 'w', 0o600)
  const { etcd, replicas, motherships, rainServers, portBase, dataDir } = options
  const sizes = { etcd, replicas, motherships, 'rain-servers': rainServers, 'port-base': portBase, 'data-dir': dataDir }
  const args = Object.entries(sizes).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(process.execPath, [deps.program, 'up', '--background', ...args], {
    stdio: ['ignore', log, log],
    detached: true,
  })
  let ended: number | undefined
  child.once('exit', code => {
    ended = code ?? 1
  })
  let shown = 0
  for (;;) {
    const text = existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    const page = /^ready (.*)$/m.exec(whole)?.[1]
    if (page !== undefined) {
      const words = whole.slice(shown).replace(/^ready .*\n/m, '')
      const token = readState(dataDir)?.tokens.admin ?? ''
      process.stdout.write(`${words}${greeting(layoutOf(options), token, page)}\nready\n`)
      break
    }
    if (whole.length > shown) process.stdout.write(whole.slice(shown))
    shown = Math.max(shown, whole.length)
    if (ended !== undefined) return ended || 1
    await new Promise(resolve => setTimeout(resolve, lookEveryMs))
  }
  child.unref()
  return 0
}
