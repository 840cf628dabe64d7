/**
 * What Prometheus knows of the motherships' load: one query for each resource, for all of them at once, as often as the
 * settings say and within bounded time. Whatever goes wrong, altogether or for some motherships only, is a state that is
 * counted and shown; the reports of the motherships stand in then, without anybody doing anything.
 */
import type { Resources } from '../cloud/resources.js'
import type { Settings } from '../cloud/settings.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { type Lack, said, Unusable, type Vector, vectorOf } from './prometheus-answer.js'

export type PrometheusState =
  /** Not asked yet. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'good'; readonly motherships: number }
  /** It tells of some motherships only. */
  | { readonly kind: 'partial'; readonly motherships: number; readonly message: string; readonly lacking: Lacking }
  /**
   * `down`: no connection or an error of the server; `slow`: no answer in time; `wrong`: an answer that cannot be used,
   * or an expression that Prometheus refuses; `empty`: no answer names a mothership.
   */
  | { readonly kind: Trouble; readonly message: string; readonly lacking?: Lacking }
export type Trouble = 'down' | 'slow' | 'wrong' | 'empty'
/** How many motherships it does not tell of, by why. */
export type Lacking = Readonly<Partial<Record<Lack['why'], number>>>

export interface PrometheusPorts {
  /** Without a slash at the end. */
  readonly url: string
  readonly token?: string
  readonly clock: Clock
  readonly log: Log
  readonly settings: () => Settings['prometheus']
  /** Older samples are of no use. */
  readonly staleMs: () => number
  /** Those that are to be told of: with a session. */
  readonly motherships: () => Iterable<string>
  readonly note: (mothership: string, load: Resources, ageMs: number) => void
  /** What was noted rests on expressions that are not asked any more. */
  readonly forget?: () => void
  /** Called after each round with how it went. */
  readonly onRound?: (state: PrometheusState, ms: number) => void
}

/** For tens of thousands of motherships; and not so much that reading it stops the process for long. */
const answerBytesMax = 8 * 1024 * 1024
const toldMax = 3
const resources = ['cpu', 'ram', 'bandwidth'] as const

type Asked = Settings['prometheus']
type Answers = Readonly<Record<(typeof resources)[number], Vector>> & { readonly at: Vector | undefined }

class Failure extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
  ) {
    super(message)
  }
}

export class PrometheusLoads {
  #state: PrometheusState = { kind: 'waiting' }
  #closed = false
  #asked: Asked | undefined
  /** Only while a round is under way. */
  #abort: AbortController | undefined
  #overtaken = false
  #cancelTimer: (() => void) | undefined

  constructor(private readonly ports: PrometheusPorts) {}

  get state(): PrometheusState {
    return this.#state
  }

  start(): void {
    void this.#round()
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
    this.#abort?.abort()
  }

  /** To be called when the settings change: what is to be asked otherwise is asked at once. */
  reconsider(): void {
    if (this.#closed || !this.#asked || same(this.#asked, this.ports.settings())) return
    if (this.#abort) {
      this.#overtaken = true
      this.#abort.abort()
    } else {
      this.#cancelTimer?.()
      void this.#round()
    }
  }

  async #round(): Promise<void> {
    const { clock, settings, onRound, forget } = this.ports
    const fromMs = clock.nowMs()
    const before = this.#asked
    const asked = settings()
    this.#asked = asked
    this.#overtaken = false
    if (before && !sameQuestion(before, asked)) forget?.()
    const answers = await this.#ask(asked)
    if (this.#closed) return
    // Meanwhile something else is to be asked: what came says nothing of that.
    if (this.#overtaken || !same(asked, settings())) return void this.#round()
    const state = 'kind' in answers ? answers : this.#judge(answers, asked.label, clock.nowMs() - fromMs)
    this.#become(state)
    onRound?.(state, clock.nowMs() - fromMs)
    const leftMs = Math.max(asked.everyMs - (clock.nowMs() - fromMs), 50)
    this.#cancelTimer = clock.after(leftMs, () => void this.#round())
  }

  /** Notes the load of each mothership of which all is known. */
  #judge(answers: Answers, label: string, tookMs: number): PrometheusState {
    const lacks: string[] = []
    const lacking: Partial<Record<Lack['why'], number>> = {}
    let motherships = 0
    for (const id of this.ports.motherships()) {
      const lack = lackOf(answers, label, id) ?? this.#noted(answers, id, tookMs)
      if (lack) {
        lacking[lack.why] = (lacking[lack.why] ?? 0) + 1
        if (lacks.length < toldMax) lacks.push(`${id}: ${lack.message}`)
      } else motherships++
    }
    const count = Object.values(lacking).reduce((sum, each) => sum + each, 0)
    if (count === 0) return { kind: 'good', motherships }
    const more = count > lacks.length ? `; and ${count - lacks.length} more` : ''
    const message = `${lacks.join('; ')}${more}`
    if (motherships > 0) return { kind: 'partial', motherships, message, lacking }
    return { kind: lacking.unnamed === count ? 'empty' : 'wrong', message, lacking }
  }

  #noted({ cpu, ram, bandwidth, at }: Answers, id: string, tookMs: number): Lack | undefined {
    // By Prometheus' own clock from the scrape to the moment that the answer is for, and since it was asked.
    const ageMs = (at ? Math.max(0, (at.atS - at.values.get(id)!) * 1000) : 0) + tookMs
    if (ageMs > this.ports.staleMs()) {
      return { why: 'old', message: `scraped ${Math.round(ageMs / 1000)} s ago, which is too old` }
    }
    const load = { cpu: cpu.values.get(id)!, ram: ram.values.get(id)!, bandwidth: bandwidth.values.get(id)! }
    this.ports.note(id, load, ageMs)
    return undefined
  }

  /** Said once when it changes, not at each round. */
  #become(state: PrometheusState): void {
    const { log, url } = this.ports
    const before = this.#state
    this.#state = state
    if (before.kind === state.kind || state.kind === 'waiting') return
    if (state.kind === 'good') log.info({ url, motherships: state.motherships }, 'Prometheus tells the load')
    else {
      const what = state.kind === 'partial' ? 'the load of some motherships' : 'the load'
      log.warn({ url, state: state.kind, reason: state.message }, `Prometheus does not tell ${what}: reports stand in`)
    }
  }

  async #ask(asked: Asked): Promise<Answers | PrometheusState> {
    const { clock } = this.ports
    const abort = new AbortController()
    this.#abort = abort
    let late = false
    const cancel = clock.after(asked.timeoutMs, () => {
      late = true
      abort.abort()
    })
    try {
      const query = (expression: string): Promise<Vector> => this.#query(expression, asked.label, abort.signal)
      const [cpu, ram, bandwidth, at] = await Promise.all([
        query(asked.cpu),
        query(asked.ram),
        query(asked.bandwidth),
        asked.at === '' ? undefined : query(asked.at),
      ])
      return { cpu, ram, bandwidth, at }
    } catch (error) {
      if (late) return { kind: 'slow', message: `no answer within ${asked.timeoutMs} ms` }
      if (error instanceof Unusable) return { kind: 'wrong', message: error.message }
      if (error instanceof Failure) return { kind: error.trouble, message: error.message }
      const cause = (error as Error).cause
      const message = cause instanceof Error ? cause.message : (error as Error).message
      return { kind: 'down', message }
    } finally {
      cancel()
      // Of several queries, one may have failed while the others are still away.
      abort.abort()
      this.#abort = undefined
    }
  }

  async #query(expression: string, label: string, signal: AbortSignal): Promise<Vector> {
    const { url, token } = this.ports
    const response = await fetch(`${url}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expression }),
      redirect: 'manual',
      signal,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    })
    const { status } = response
    if (status >= 300 && status < 400) {
      const where = response.headers.get('location') ?? 'nowhere'
      throw new Failure('wrong', `it answers ${status} and sends elsewhere (${where.slice(0, 200)}): give that url`)
    }
    const text = await textOf(response)
    if (status === 401 || status === 403 || status >= 500)
      throw new Failure('down', `it answers ${status}${said(text)}`)
    return vectorOf(text, expression, label)
  }
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response.body ?? []) {
    bytes += (part as Uint8Array).byteLength
    if (bytes > answerBytesMax) throw new Failure('wrong', `an answer is longer than ${answerBytesMax} bytes`)
    parts.push(part as Uint8Array)
  }
  return Buffer.concat(parts).toString('utf8')
}

function lackOf(answers: Answers, label: string, id: string): Lack | undefined {
  for (const name of [...resources, 'at'] as const) {
    const vector = answers[name]
    if (!vector || vector.values.has(id)) continue
    return (
      vector.odd.get(id) ?? {
        why: 'unnamed',
        message: `the answer to prometheus.${name} has it nowhere in the label ${label}`,
      }
    )
  }
  return undefined
}

const same = (a: Asked, b: Asked): boolean =>
  a.everyMs === b.everyMs && a.timeoutMs === b.timeoutMs && sameQuestion(a, b)

const sameQuestion = (a: Asked, b: Asked): boolean =>
  a.label === b.label && a.at === b.at && resources.every(name => a[name] === b[name])
