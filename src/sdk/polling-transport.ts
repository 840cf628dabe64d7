/**
 * A session carried by HTTP requests, for where websockets do not pass (N5). Two lanes: what this node says goes up in
 * requests that are answered at once, one after the other, at least one for each ping; what it is to hear comes down in
 * the answer to a request that the replica holds. Each answer says how many frames there have been, so a held request
 * that a firewall dropped without a word is noticed by the next ping, and asked for anew.
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { replicaFrameBytesMax } from '../protocol/messages.js'
import { type Batch, decodeBatch, encodeBatch, Inbox, Outbox, pollPath, pollType } from '../protocol/poll.js'
import { call, type HttpAnswer, type HttpCall } from './http.js'
import { answeredWith, endOf, type Transport, type TransportEnd, type TransportEvents } from './transport.js'
import type { DialOptions } from './websocket-transport.js'

/** `agent` is this transport's alone, and ends with it: its connections are as dead as the session. */
export interface PollOptions extends DialOptions {
  readonly node: string
  /** How long a replica may hold a request: less than whatever stands between lets it live. */
  readonly holdMs: number
}

const openWithinMs = 5_000
/** A request up is tried anew after this, so that one lost request costs no session. */
const attemptMs = 1_200
const againMs = 50
const againMostMs = 500
/** What a held request may take beyond its time. */
const lateMs = 5_000
const holdMsMin = 1_000
const bytesMax = replicaFrameBytesMax + 1024 * 1024

export class PollingTransport implements Transport {
  readonly #out = new Outbox()
  readonly #in = new Inbox()
  readonly #agent: HttpAgent
  readonly #calls = new Set<HttpCall>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #connection = ''
  #cookie = ''
  #state: 'opening' | 'open' | 'closing' | 'over' = 'opening'
  #up: HttpCall | undefined
  #pingDue = false
  #upFailures = 0
  #down: HttpCall | undefined
  #downFailures = 0
  /** Bytes came down since the last answer to a ping. */
  #progress = false
  /** The last answer to a ping spoke of frames that are not here. */
  #behind = false
  #holdMs: number

  constructor(
    private readonly options: PollOptions,
    private readonly events: TransportEvents,
  ) {
    this.#holdMs = options.holdMs
    const keep = { keepAlive: true }
    this.#agent = options.agent ?? (options.url.startsWith('https:') ? new HttpsAgent(keep) : new HttpAgent(keep))
    void this.#open()
  }

  get open(): boolean {
    return this.#state === 'open'
  }

  get bufferedAmount(): number {
    return this.#out.bytes
  }

  send(frame: Uint8Array): void {
    if (!this.open) return
    this.#out.add(frame)
    // What is said in one go goes up in one request.
    queueMicrotask(() => this.#pump())
  }

  ping(): void {
    this.#pingDue = true
    this.#pump()
  }

  /** Each request is a ping. */
  sendAndPing(frame: Uint8Array): void {
    this.send(frame)
  }

  close(): void {
    if (this.#state === 'opening') return this.terminate()
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#down?.abort('closed')
    this.#later(attemptMs, () => this.terminate())
    this.#pump()
  }

  terminate(): void {
    this.#finish({ kind: 'broken', reason: 'given up' })
  }

  async #open(): Promise<void> {
    const opening = this.#call('', undefined, openWithinMs)
    try {
      const { status, headers, body } = await opening.answer
      if (status !== 201) return this.#finish(answeredWith(status))
      this.#connection = connectionOf(body)
      // A balancer between may tell replicas apart by it.
      this.#cookie = (headers['set-cookie'] ?? []).map(each => each.split(';')[0]).join('; ')
    } catch (error) {
      return this.#finish(endOf(error as Error, opening.connected()))
    }
    if (this.#state !== 'opening') return
    this.#state = 'open'
    this.events.onOpen()
    this.#hold()
  }

  /** One request up at a time. */
  #pump(): void {
    const leaving = this.#state === 'closing'
    if (this.#up || !(this.open || leaving) || (this.#out.empty && !this.#pingDue && !leaving)) return
    this.#pingDue = false
    const batch = encodeBatch({ ...this.#out.batch(), arrived: this.#in.count })
    const up = this.#call(`&hold=0ms${leaving ? '&last=true' : ''}`, batch, attemptMs)
    this.#up = up
    up.answer
      .then(answer => {
        this.#up = undefined
        this.#onUp(answer)
        this.#upFailures = 0
        if (leaving) this.#finish({ kind: 'closed', reason: 'closed (1000)' })
        else this.#pump()
      })
      .catch(() => {
        this.#up = undefined
        this.#pingDue = true
        this.#later(Math.min(againMostMs, againMs * 2 ** this.#upFailures++), () => this.#pump())
      })
  }

  #onUp(answer: HttpAnswer): void {
    const batch = this.#batchOf(answer)
    if (!batch) return
    const behind = batch.first > this.#in.count
    // Twice in a row, and nothing came in between: the held request is lost.
    if (behind && this.#behind && !this.#progress) {
      this.#holdMs = Math.max(holdMsMin, this.#holdMs / 2)
      this.#down?.abort('the held request was lost')
    }
    this.#behind = behind
    this.#progress = false
  }

  /** One request down at a time, and the next one at once. */
  #hold(): void {
    if (!this.open) return
    const batch = encodeBatch({ first: this.#out.next, arrived: this.#in.count, frames: [] })
    const query = `&hold=${Math.round(this.#holdMs)}ms`
    const down = this.#call(query, batch, this.#holdMs + lateMs, () => (this.#progress = true))
    this.#down = down
    down.answer
      .then(answer => {
        this.#onDown(answer)
        this.#downFailures = 0
        this.#hold()
      })
      .catch(() => this.#later(Math.min(againMostMs, againMs * 2 ** this.#downFailures++), () => this.#hold()))
  }

  #onDown(answer: HttpAnswer): void {
    const batch = this.#batchOf(answer)
    if (!batch) return
    const frames = this.#in.take(batch)
    if (!frames) return this.#finish({ kind: 'broken', reason: 'frames are missing' })
    for (const frame of frames) if (this.open) this.events.onFrame(frame as Buffer)
  }

  /**
   * Undefined when the connection is over. Throws when the answer is none of a replica, but of something between: the
   * request is made again, for as long as the session may be silent.
   */
  #batchOf({ status, body }: HttpAnswer): Batch | undefined {
    if (this.#state === 'over') return undefined
    if (status >= 400 && status < 500) {
      this.#finish({ kind: 'closed', reason: reasonOf(status, body) })
      return undefined
    }
    const batch = status === 200 ? decodeBatch(body) : undefined
    if (!batch) throw new Error(`answered ${status}`)
    if (!this.#out.arrived(batch.arrived)) {
      this.#finish({ kind: 'broken', reason: 'frames arrived there that were never sent' })
      return undefined
    }
    this.events.onHeard()
    return batch
  }

  #call(query: string, body: Uint8Array | undefined, withinMs: number, onProgress?: () => void): HttpCall {
    const { url, node, token } = this.options
    const made = call({
      method: 'POST',
      url: url + pollPath(node) + (this.#connection === '' ? '' : `?connection=${this.#connection}${query}`),
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': pollType,
        'cache-control': 'no-store',
        ...(this.#cookie === '' ? {} : { cookie: this.#cookie }),
      },
      body: body ?? new Uint8Array(0),
      agent: this.#agent,
      withinMs,
      bytesMax,
      ...(onProgress ? { onProgress } : {}),
    })
    this.#calls.add(made)
    const forget = (): void => void this.#calls.delete(made)
    made.answer.then(forget, forget)
    return made
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }

  #finish(end: TransportEnd): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    for (const timer of this.#timers) clearTimeout(timer)
    for (const each of this.#calls) each.abort('over')
    this.#agent.destroy()
    // Never within the call that ended it.
    queueMicrotask(() => this.events.onEnd(end))
  }
}

function connectionOf(body: Buffer): string {
  const { connection } = JSON.parse(body.toString()) as { connection?: unknown }
  if (typeof connection !== 'string' || !/^[0-9a-z]{1,64}$/.test(connection))
    throw new Error('not the answer of a replica')
  return connection
}

/** The detail of a problem document, where it is one. */
function reasonOf(status: number, body: Buffer): string {
  try {
    const { detail } = JSON.parse(body.toString()) as { detail?: unknown }
    if (typeof detail === 'string') return detail.slice(0, 200)
  } catch {
    // A proxy has words of its own.
  }
  return answeredWith(status).reason
}
