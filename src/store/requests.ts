/** `request/{id}`: answers already given, on leases of ten minutes that the requests of a minute share. */
import { CloudError } from '../cloud/errors.js'
import type { Clock, RequestRecord, Requests } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import { callMs, retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { json, parseJson } from './values.js'

const keptS = 660
const bucketMs = 60_000

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
export function requestValue(record: RequestRecord): Uint8Array {
  const { ids } = record.answer
  const first = ids[0]
  if (ids.length < 2 || first === undefined || ids.some((id, index) => id !== numbered(first, index)))
    return json(record)
  const written: Written = { ...record, answer: { ...record.answer, ids: [first] }, numbered: ids.length }
  return json(written)
}

/** What was written, with all its ids. */
export function recordOf({ numbered: count, ...record }: Written): RequestRecord {
  const first = record.answer?.ids?.[0]
  if (count === undefined || first === undefined) return record
  return { ...record, answer: { ...record.answer, ids: Array.from({ length: count }, (_, i) => numbered(first, i)) } }
}

export class EtcdRequests implements Requests {
  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {}

  async read(requestId: string): Promise<RequestRecord | undefined> {
    const key = this.keys.request(requestId)
    const answer = await retryRead(this.clock, 2_000, deadlineMs => this.etcd.range({ key }, deadlineMs))
    const item = answer.items[0]
    if (!item) return undefined
    const value = parseJson(item.value) as Written | undefined
    if (value?.schema !== 1 || value.id !== requestId || typeof value.fingerprint !== 'string') {
      throw new CloudError('unreadable-value', `the answer kept for request ${requestId} cannot be read`)
    }
    return recordOf(value)
  }
}
