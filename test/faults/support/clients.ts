/**
 * Clients that ask all replicas while something goes wrong, and write down what they did and were told. Registers are
 * the labels of motherships that are registered only; instances are started, looked at and stopped.
 */
import { createHash } from 'node:crypto'
import type { Operation } from '../../support/linearizability/history.js'
import type { Answer, Rest } from '../../support/rest.js'
import type { FaultCloud } from './cloud.js'

export const registerIds = ['reg1', 'reg2', 'reg3']
const registerKey = (id: string): string => `motherships/${id}`
const instanceKey = (id: string): string => `instances/${id}`
export const nowMs = (): number => performance.now()

type Told = Pick<Operation, 'outcome'> & Partial<Pick<Operation, 'value' | 'revision' | 'modified'>>

/** What an answer says of a write that was asked for. */
function toldOf({ status, body }: Answer): Told['outcome'] {
  if (status < 300) return 'done'
  const detail = String(body['detail'] ?? '')
  if (status >= 500) return /nothing was changed|etcd is full/.test(detail) || isUntried(body) ? 'refused' : 'unknown'
  return 'refused'
}

/** Refused before it was sent to any leader. */
const isUntried = (body: Answer['body']): boolean =>
  String(body['code']) === 'store-unavailable' && !/not known/.test(String(body['detail']))

/** The revision of the map that an answer shows. */
const shownAt = (answer: Answer): { revision?: number } => {
  const revision = Number(answer.headers.get('x-rain-revision')?.split('.')[1])
  return Number.isInteger(revision) ? { revision } : {}
}

const need = { cpu: 0, ram: 0, bandwidth: 0 }
export const startBody = (id?: string): object => ({ ...(id ? { id } : {}), need, placement: { copies: 1 } })
export const startPath = '/webcomponent/probe/1.0'

let clientsMade = 0

/** One client: one operation at a time. */
class RecordingClient {
  readonly #name = `c${++clientsMade}`
  readonly #known = new Map<string, { value: string; revision: number }>()
  #count = 0
  readonly #started: string[] = []

  constructor(
    private readonly rests: readonly Rest[],
    private readonly history: Operation[],
  ) {}

  async next(): Promise<void> {
    const kind = Math.random()
    const id = registerIds[Math.floor(Math.random() * registerIds.length)]!
    if (kind < 0.3) await this.#write(id)
    else if (kind < 0.4) await this.#compareAndSet(id)
    else if (kind < 0.55) await this.#read(id, '?consistency=linearizable')
    else if (kind < 0.7) await this.#read(id, '')
    else if (kind < 0.85 || this.#started.length === 0) await this.#start()
    else if (kind < 0.95) await this.#look()
    else await this.#stop()
  }

  get #rest(): Rest {
    return this.rests[Math.floor(Math.random() * this.rests.length)]!
  }

  async #record(
    operation: Pick<Operation, 'key' | 'kind' | 'value'> & Partial<Operation>,
    ask: () => Promise<Answer>,
    understand: (answer: Answer) => Told,
  ): Promise<void> {
    const calledMs = nowMs()
    const answer = await ask().catch(() => undefined)
    const told: Told = answer ? understand(answer) : { outcome: 'unknown' }
    const returned = told.outcome === 'unknown' ? {} : { returnedMs: nowMs() }
    this.history.push({ client: this.#name, ...operation, calledMs, ...returned, ...told })
  }

  /** A key of its own for each write, and the id under which the answer is kept then. */
  #keyed(value: string): { readonly headers: Record<string, string>; readonly request: string } {
    const digest = createHash('sha256').update(`operator\noperator\n${value}`).digest('hex')
    return { headers: { 'idempotency-key': value }, request: digest.slice(0, 32) }
  }

  async #write(id: string): Promise<void> {
    const value = `${this.#name}-${++this.#count}`
    const { headers, request } = this.#keyed(value)
    const ask = () => this.#rest('PUT', `/mothership/${id}`, { labels: { value } }, headers)
    await this.#record({ key: registerKey(id), kind: 'write', value, request }, ask, answer =>
      this.#written(id, value, answer),
    )
  }

  /** The revision that made the value, unless another write came between it and the answer. */
  #written(id: string, value: string, answer: Answer): Told {
    const outcome = toldOf(answer)
    const shown = answer.body['labels']?.['value'] as unknown
    if (outcome !== 'done' || shown !== value) return { outcome }
    const revision = Number(answer.body['revision'])
    this.#known.set(id, { value, revision })
    return { outcome, revision }
  }

  async #compareAndSet(id: string): Promise<void> {
    const known = this.#known.get(id)
    if (!known) return this.#read(id, '')
    const value = `${this.#name}-${++this.#count}`
    const { headers, request } = this.#keyed(value)
    const more = { ...headers, 'if-match': `"${known.revision}"` }
    const ask = () => this.#rest('PUT', `/mothership/${id}`, { labels: { value } }, more)
    const operation = { key: registerKey(id), kind: 'cas' as const, value, expected: known.value, request }
    await this.#record(operation, ask, answer => {
      const told = this.#written(id, value, answer)
      // Refused for another reason than the register's state, it says nothing about that.
      return told.outcome === 'refused' && answer.status >= 500 ? { outcome: 'unknown' } : told
    })
    this.#known.delete(id)
  }

  async #read(id: string, query: string): Promise<void> {
    const aged = query === '' ? { aged: true } : {}
    const ask = () => this.#rest('GET', `/mothership/${id}${query}`)
    await this.#record({ key: registerKey(id), kind: 'read', value: null, ...aged }, ask, answer => {
      if (answer.status === 404) return { outcome: 'done', value: null, ...shownAt(answer) }
      if (answer.status !== 200) return { outcome: 'unknown' }
      const value = (answer.body['labels']?.['value'] as unknown as string | undefined) ?? null
      const modified = Number(answer.body['revision'])
      if (value !== null) this.#known.set(id, { value, revision: modified })
      return { outcome: 'done', value, modified, ...shownAt(answer) }
    })
  }

  async #start(): Promise<void> {
    const id = `i-${this.#name}-${++this.#count}`
    const { headers, request } = this.#keyed(id)
    const ask = () => this.#rest('POST', startPath, startBody(id), headers)
    await this.#record({ key: instanceKey(id), kind: 'write', value: 'there', request }, ask, answer => ({
      outcome: toldOf(answer),
    }))
    if (this.history.at(-1)?.outcome === 'done') this.#started.push(id)
  }

  async #look(): Promise<void> {
    const id = this.#started[Math.floor(Math.random() * this.#started.length)]!
    const aged = Math.random() < 0.5
    const query = aged ? '' : '?consistency=linearizable'
    const ask = () => this.#rest('GET', `/webcomponent/${id}${query}`)
    await this.#record({ key: instanceKey(id), kind: 'read', value: null, ...(aged ? { aged } : {}) }, ask, answer => {
      if (answer.status !== 200 && answer.status !== 404) return { outcome: 'unknown' }
      return { outcome: 'done', value: answer.status === 200 ? 'there' : null, ...shownAt(answer) }
    })
  }

  async #stop(): Promise<void> {
    const id = this.#started.splice(Math.floor(Math.random() * this.#started.length), 1)[0]!
    const { headers, request } = this.#keyed(`stop-${id}`)
    const ask = () => this.#rest('DELETE', `/webcomponent/${id}`, undefined, headers)
    await this.#record({ key: instanceKey(id), kind: 'write', value: null, request }, ask, answer => ({
      outcome: toldOf(answer),
    }))
  }
}

const attemptMs = 8_000

/** A call that gives up by itself; the outcome of a write is unknown then. */
const patient =
  (url: string, token: string, withinMs = attemptMs): Rest =>
  async (method, path, body, headers = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: { 'content-type': 'application/json', accept: 'application/json', user: token, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(withinMs),
    })
    const text = await response.text()
    const json = text === '' ? {} : (JSON.parse(text) as Answer['body'])
    return { status: response.status, headers: response.headers, text, body: json as Answer['body'] }
  }

export interface Clients {
  readonly history: readonly Operation[]
  /** Resolves when every operation that was begun has ended. */
  stop(): Promise<void>
}

/** Makes the registers, where they are not there yet, and asks all replicas from then on. */
export async function startClients(cloud: FaultCloud, count = 6, everyMs = 15): Promise<Clients> {
  const rests = cloud.replicas.map(each => patient(each.url, cloud.operator))
  const history: Operation[] = []
  for (const id of registerIds) await register(rests[0]!, id, history)
  let going = true
  const loops = Array.from({ length: count }, async () => {
    const client = new RecordingClient(rests, history)
    while (going) {
      await client.next()
      await new Promise(resolve => setTimeout(resolve, everyMs * (0.5 + Math.random())))
    }
  })
  return {
    history,
    stop: async () => {
      going = false
      await Promise.all(loops)
    },
  }
}

async function register(rest: Rest, id: string, history: Operation[]): Promise<void> {
  if ((await rest('GET', `/mothership/${id}`)).status === 200) return
  const value = `first-${id}`
  const capacity = { cpu: 0, ram: 0, bandwidth: 0 }
  const body = { id, address: 'ws://127.0.0.1:9', capacity, labels: { value } }
  const calledMs = nowMs()
  const answer = await rest('POST', '/mothership/', body)
  if (answer.status !== 201) throw new Error(`no register ${id}: ${answer.status} ${answer.text}`)
  const told = { returnedMs: nowMs(), outcome: 'done' as const, revision: Number(answer.body['revision']) }
  history.push({ client: 'c0', key: registerKey(id), kind: 'write', value, calledMs, ...told })
}

export interface Attempt {
  readonly calledMs: number
  readonly answeredMs: number
  /** 0: no answer. */
  readonly status: number
  readonly replica: number
  readonly retryAfter: string | null
  readonly detail: string
}

/** Asks anew all the time, without waiting for the answers before: when did the first come that was asked for since? */
export class Prober {
  readonly attempts: Attempt[] = []
  readonly #open = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #turn = 0

  constructor(
    private readonly cloud: FaultCloud,
    private readonly options: {
      readonly everyMs?: number
      readonly at?: () => readonly number[]
      readonly ask?: (rest: Rest, turn: number) => Promise<Answer>
    } = {},
  ) {}

  start(): this {
    const { everyMs = 20 } = this.options
    this.#timer = setInterval(() => this.#try(), everyMs)
    return this
  }

  #try(): void {
    if (this.#open.size > 200) return
    const replicas = this.options.at?.() ?? [0, 1, 2]
    const turn = this.#turn++
    const replica = replicas[turn % replicas.length]!
    const rest = patient(this.cloud.replicas[replica]!.url, this.cloud.operator)
    const ask = this.options.ask ?? (each => each('POST', startPath, startBody()))
    const calledMs = nowMs()
    const attempt = ask(rest, turn)
      .catch(() => undefined)
      .then(answer => {
        this.attempts.push({
          calledMs,
          answeredMs: nowMs(),
          status: answer?.status ?? 0,
          replica,
          retryAfter: answer?.headers.get('retry-after') ?? null,
          detail: String(answer?.body['detail'] ?? ''),
        })
        this.#open.delete(attempt)
      })
    this.#open.add(attempt)
  }

  /** The first that was asked for since, and was done. */
  firstDoneSince(fromMs: number, among?: (each: Attempt) => boolean): Attempt | undefined {
    const fit = this.attempts.filter(
      each => each.calledMs >= fromMs && each.status > 0 && each.status < 300 && (among?.(each) ?? true),
    )
    return fit.reduce<Attempt | undefined>((a, b) => (a && a.answeredMs <= b.answeredMs ? a : b), undefined)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
  }
}
