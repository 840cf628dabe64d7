/**
 * What Prometheus knows of the motherships' load: one query for each resource, for all of them at once, as often as the
 * settings say and within bounded time. Whatever goes wrong is a state that is counted and shown; the reports of the
 * motherships stand in then, without anybody doing anything.
 */
import type { Resources } from '../cloud/resources.js'
import type { Settings } from '../cloud/settings.js'
import type { Clock, Log } from '../hypervisor/ports.js'

export type PrometheusState =
  /** Not asked yet. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'good'; readonly motherships: number }
  /** `down`: no connection or an error of the server; `slow`: no answer in time; `wrong`: an answer that cannot be used, or an expression that Prometheus refuses; `empty`: no answer names a mothership. */
  | { readonly kind: Trouble; readonly message: string }
export type Trouble = 'down' | 'slow' | 'wrong' | 'empty'

export interface PrometheusPorts {
  /** Without a slash at the end. */
  readonly url: string
  readonly token?: string
  readonly clock: Clock
  readonly log: Log
  readonly settings: () => Settings['prometheus']
  readonly isMothership: (id: string) => boolean
  readonly note: (mothership: string, load: Resources, ageMs: number) => void
  /** Called after each round with how it went. */
  readonly onRound?: (outcome: PrometheusState['kind'], ms: number) => void
}

const answerBytesMax = 32 * 1024 * 1024
const resources = ['cpu', 'ram', 'bandwidth'] as const

/** Values by mothership, and the time that Prometheus answered for, in seconds since the epoch. */
interface Vector {
  readonly values: ReadonlyMap<string, number>
  readonly atS: number
}

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
  #abort: AbortController | undefined
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

  async #round(): Promise<void> {
    const { clock, settings, onRound } = this.ports
    const fromMs = clock.nowMs()
    const asked = settings()
    const state = await this.#ask(asked)
    if (this.#closed) return
    this.#become(state)
    onRound?.(state.kind, clock.nowMs() - fromMs)
    const leftMs = Math.max(asked.everyMs - (clock.nowMs() - fromMs), 50)
    this.#cancelTimer = clock.after(leftMs, () => void this.#round())
  }

  /** Said once when it changes, not at each round. */
  #become(state: PrometheusState): void {
    const { log, url } = this.ports
    const before = this.#state
    this.#state = state
    if (before.kind === state.kind) return
    if (state.kind === 'good') log.info({ url, motherships: state.motherships }, 'Prometheus tells the load')
    else if (state.kind !== 'waiting') {
      log.warn({ url, state: state.kind, reason: state.message }, 'Prometheus does not tell the load: reports stand in')
    }
  }

  async #ask(asked: Settings['prometheus']): Promise<PrometheusState> {
    const { clock, isMothership, note } = this.ports
    this.#abort = new AbortController()
    let late = false
    const cancel = clock.after(asked.timeoutMs, () => {
      late = true
      this.#abort?.abort()
    })
    try {
      const query = (expression: string): Promise<Vector> => this.#query(expression, asked.label)
      const [cpu, ram, bandwidth, at] = await Promise.all([
        ...resources.map(name => query(asked[name])),
        asked.at === '' ? undefined : query(asked.at),
      ])
      let motherships = 0
      for (const [id, cpuOf] of cpu!.values) {
        const [ramOf, bandwidthOf] = [ram!.values.get(id), bandwidth!.values.get(id)]
        if (ramOf === undefined || bandwidthOf === undefined || !isMothership(id)) continue
        const ageMs = at ? ageOf(at, id) : 0
        if (ageMs === undefined) continue
        note(id, { cpu: cpuOf, ram: ramOf, bandwidth: bandwidthOf }, ageMs)
        motherships++
      }
      if (motherships === 0) {
        const message = `no mothership is named by the label ${asked.label} in the answers to all expressions`
        return { kind: 'empty', message }
      }
      return { kind: 'good', motherships }
    } catch (error) {
      if (late) return { kind: 'slow', message: `no answer within ${asked.timeoutMs} ms` }
      if (error instanceof Failure) return { kind: error.trouble, message: error.message }
      const cause = (error as Error).cause
      const message = cause instanceof Error ? cause.message : (error as Error).message
      return { kind: 'down', message }
    } finally {
      cancel()
      // Of several queries, one may have failed while the others are still away.
      this.#abort.abort()
    }
  }

  async #query(expression: string, label: string): Promise<Vector> {
    const { url, token } = this.ports
    const response = await fetch(`${url}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expression }),
      redirect: 'error',
      signal: this.#abort!.signal,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    })
    const text = await textOf(response)
    if (response.status === 401 || response.status === 403) throw new Failure('down', `it answers ${response.status}`)
    if (response.status >= 500 && response.status !== 503) throw new Failure('down', `it answers ${response.status}`)
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

/** Milliseconds between the scrape and the moment that the answer is for, both by Prometheus' own clock. */
function ageOf({ values, atS }: Vector, id: string): number | undefined {
  const scrapedS = values.get(id)
  return scrapedS === undefined ? undefined : Math.max(0, (atS - scrapedS) * 1000)
}

/** An instant vector as Prometheus' HTTP API gives it. Throws when it is none, or names a mothership twice. */
export function vectorOf(text: string, expression: string, label: string): Vector {
  const answer = parsed(text)
  const told = `the answer to ${JSON.stringify(expression)}`
  if (answer?.status === 'error') throw new Failure('wrong', `${told}: ${String(answer.error).slice(0, 300)}`)
  if (answer?.status !== 'success') throw new Failure('wrong', `${told} is not one of Prometheus`)
  const { resultType, result } = answer.data ?? {}
  if (resultType !== 'vector' || !Array.isArray(result)) {
    throw new Failure('wrong', `${told} is no instant vector but ${String(resultType)}`)
  }
  const values = new Map<string, number>()
  const seen = new Set<string>()
  let atS = 0
  for (const each of result as readonly Sample[]) {
    const id = each?.metric?.[label]
    const [time, value] = Array.isArray(each?.value) ? each.value : []
    if (typeof id !== 'string') continue
    if (seen.has(id)) throw new Failure('wrong', `${told} names ${id} twice: aggregate it by ${label}`)
    seen.add(id)
    atS = Number(time)
    const amount = Number(value)
    // NaN and infinities are what a division by nothing gives: nothing is known of that one.
    if (typeof value === 'string' && Number.isFinite(amount) && amount >= 0) values.set(id, amount)
  }
  return { values, atS }
}

interface Sample {
  readonly metric?: Readonly<Record<string, unknown>>
  readonly value?: readonly unknown[]
}

interface Answer {
  readonly status?: unknown
  readonly error?: unknown
  readonly data?: { readonly resultType?: unknown; readonly result?: unknown }
}

function parsed(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer
  } catch {
    return undefined
  }
}
