/**
 * A component version's process as its mothership sees it: started, tested, called with a deadline, killed when it
 * stalls, started again with backoff when it dies, and given up (for a while) when it dies too often.
 */
import { Compile } from 'typebox/compile'
import type { Clock, Log } from '../hypervisor/ports.js'
import { Together } from '../sdk/together.js'
import { hardMaxMiB, heapMaxMiB, judge, residentMaxMiB } from './allowance.js'
import type { Confined, Confinement } from './confinement.js'
import {
  type ControlCall,
  type Controlled,
  type FromWorker,
  fromWorker,
  type RenderAsked,
  type RenderCall,
  type Rendered,
  type SocketCall,
  type ToWorker,
  type WorkerStart,
} from './ipc.js'
import { Output } from './output.js'
import { type OpenSocket, ProcessSockets, type SocketEvents } from './process-sockets.js'
import { Silence, unansweredMax } from './silence.js'
import type { Ask, AskOutcome } from './state/asks.js'

export interface ProcessOptions {
  readonly name: string
  readonly component: string
  readonly version: string
  readonly start: WorkerStart
  readonly confinement: Confinement
  /** MiB that its instances ask for together; `asks` changes it. */
  readonly askedMiB: number
  readonly clock: Clock
  readonly log: Log
  readonly onState: (state: ProcessState) => void
  /** What its code asks of kept state; absent: there is none. */
  readonly onAsk?: (ask: Ask) => Promise<AskOutcome>
}

export type ProcessState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'stopped' }

export type Failed = { readonly kind: 'failed'; readonly status: number; readonly reason: string }
export type CallResult = { readonly kind: 'rendered'; readonly result: Rendered } | Failed
export type ControlResult = { readonly kind: 'controlled'; readonly result: Controlled } | Failed

type Answer = CallResult | ControlResult | { readonly kind: 'opened' }

interface Call {
  readonly settle: (result: Answer) => void
  readonly cancel: () => void
}

const heard = Compile(fromWorker)
const startWithinMs = 10_000
/** After its end, for the rest of what it printed. */
const lastWordsMs = 150
const lookEveryMs = 250
const callsMax = 256
/** Between two looks: who says more holds up all the others with it. */
const [saidMax, nonsenseMax] = [5_000, 100]
/** In one message. */
const rendersMax = 32
const deathsMax = 5
const deathsWithinMs = 60_000
/** One death may be an accident; what dies again has time, for every start holds up the others. */
const [backoffFirstMs, backoffSecondMs, backoffMostMs] = [100, 2_000, 10_000]
/** One that was started again after a death stands behind the others until it has run for so long. */
const trustAfterMs = 10_000
const slowRetryMs = 30_000
const drainMs = 5_000

export class ComponentProcess {
  #running: Confined | undefined
  #askedMiB: number
  /** V8's limit of the one that runs, MiB. */
  #heapMiB = 0
  #collectedMs: number | undefined
  /** Since the last look. */
  #said = 0
  #nonsense = 0
  /** Until the one that runs has said what cannot be understood. */
  #understood = true
  /** Why it was killed from here. */
  #verdict: string | undefined
  readonly #output: Output
  #state: ProcessState = { kind: 'starting' }
  #next = 1
  readonly #silence = new Silence(lookEveryMs)
  readonly #calls = new Map<number, Call>()
  readonly #sockets = new ProcessSockets((message, sent) => this.#running && this.#tell(this.#running, message, sent))
  /** What a page asks of the component at once goes in one message. */
  readonly #renders = new Together<RenderAsked>(
    run => process.nextTick(run),
    rendersMax,
    list => this.#tellRenders(list),
  )
  #deaths: number[] = []
  #cancelLook: (() => void) | undefined
  #cancelStart: (() => void) | undefined
  #cancelRestart: (() => void) | undefined
  #cancelTrust: (() => void) | undefined
  /** Deaths that were followed by a new start. */
  restarts = 0

  constructor(private readonly options: ProcessOptions) {
    this.#askedMiB = options.askedMiB
    this.#output = new Output(options)
    this.#start()
  }

  get state(): ProcessState {
    return this.#state
  }

  get pid(): number | undefined {
    return this.#running?.child.pid
  }

  /** MiB, of all its instances: what it may take follows them at once. */
  asks(ramMiB: number): void {
    this.#askedMiB = ramMiB
    this.#running?.asks(ramMiB)
  }

  async render(call: RenderCall, deadlineMs: number): Promise<CallResult> {
    const result = await this.#ask(deadlineMs, n => this.#renders.add({ k: 'render', n, call }))
    return result.kind === 'rendered' || result.kind === 'failed' ? result : somethingElse
  }

  async control(call: ControlCall, deadlineMs: number): Promise<ControlResult> {
    const result = await this.#ask(deadlineMs, (n, running) => this.#tell(running, { k: 'control', n, call }))
    return result.kind === 'controlled' || result.kind === 'failed' ? result : somethingElse
  }

  async open(call: SocketCall, events: SocketEvents, deadlineMs: number): Promise<OpenSocket | Failed> {
    let number = 0
    const result = await this.#ask(deadlineMs, (n, running) => {
      this.#sockets.expect((number = n), events)
      this.#tell(running, { k: 'open', n, call })
    })
    if (result.kind === 'opened') return this.#sockets.opened(number)
    this.#sockets.refused(number)
    return result.kind === 'failed' ? result : somethingElse
  }

  #ask(deadlineMs: number, tell: (n: number, running: Confined) => void): Promise<Answer> {
    const running = this.#running
    if (this.#state.kind !== 'ready' || !running)
      return Promise.resolve(failed(503, `not running: ${this.#state.kind}`))
    if (this.#calls.size >= callsMax) return Promise.resolve(failed(503, `busy: ${callsMax} calls are under way`))
    if (this.#silence.busy) return Promise.resolve(failed(503, 'busy: it does not answer'))
    const n = this.#next++
    return new Promise(resolve => {
      const cancel = this.options.clock.after(Math.max(1, deadlineMs), () =>
        this.#settle(n, failed(504, `no answer in ${Math.round(deadlineMs)} ms`)),
      )
      this.#calls.set(n, { settle: resolve, cancel })
      tell(n, running)
    })
  }

  /** Lets what is under way end (bounded), then ends the process. */
  async stop(): Promise<void> {
    this.#setState({ kind: 'stopped' })
    this.#sockets.endAll('the component is stopped')
    this.#cancelRestart?.()
    const untilMs = this.options.clock.nowMs() + drainMs
    while (this.#calls.size > 0 && this.options.clock.nowMs() < untilMs && this.#running) {
      await new Promise<void>(resolve => this.options.clock.after(20, resolve))
    }
    const running = this.#running
    if (running?.child.pid === undefined) return
    const { child } = running
    const ended = child.exitCode !== null || child.signalCode !== null
    const gone = ended ? Promise.resolve() : new Promise<void>(resolve => child.once('exit', () => resolve()))
    if (child.connected) child.disconnect()
    const cancel = this.options.clock.after(500, () => running.kill())
    await gone
    cancel()
    await this.#clear(running)
  }

  #start(): void {
    const { confinement, start, log, name, clock } = this.options
    this.#setState({ kind: 'starting' })
    this.#heapMiB = heapMaxMiB(this.#askedMiB)
    this.#collectedMs = undefined
    this.#verdict = undefined
    this.#output.lastError = undefined
    this.#silence.heard()
    this.#understood = true
    const diedOfLate = this.#deaths.some(at => clock.nowMs() - at < deathsWithinMs)
    const running = confinement.start(start, this.#askedMiB, diedOfLate)
    const { child } = running
    this.#running = running
    child.on('message', (message: unknown) => this.#hear(running, message))
    child.on('error', error => {
      log.warn({ component: name, err: error }, 'a component process failed')
      // What could not be started never exits.
      if (child.pid === undefined) this.#onEnd(running, error.message)
    })
    if (child.stdout) this.#output.read(child.stdout, 'stdout')
    if (child.stderr) this.#output.read(child.stderr, 'stderr')
    child.once('exit', (code, signal) => {
      // What it started goes with it, and holds its output open no longer.
      running.kill()
      const end = (): void => this.#onEnd(running, signal ?? `exit code ${code}`)
      const cancel = clock.after(lastWordsMs, end)
      child.once('close', () => {
        cancel()
        end()
      })
    })
    this.#cancelStart = clock.after(startWithinMs, () => this.#kill(running, `not ready in ${startWithinMs / 1000} s`))
    this.#look(running)
  }

  /** Four times a second: whether it answers, and what it takes. */
  #look(running: Confined): void {
    if (this.#running !== running) return
    this.#said = 0
    this.#nonsense = 0
    this.#lookAtMemory(running)
    if (this.#state.kind !== 'starting') {
      if (this.#silence.look(() => running.turn) === 'stalled') {
        return this.#kill(running, `stalled: no sign of life for ${(unansweredMax * lookEveryMs) / 1000} s`)
      }
      this.#tell(running, { k: 'ping', n: 0 })
    }
    this.#cancelLook = this.options.clock.after(lookEveryMs, () => this.#look(running))
  }

  #lookAtMemory(running: Confined): void {
    const [usedMiB, maxMiB, nowMs] = [running.usedMiB, residentMaxMiB(this.#askedMiB), this.options.clock.nowMs()]
    if (usedMiB === undefined) return
    const sinceMs = this.#collectedMs === undefined ? undefined : nowMs - this.#collectedMs
    const judgement = judge(usedMiB, maxMiB, sinceMs)
    if (judgement === 'over') this.#kill(running, `used ${Math.round(usedMiB)} MiB of ${maxMiB}`)
    if (judgement !== 'collect') return
    this.#collectedMs = nowMs
    this.#tell(running, { k: 'collect', n: 0 })
  }

  #kill(running: Confined, why: string): void {
    this.#verdict ??= why
    this.options.log.warn({ component: this.options.name, reason: why }, 'a component process is killed')
    running.kill()
  }

  #tell({ child }: Confined, message: ToWorker, sent = (): void => undefined): void {
    if (child.connected) child.send(message, sent)
  }

  /** Those that have been given up meanwhile are not asked for. */
  #tellRenders(list: readonly RenderAsked[]): void {
    const wanted = list.filter(each => this.#calls.has(each.n))
    if (!this.#running || wanted.length === 0) return
    this.#tell(this.#running, wanted.length === 1 ? wanted[0]! : { k: 'renders', n: 0, list: wanted })
  }

  #hear(running: Confined, message: unknown): void {
    if (this.#verdict !== undefined) return
    if (++this.#said > saidMax) return this.#kill(running, `said more than ${saidMax} things in ${lookEveryMs} ms`)
    if (heard.Check(message)) return this.#onMessage(running, message)
    if (this.#understood) {
      this.options.log.warn({ component: this.options.name }, 'a component process says what cannot be understood')
    }
    this.#understood = false
    if (++this.#nonsense > nonsenseMax) this.#kill(running, 'says again and again what cannot be understood')
  }

  #onMessage(running: Confined, message: FromWorker): void {
    this.#silence.heard()
    switch (message.k) {
      case 'pong':
        return
      case 'ready':
        this.#cancelStart?.()
        if (this.#state.kind !== 'starting') return
        this.#cancelTrust = this.options.clock.after(trustAfterMs, () => running.standBesideOthers())
        return this.#setState({ kind: 'ready' })
      case 'unfit':
        return this.#giveUp(`the self-test failed: ${message.reason}`)
      case 'several':
        // Each for itself: one that cannot be understood takes no other with it.
        for (const each of message.list) this.#hear(running, isSeveral(each) ? undefined : each)
        return
      case 'rendered':
        return this.#settle(message.n, { kind: 'rendered', result: message.result })
      case 'controlled':
        if (message.result.body instanceof Uint8Array)
          return this.#settle(message.n, { kind: 'controlled', result: message.result })
        return this.#settle(message.n, failed(502, 'the component answered with what is no body'))
      case 'opened':
        return this.#settle(message.n, { kind: 'opened' })
      case 'say':
      case 'session':
      case 'closed':
        return this.#sockets.onMessage(message)
      case 'failed':
        return this.#settle(message.n, failed(message.status, message.reason))
      case 'ask':
        return void this.#onAsk(running, message)
    }
  }

  async #onAsk(running: Confined, ask: Ask): Promise<void> {
    const outcome = (await this.options.onAsk?.(ask)) ?? nothingKept
    if (this.#running === running) this.#tell(running, { k: 'told', n: ask.n, outcome })
  }

  #onEnd(running: Confined, signal: string): void {
    if (this.#running !== running) return
    this.#running = undefined
    this.#cancelLook?.()
    this.#cancelStart?.()
    this.#cancelTrust?.()
    const how = this.#howItEnded(running, signal)
    void this.#clear(running)
    for (const n of [...this.#calls.keys()]) this.#settle(n, failed(502, `the process of the component died (${how})`))
    this.#sockets.endAll('the process of the component ended')
    if (this.#state.kind === 'stopped' || this.#cancelRestart) return
    this.options.log.warn({ component: this.options.name, reason: how }, 'a component process died')
    const nowMs = this.options.clock.nowMs()
    this.#deaths = [...this.#deaths.filter(at => nowMs - at < deathsWithinMs), nowMs]
    if (this.#deaths.length >= deathsMax) this.#giveUp(`died ${this.#deaths.length} times in a minute, last: ${how}`)
    else {
      this.#setState({ kind: 'starting' })
      this.#restartIn(backoffMs(this.#deaths.length))
    }
  }

  async #clear(running: Confined): Promise<void> {
    try {
      await running.clear()
    } catch (err) {
      this.options.log.warn({ component: this.options.name, err }, 'something of a component process stays behind')
    }
  }

  #howItEnded(running: Confined, signal: string): string {
    const last = this.#output.lastError
    if (this.#verdict !== undefined) return this.#verdict
    if (signal === 'SIGKILL' && running.outOfMemory) {
      return `used ${hardMaxMiB(this.#askedMiB)} MiB of ${residentMaxMiB(this.#askedMiB)}`
    }
    if (last?.includes('heap out of memory')) return `used all ${this.#heapMiB} MiB of its heap`
    return last === undefined ? signal : `${signal}: ${last}`
  }

  /** Failed, and tried again slowly: the world may have changed. */
  #giveUp(reason: string): void {
    this.options.log.warn({ component: this.options.name, reason }, 'a component version does not run here')
    this.#setState({ kind: 'failed', reason })
    this.#restartIn(slowRetryMs)
    this.#running?.kill()
  }

  #restartIn(ms: number): void {
    this.#cancelRestart?.()
    this.#cancelRestart = this.options.clock.after(ms, () => {
      this.#cancelRestart = undefined
      if (this.#state.kind === 'stopped' || this.#running) return
      this.restarts++
      try {
        this.#start()
      } catch (error) {
        this.#giveUp(`it cannot be started: ${(error as Error).message}`)
      }
    })
  }

  #settle(n: number, result: Answer): void {
    const call = this.#calls.get(n)
    if (!call) return
    this.#calls.delete(n)
    call.cancel()
    call.settle(result)
  }

  #setState(state: ProcessState): void {
    if (this.#state.kind === 'stopped') return
    const changed = this.#state.kind !== state.kind || state.kind === 'failed'
    this.#state = state
    if (changed) this.options.onState(state)
  }
}

const backoffMs = (deaths: number): number =>
  deaths <= 1 ? backoffFirstMs : Math.min(backoffMostMs, backoffSecondMs * 2 ** (deaths - 2))

/** There are none within others. */
const isSeveral = (message: unknown): boolean => (message as { k?: unknown } | null)?.k === 'several'

const nothingKept: AskOutcome = { kind: 'unknown', reason: 'this instance keeps no state' }

const failed = (status: number, reason: string): Failed => ({ kind: 'failed', status, reason })
const somethingElse = failed(502, 'the component answered something else')
