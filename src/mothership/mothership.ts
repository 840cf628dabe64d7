/** A mothership: runs the instances that the hypervisor wants here, and renders their views for rain servers. */
import { cpus, totalmem } from 'node:os'
import type { Registry } from 'prom-client'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { Resources } from '../cloud/resources.js'
import { normaliseVersion } from '../cloud/version.js'
import { type MothershipConfig, metricsUrl } from '../config.js'
import type { Chance, Clock, Log } from '../hypervisor/ports.js'
import { copiesPath, type MessageOf, WantedInstance, WantedKeys, WantedPeer } from '../protocol/messages.js'
import type { TicketKey } from '../protocol/ticket.js'
import { NodeSession, type Refused, type WantedState } from '../sdk/node-session.js'
import { type Cgroup, readCgroup } from './cgroup.js'
import { ComponentProcess } from './component-process.js'
import { Confinement } from './confinement.js'
import { Instances, type Runner } from './instances.js'
import { RenderLinks } from './links.js'
import { WantedMemory } from './memory.js'
import { type Measured, Meter } from './meter.js'
import { PackageStore } from './packages.js'
import { readFallback, readResource } from './resources.js'
import { Sockets } from './sockets.js'
import { languagesOf } from './speech.js'
import type { Ask, AskOutcome } from './state/asks.js'
import type { Seen } from './state/code.js'
import { KeptState } from './state/kept-state.js'
import { Statistics } from './statistics.js'

export interface MothershipDeps {
  readonly log: Log
  readonly clock: Clock
  readonly chance: Chance
  readonly software?: string
  /** The built program that runs components. */
  readonly workerPath: string
}

export interface Mothership {
  readonly registry: Registry
  readonly port: number
  stop(): Promise<void>
}

const wantedInstance = Compile(WantedInstance)
const wantedKeys = Compile(WantedKeys)
const wantedPeer = Compile(WantedPeer)
const runsLimit = Compile(Type.String({ minLength: 1 }))
const loadEveryMs = 1_000
const retryEveryMs = 5_000
const cleanEveryMs = 60_000

export async function startMothership(config: MothershipConfig, deps: MothershipDeps): Promise<Mothership> {
  const mothership = new RunningMothership(config, deps)
  await mothership.open()
  return mothership
}

class RunningMothership implements Mothership {
  readonly #statistics = new Statistics()
  readonly #packages: PackageStore
  readonly #memory: WantedMemory
  readonly #confinement: Confinement
  readonly #instances: Instances
  readonly #links: RenderLinks
  readonly #sockets = new Sockets(instance => this.#instances.runnerOf(instance))
  #session: NodeSession | undefined
  #state: KeptState | undefined
  /** Journals of instances that went while this mothership did not run are set aside. */
  #tidied = false
  #keys: readonly TicketKey[] = []
  #timers: (() => void)[] = []
  #stopped = false
  readonly #meter: Meter
  readonly #capacity: Resources
  port = 0

  constructor(
    private readonly config: MothershipConfig,
    private readonly deps: MothershipDeps,
  ) {
    const { log, clock } = deps
    this.#packages = new PackageStore({
      dataDir: config.dataDir,
      token: config.token,
      ...(config.network ? { network: config.network } : {}),
      log,
      replicas: () => this.#session?.replicas ?? config.hypervisors,
    })
    this.#memory = new WantedMemory(config.dataDir, log)
    this.#confinement = new Confinement({
      mothership: config.id,
      dataDir: config.dataDir,
      workerPath: deps.workerPath,
      uids: config.componentUids,
      cgroup: config.componentCgroup,
      clock,
      log,
    })
    this.#instances = new Instances({
      start: (wanted, ramMiB, name, onState) => this.#start(wanted, ramMiB, name, onState),
      observed: items => this.#session?.observed(items),
      copy: instance => this.#state?.copy(instance),
      settled: () => this.#sockets.sweep(),
    })
    this.#links = new RenderLinks({
      id: config.id,
      clock,
      log,
      keys: () => this.#keys,
      upgrades: { [copiesPath]: (request, socket, head) => this.#state?.accept(request, socket, head) },
      onRender: message => this.#onRender(message),
      onCall: message => this.#onCall(message),
      onSocket: ({ t: _t, r: _r, deadlineMs, ...call }, events) => this.#sockets.open(call, events, deadlineMs),
      onTraffic: (message, bytesIn, bytesOut) => this.#onTraffic(message, bytesIn, bytesOut),
    })
    const cgroup = readCgroup()
    this.#capacity = capacityOf(config.capacity, cgroup)
    this.#statistics.capacity(this.#capacity)
    this.#meter = new Meter({
      measure: config.measure,
      cgroup,
      processes: () => [...this.#instances.processes()].map(({ component, runner: { pid } }) => ({ component, pid })),
      traffic: () => ({ bytesIn: this.#links.bytesIn, bytesOut: this.#links.bytesOut }),
      componentTraffic: () => this.#statistics.traffic,
    })
  }

  get registry(): Registry {
    return this.#statistics.registry
  }

  async open(): Promise<void> {
    await this.#packages.open()
    this.#confinement.open()
    this.#state = await KeptState.open({
      self: this.config.id,
      dataDir: this.config.dataDir,
      clock: this.deps.clock,
      chance: this.deps.chance,
      log: this.deps.log,
      keys: () => this.#keys,
      ...(this.config.network?.proxy ? { proxy: this.config.network.proxy } : {}),
      changed: instance => this.#instances.copyChanged(instance),
    })
    this.port = await this.#links.listen(this.config)
    const remembered = this.#memory.read()
    if (remembered) this.#apply(remembered)
    this.#session = new NodeSession({
      node: { kind: 'mothership', id: this.config.id },
      hypervisors: this.config.hypervisors,
      token: this.config.token,
      ...(this.config.network ? { network: this.config.network } : {}),
      hello: () => this.#hello(),
      onWanted: state => this.#onWanted(state),
      log: this.deps.log,
      ...(remembered ? { initialOrder: remembered.order } : {}),
    })
    this.#session.start()
    this.#every(loadEveryMs, () => this.#reportLoad())
    this.#every(retryEveryMs, () => this.#instances.retry())
    this.#every(cleanEveryMs, () => void this.#clean())
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const cancel of this.#timers) cancel()
    await this.#session?.stop()
    await this.#links.close()
    await this.#instances.stop()
    await this.#state?.close()
    this.#confinement.close()
  }

  #every(ms: number, run: () => void): void {
    const again = (): void => {
      if (this.#stopped) return
      run()
      this.#timers.push(this.deps.clock.after(ms, again))
      if (this.#timers.length > 100) this.#timers = this.#timers.slice(-50)
    }
    this.#timers.push(this.deps.clock.after(ms, again))
  }

  #hello(): Omit<MessageOf<'hello'>, 't' | 'kind' | 'id' | 'o'> {
    const { address, zone, labels } = this.config
    return {
      address,
      capacity: this.#capacity,
      labels,
      metrics: metricsUrl(this.config),
      runs: this.#instances.report(),
      ...(zone === undefined ? {} : { zone }),
      ...(this.deps.software === undefined ? {} : { software: this.deps.software }),
    }
  }

  async #onWanted(state: WantedState): Promise<readonly Refused[]> {
    const refused = this.#apply(state)
    await this.#memory.write(state)
    if (!this.#tidied) {
      this.#tidied = true
      await this.#state?.tidy(this.#wanted).catch((error: Error) => {
        this.deps.log.warn({ err: error }, 'journals that are wanted no more stay where they are')
      })
    }
    return refused
  }

  /** What can be read is applied; what cannot is told. */
  #apply({ entries }: WantedState): readonly Refused[] {
    const refused: Refused[] = []
    const wanted = new Map<string, WantedInstance>()
    const peers: WantedPeer[] = []
    for (const [key, value] of entries) {
      if (key === 'keys' && wantedKeys.Check(value)) this.#keys = value.keys
      else if (key.startsWith('instances/') && runsLimit.Check(key.slice(10)) && wantedInstance.Check(value)) {
        wanted.set(key.slice('instances/'.length), value)
      } else if (key.startsWith('peers/') && wantedPeer.Check(value)) peers.push(value)
      else refused.push({ key, reason: 'cannot be read by this release' })
    }
    this.#wanted = wanted
    this.#state?.apply(wanted, peers)
    this.#instances.apply(wanted)
    return refused
  }

  #wanted: ReadonlyMap<string, WantedInstance> = new Map()

  /** Code asks of its own instances only. */
  async #onAsk({ component, version }: WantedInstance, ask: Ask): Promise<AskOutcome> {
    const wanted = this.#wanted.get(ask.instance)
    const own = wanted?.kept && wanted.component === component && wanted.version === version
    if (!own || !this.#state) return { kind: 'unknown', reason: `${ask.instance} keeps no state here` }
    return this.#state.answer(ask)
  }

  async #start(wanted: WantedInstance, askedMiB: number, name: string, onState: () => void): Promise<Runner> {
    const directory = await this.#packages.directory(wanted.digest)
    return new ComponentProcess({
      name,
      component: wanted.component,
      version: wanted.version,
      start: { directory, mothership: this.config.id },
      confinement: this.#confinement,
      askedMiB,
      clock: this.deps.clock,
      log: this.deps.log,
      // The state is read from the runner, which is known only after this returns.
      onState: () => queueMicrotask(onState),
      onAsk: ask => this.#onAsk(wanted, ask),
    })
  }

  async #onRender(message: MessageOf<'render'>): Promise<MessageOf<'fragment'> | MessageOf<'failed'>> {
    const { t: _t, r, deadlineMs, shown, ...call } = message
    const startMs = this.deps.clock.nowMs()
    const component = this.#instances.componentOf(call.instance)
    const seqMin = this.#seqMin(call.instance, shown)
    const result = await this.#instances.render({ ...call, seqMin }, deadlineMs)
    if (component !== undefined) this.#statistics.note(component, result, this.deps.clock.nowMs() - startMs)
    if (result.kind === 'failed') return { t: 'failed', r, status: result.status, reason: result.reason }
    const { html, css, js, title, context, children, guests = [], state, sessionChange } = result.result
    return {
      t: 'fragment',
      r,
      instance: call.instance,
      mothership: this.config.id,
      html,
      css: [...css],
      js: [...js],
      // For its children, if there are any.
      context: children.length + guests.length > 0 ? context : {},
      children: [...children],
      ...(guests.length > 0 ? { guests: [...guests] } : {}),
      ...(title === undefined ? {} : { title }),
      ...(sessionChange === undefined ? {} : { sessionChange }),
      ...this.#reached(call.instance, state),
    }
  }

  /** What was shown of an earlier instance of that name says nothing of this one. */
  #seqMin(instance: string, shown: MessageOf<'render'>['shown']): number | undefined {
    return shown && shown.since === this.#wanted.get(instance)?.since ? shown.seq : undefined
  }

  #reached(instance: string, state: Seen | undefined): Pick<MessageOf<'fragment'>, 'state'> {
    return state ? { state: { ...state, since: this.#wanted.get(instance)?.since ?? 0 } } : {}
  }

  async #onCall(message: MessageOf<'call'>): Promise<MessageOf<'answer'> | MessageOf<'failed'>> {
    const { r, component, path, request } = message
    if (message.kind !== 'resource' && message.kind !== 'fallback') return this.#onControl(message)
    const digest = this.#instances.digestOf(component, normaliseVersion(message.version) ?? message.version)
    if (digest === undefined) return { t: 'failed', r, status: 404, reason: `${component} does not run here` }
    const directory = await this.#packages.directory(digest).catch((error: Error) => error)
    if (directory instanceof Error) return { t: 'failed', r, status: 503, reason: directory.message }
    if (message.kind === 'fallback') {
      const html = await readFallback(directory, path)
      if (html === undefined) return { t: 'failed', r, status: 404, reason: `nothing stands in for ${path}` }
      return { t: 'answer', r, status: 200, headers: {}, body: html }
    }
    // RAIN's way to ask for the file of a language, if there is one.
    const languages = /[?&]loc(=|&|$)/.test(request?.url ?? '') ? languagesOf(message) : []
    const { status, headers, body } = await readResource(directory, path, request?.headers, languages)
    return { t: 'answer', r, status, headers, ...(body === undefined ? {} : { body }) }
  }

  async #onControl(message: MessageOf<'call'>): Promise<MessageOf<'answer'> | MessageOf<'failed'>> {
    const {
      r,
      instance = '',
      path: name,
      intent,
      verb,
      request,
      body,
      session,
      user,
      locale,
      languages,
      sessionData,
      shown,
      deadlineMs,
    } = message
    if (body !== undefined && !(body instanceof Uint8Array)) {
      return { t: 'failed', r, status: 400, reason: 'the body of a call has to be bytes' }
    }
    const startMs = this.deps.clock.nowMs()
    const component = this.#instances.componentOf(instance)
    const call = { instance, name, intent, verb, request, body, session, sessionData, user, locale, languages }
    const seqMin = this.#seqMin(instance, shown)
    const result = await this.#instances.control({ ...call, seqMin }, deadlineMs)
    if (component !== undefined) this.#statistics.note(component, result, this.deps.clock.nowMs() - startMs)
    if (result.kind === 'failed') return { t: 'failed', r, status: result.status, reason: result.reason }
    const { status, headers, cookies, body: answered, sessionChange, state } = result.result
    return {
      t: 'answer',
      r,
      status,
      headers: { ...headers },
      cookies: [...cookies],
      body: answered,
      ...(sessionChange === undefined ? {} : { sessionChange }),
      ...this.#reached(instance, state),
    }
  }

  #onTraffic(message: MessageOf<'render'> | MessageOf<'call'>, bytesIn: number, bytesOut: number): void {
    const component =
      message.t === 'render'
        ? this.#instances.componentOf(message.instance)
        : `${message.component}/${normaliseVersion(message.version) ?? message.version}`
    // A path may name what never ran here: that would be counted for ever.
    if (component !== undefined && this.#instances.hosts(component)) {
      this.#statistics.noteTraffic(component, bytesIn, bytesOut)
    }
  }

  #reportLoad(): void {
    const measured = this.#meter.look(this.deps.clock.nowMs())
    this.#statistics.load(measured)
    this.#session?.load({ ...measured.self, windowMs: loadEveryMs, components: this.#componentLoads(measured) })
  }

  #componentLoads(measured: Measured): NonNullable<MessageOf<'load'>['components']> {
    const loads: NonNullable<MessageOf<'load'>['components']> = {}
    for (const { component, runner } of this.#instances.processes()) {
      const calls = this.#statistics.calls(component)
      const entry = (loads[component] ??= {
        calls: calls?.calls ?? 0,
        errors: calls?.errors ?? 0,
        timeouts: calls?.timeouts ?? 0,
        latency: [...(calls?.latency ?? [])],
        restarts: 0,
        ...(measured.components.get(component) ?? { cpu: 0, ram: 0, bandwidth: 0 }),
      })
      entry.restarts += runner.restarts
    }
    return loads
  }

  async #clean(): Promise<void> {
    try {
      await this.#packages.keepOnly(this.#instances.digests())
    } catch (error) {
      this.deps.log.warn({ err: error }, 'old packages could not be removed')
    }
  }
}

/** What is not given is all that there is: the least of the machine's and the control group's. */
function capacityOf({ cpu, ram, bandwidth }: MothershipConfig['capacity'], cgroup: Cgroup | undefined): Resources {
  const least = (machine: number, group: number | undefined): number => Math.floor(Math.min(machine, group ?? machine))
  return {
    cpu: cpu ?? least(cpus().length * 1000, cgroup?.cpuMillicores),
    ram: ram ?? least(totalmem() / 2 ** 20, cgroup?.ramMiB),
    bandwidth,
  }
}
