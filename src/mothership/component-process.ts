/**
 * A component version's process as its mothership sees it: started, tested, called with a deadline, killed when it
 * stalls, started again with backoff when it dies, and given up (for a while) when it dies too often.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { Compile } from 'typebox/compile'
import type { Clock, Log } from '../hypervisor/ports.js'
import {
  type ControlCall,
  type Controlled,
  type FromWorker,
  fromWorker,
  type RenderCall,
  type Rendered,
  type ToWorker,
  type WorkerStart,
} from './ipc.js'

export interface ProcessOptions {
  readonly name: string
  readonly workerPath: string
  readonly start: WorkerStart
  /** MiB of heap. */
  readonly memoryMiB: number
  readonly clock: Clock
  readonly log: Log
  readonly onState: (state: ProcessState) => void
}

export type ProcessState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'stopped' }

export type Failed = { readonly kind: 'failed'; readonly status: number; readonly reason: string }
export type CallResult = { readonly kind: 'rendered'; readonly result: Rendered } | Failed
export type ControlResult = { readonly kind: 'controlled'; readonly result: Controlled } | Failed

interface Call {
  readonly settle: (result: CallResult | ControlResult) => void
  readonly cancel: () => void
}

const heard = Compile(fromWorker)
const startWithinMs = 10_000
const pingEveryMs = 500
/** So many pings without an answer: counted, not timed, so that a mothership that stood still blames nobody. */
const pingsUnansweredMax = 4
const callsMax = 256
const heapFloorMiB = 64
const deathsMax = 5
const deathsWithinMs = 60_000
const backoffFirstMs = 100
const backoffMostMs = 10_000
const slowRetryMs = 30_000
const drainMs = 5_000

export class ComponentProcess {
  #child: ChildProcess | undefined
  #state: ProcessState = { kind: 'starting' }
  #next = 1
  #pingsUnanswered = 0
  readonly #calls = new Map<number, Call>()
  #deaths: number[] = []
  #cancelTimer: (() => void) | undefined
  #cancelStart: (() => void) | undefined
  #cancelRestart: (() => void) | undefined
  /** Deaths that were followed by a new start. */
  restarts = 0

  constructor(private readonly options: ProcessOptions) {
    this.#start()
  }

  get state(): ProcessState {
    return this.#state
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  async render(call: RenderCall, deadlineMs: number): Promise<CallResult> {
    const result = await this.#ask(n => ({ k: 'render', n, call }), deadlineMs)
    return result.kind === 'controlled' ? failed(502, 'the component answered something else') : result
  }

  async control(call: ControlCall, deadlineMs: number): Promise<ControlResult> {
    const result = await this.#ask(n => ({ k: 'control', n, call }), deadlineMs)
    return result.kind === 'rendered' ? failed(502, 'the component answered something else') : result
  }

  #ask(message: (n: number) => ToWorker, deadlineMs: number): Promise<CallResult | ControlResult> {
    const child = this.#child
    if (this.#state.kind !== 'ready' || !child) return Promise.resolve(failed(503, `not running: ${this.#state.kind}`))
    if (this.#calls.size >= callsMax) return Promise.resolve(failed(503, `${callsMax} calls are under way already`))
    const n = this.#next++
    return new Promise(resolve => {
      const cancel = this.options.clock.after(Math.max(1, deadlineMs), () =>
        this.#settle(n, failed(504, `no answer in ${Math.round(deadlineMs)} ms`)),
      )
      this.#calls.set(n, { settle: resolve, cancel })
      this.#tell(child, message(n))
    })
  }

  /** Lets what is under way end (bounded), then ends the process. */
  async stop(): Promise<void> {
    this.#setState({ kind: 'stopped' })
    this.#cancelRestart?.()
    const untilMs = this.options.clock.nowMs() + drainMs
    while (this.#calls.size > 0 && this.options.clock.nowMs() < untilMs && this.#child) {
      await new Promise<void>(resolve => this.options.clock.after(20, resolve))
    }
    const child = this.#child
    if (child?.pid === undefined) return
    const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
    if (child.connected) child.disconnect()
    const cancel = this.options.clock.after(500, () => child.kill('SIGKILL'))
    await gone
    cancel()
  }

  #start(): void {
    const { workerPath, start, memoryMiB, log, name, clock } = this.options
    this.#setState({ kind: 'starting' })
    const child = fork(workerPath, [JSON.stringify(start)], {
      execArgv: [`--max-old-space-size=${Math.max(heapFloorMiB, Math.ceil(memoryMiB))}`],
      env: { NODE_ENV: 'production', LANG: 'C.UTF-8' },
      cwd: start.directory,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    this.#child = child
    this.#pingsUnanswered = 0
    let understood = true
    child.on('message', (message: unknown) => {
      if (heard.Check(message)) return this.#onMessage(message)
      if (understood) log.warn({ component: name }, 'a component process says what cannot be understood')
      understood = false
    })
    child.on('error', error => {
      log.warn({ component: name, err: error }, 'a component process failed')
      // What could not be started never exits.
      if (child.pid === undefined) this.#onExit(child, error.message)
    })
    child.once('exit', (code, signal) => this.#onExit(child, signal ?? `exit code ${code}`))
    this.#cancelStart = clock.after(startWithinMs, () => child.kill('SIGKILL'))
    this.#watch(child)
  }

  #watch(child: ChildProcess): void {
    if (this.#child !== child) return
    const { clock, log, name } = this.options
    if (this.#state.kind !== 'starting') {
      if (this.#pingsUnanswered >= pingsUnansweredMax) {
        log.warn({ component: name }, 'a component process stalled and is killed')
        child.kill('SIGKILL')
        return
      }
      this.#pingsUnanswered++
      this.#tell(child, { k: 'ping', n: 0 })
    }
    this.#cancelTimer = clock.after(pingEveryMs, () => this.#watch(child))
  }

  #tell(child: ChildProcess, message: ToWorker): void {
    if (child.connected) child.send(message, () => undefined)
  }

  #onMessage(message: FromWorker): void {
    this.#pingsUnanswered = 0
    switch (message.k) {
      case 'pong':
        return
      case 'ready':
        this.#cancelStart?.()
        if (this.#state.kind === 'starting') this.#setState({ kind: 'ready' })
        return
      case 'unfit':
        return this.#giveUp(`the self-test failed: ${message.reason}`)
      case 'rendered':
        return this.#settle(message.n, { kind: 'rendered', result: message.result })
      case 'controlled':
        if (message.result.body instanceof Uint8Array)
          return this.#settle(message.n, { kind: 'controlled', result: message.result })
        return this.#settle(message.n, failed(502, 'the component answered with what is no body'))
      case 'failed':
        return this.#settle(message.n, failed(message.status, message.reason))
    }
  }

  #onExit(child: ChildProcess, how: string): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#cancelTimer?.()
    this.#cancelStart?.()
    for (const n of [...this.#calls.keys()]) this.#settle(n, failed(502, `the process of the component died (${how})`))
    if (this.#state.kind === 'stopped' || this.#cancelRestart) return
    const nowMs = this.options.clock.nowMs()
    this.#deaths = [...this.#deaths.filter(at => nowMs - at < deathsWithinMs), nowMs]
    if (this.#deaths.length >= deathsMax) this.#giveUp(`died ${this.#deaths.length} times in a minute, last: ${how}`)
    else {
      this.#setState({ kind: 'starting' })
      this.#restartIn(Math.min(backoffMostMs, backoffFirstMs * 2 ** (this.#deaths.length - 1)))
    }
  }

  /** Failed, and tried again slowly: the world may have changed. */
  #giveUp(reason: string): void {
    this.options.log.warn({ component: this.options.name, reason }, 'a component version does not run here')
    this.#setState({ kind: 'failed', reason })
    this.#restartIn(slowRetryMs)
    this.#child?.kill('SIGKILL')
  }

  #restartIn(ms: number): void {
    this.#cancelRestart?.()
    this.#cancelRestart = this.options.clock.after(ms, () => {
      this.#cancelRestart = undefined
      if (this.#state.kind === 'stopped' || this.#child) return
      this.restarts++
      this.#start()
    })
  }

  #settle(n: number, result: CallResult | ControlResult): void {
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

const failed = (status: number, reason: string): Failed => ({ kind: 'failed', status, reason })
