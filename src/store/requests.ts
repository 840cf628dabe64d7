/**
 * Answers already given, on leases of ten minutes that the requests of a minute share. Who brings a key of its own may
 * ask again at any time: its answer is kept under it, at `request/{id}`. Who brings none is only asked for again by the
 * replica that took the call, within seconds, when a leader went away: those of one transaction share one value,
 * `request/turn/{number}`, which is one key less for each call to write, to replicate and to expire.
 */
import { CloudError } from '../cloud/errors.js'
import type { Clock, RequestRecord, Requests } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import { callMs, retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { json, parseJson } from './values.js'

const keptS = 660
const bucketMs = 60_000
const readMs = 2_000

export class RequestLeases {
  #lease: { id: string; untilMs: number } | undefined
  #asking = false

  constructor(
    private readonly etcd: Etcd,
    private readonly clock: Clock,
  ) {}

  async current(): Promise<string> {
    if (this.#lease && this.clock.nowMs() < this.#lease.untilMs) return this.#lease.id
    const { lease } = await this.etcd.grant(keptS, callMs)
    this.#lease = { id: lease, untilMs: this.clock.nowMs() + bucketMs }
    return lease
  }

  /** For who may soon lead: so that its first answer need not wait for a lease. */
  keepReady(): void {
    if (this.#lease && this.clock.nowMs() < this.#lease.untilMs) return
    if (this.#asking) return
    this.#asking = true
    void this.current()
      .catch(() => undefined)
      .finally(() => (this.#asking = false))
  }

  /** The lease is of no use any more. */
  forget(): void {
    this.#lease = undefined
  }
}

/** As it is written: of ids that only differ by their number, the first one and how many there are. */
type Written = RequestRecord & { readonly numbered?: number }

const numbered = (first: string, index: number): string => (index === 0 ? first : `${first}-${index}`)

/**
 * A bulk call writes its record anew with each of its transactions, and its instances are named by the request and their
 * number: their ids would be a sixth of all that it writes.
 */
function writtenOf(record: RequestRecord): Written {
  const { ids } = record.answer
  const first = ids[0]
  if (ids.length < 2 || first === undefined || ids.some((id, index) => id !== numbered(first, index))) return record
  return { ...record, answer: { ...record.answer, ids: [first] }, numbered: ids.length }
}

export const requestValue = (record: RequestRecord): Uint8Array => json(writtenOf(record))

export const answersValue = (records: readonly RequestRecord[]): Uint8Array =>
  json({ schema: 1, answers: records.map(writtenOf) })

/** Throws `unreadable-value`. */
export function readAnswers(bytes: Uint8Array): RequestRecord[] {
  const value = parseJson(bytes) as { schema?: unknown; answers?: unknown } | undefined
  if (value?.schema !== 1 || !Array.isArray(value.answers) || !value.answers.every(isWritten)) {
    throw new CloudError('unreadable-value', 'the answers kept for a transaction cannot be read')
  }
  return value.answers.map(recordOf)
}

function isWritten(value: unknown): value is Written {
  const { schema, id, fingerprint, answer } = (value ?? {}) as Partial<Written>
  return schema === 1 && typeof id === 'string' && typeof fingerprint === 'string' && Array.isArray(answer?.ids)
}

/** What was written, with all its ids. */
export function recordOf({ numbered: count, ...record }: Written): RequestRecord {
  const first = record.answer?.ids?.[0]
  if (count === undefined || first === undefined) return record
  return { ...record, answer: { ...record.answer, ids: Array.from({ length: count }, (_, i) => numbered(first, i)) } }
}

/** As many transactions are read at once. */
const pageTurns = 200
const heldMax = 200_000

interface Found {
  readonly turn: number
  readonly record: RequestRecord
}

/**
 * The answers of the turns that were read: no turn is written below the last one that was seen, so of many calls that
 * are sent again after one leader's end each reads only what came since. Calls that come while one reading is under way
 * share the next.
 */
class TurnAnswers {
  readonly #found = new Map<string, Found>()
  /** All turns from the first to the last were read. */
  #first = 0
  #last = -1
  #etcd = { cluster: '', revision: 0 }
  #running: Promise<void> | undefined
  #next: { from: number; readonly done: Promise<void> } | undefined

  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {}

  /** The last record with this id in a turn after that one. */
  async find(requestId: string, since: number): Promise<RequestRecord | undefined> {
    await this.#read(since + 1)
    const found = this.#found.get(requestId)
    return found && found.turn > since ? found.record : undefined
  }

  /** A reading that begins from now on. */
  #read(from: number): Promise<void> {
    if (!this.#running) return this.#run(from)
    if (this.#next) this.#next.from = Math.min(this.#next.from, from)
    else {
      const begin = (): Promise<void> => {
        const { from } = this.#next!
        this.#next = undefined
        return this.#run(from)
      }
      this.#next = { from, done: this.#running.then(begin, begin) }
    }
    return this.#next.done
  }

  #run(from: number): Promise<void> {
    const running = this.#pages(from).finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #pages(from: number): Promise<void> {
    if (this.#found.size > heldMax) this.#forget()
    if (from < this.#first || from > this.#last + 1) this.#last = (this.#first = from) - 1
    for (let more = true; more; ) {
      const request = { ...this.keys.answersFrom(this.#last + 1), limit: pageTurns }
      const page = await retryRead(this.clock, readMs, deadlineMs => this.etcd.range(request, deadlineMs))
      if (this.#isAnother(page)) {
        this.#forget()
        this.#last = (this.#first = from) - 1
        continue
      }
      for (const { key, value } of page.items) this.#take(this.keys.turnOf(key), readAnswers(value))
      more = page.more
    }
  }

  #take(turn: number, records: readonly RequestRecord[]): void {
    for (const record of records) {
      const known = this.#found.get(record.id)
      if (!known || known.turn <= turn) this.#found.set(record.id, { turn, record })
    }
    this.#last = turn
  }

  /** Another etcd, or one that was put back to an earlier state, has other turns under the same numbers. */
  #isAnother({ cluster, revision }: { readonly cluster: string; readonly revision: number }): boolean {
    const before = this.#etcd
    this.#etcd = { cluster, revision }
    return before.cluster !== '' && (cluster !== before.cluster || revision < before.revision)
  }

  #forget(): void {
    this.#found.clear()
    this.#first = 0
    this.#last = -1
  }
}

export class EtcdRequests implements Requests {
  readonly #turns: TurnAnswers

  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {
    this.#turns = new TurnAnswers(etcd, keys, clock)
  }

  async read(requestId: string, since?: number): Promise<RequestRecord | undefined> {
    if (since !== undefined) return this.#turns.find(requestId, since)
    const key = this.keys.request(requestId)
    const answer = await retryRead(this.clock, readMs, deadlineMs => this.etcd.range({ key }, deadlineMs))
    const item = answer.items[0]
    if (!item) return undefined
    const value = parseJson(item.value)
    if (!isWritten(value) || value.id !== requestId) {
      throw new CloudError('unreadable-value', `the answer kept for request ${requestId} cannot be read`)
    }
    return recordOf(value)
  }
}
