/**
 * Tickets by the key in the map. A ticket is good for a day and is made for a quarter of a day at a time: within that
 * bucket every replica signs the very same one (Ed25519 is deterministic), so wanted states do not change for its sake.
 */
import type { NodeRef } from '../cloud/ids.js'
import { nodeName } from '../cloud/ids.js'
import type { CloudMap } from '../cloud/map.js'
import { signTicket } from '../protocol/ticket.js'

const bucketMs = 6 * 3_600_000
const validMs = 24 * 3_600_000
const cacheMax = 100_000

export class TicketOffice {
  /** What the signed ones rest on: another bucket, key or era and they are signed anew. */
  #basis = ''
  readonly #signed = new Map<string, string>()

  constructor(
    private readonly map: CloudMap,
    private readonly wallMs: () => number,
  ) {}

  /** The empty text, which nobody accepts, before the first leader has made a key. */
  readonly issue = (who: NodeRef, toWhom: NodeRef): string => {
    const key = this.map.get('keys')?.value.keys[0]
    if (!key) return ''
    const bucket = Math.floor(this.wallMs() / bucketMs)
    const basis = `${bucket} ${key.id} ${this.map.order.era}`
    if (basis !== this.#basis || this.#signed.size > cacheMax) this.#signed.clear()
    this.#basis = basis
    const name = `${nodeName(who)} ${nodeName(toWhom)}`
    let ticket = this.#signed.get(name)
    if (ticket === undefined) this.#signed.set(name, (ticket = this.#sign(key, who, toWhom, bucket)))
    return ticket
  }

  #sign(key: { id: string; privateKey: string }, who: NodeRef, toWhom: NodeRef, bucket: number): string {
    const notBefore = bucket * bucketMs
    return signTicket(key, {
      who: nodeName(who),
      toWhom: nodeName(toWhom),
      era: this.map.order.era,
      notBefore,
      expires: notBefore + bucketMs + validMs,
    })
  }
}
