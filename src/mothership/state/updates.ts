/**
 * Changes that the code of one instance makes: its function is run on a draft, what it changed goes to the primary as
 * patches, and where another change came first it is run again on the document as it is then. Changes follow each other
 * without waiting: each is made on what the ones before it will have made of the document, if they are accepted.
 */
import { enablePatches, type Patch, produceWithPatches, setAutoFreeze } from 'immer'
import { CloudError } from '../../cloud/errors.js'
import { type Base, change, entryAfter, type Json, type Position, readUpdate } from '../../cloud/replication/entry.js'
import type { Proposed } from '../../cloud/replication/outcomes.js'
import type { Unknown } from './keeper.js'

enablePatches()
setAutoFreeze(false)

export interface UpdatesPorts {
  propose(base: Base, body: string, withinMs: number): Promise<Proposed | Unknown>
  nowMs(): number
}

export interface Updated {
  readonly epoch: number
  readonly seq: number
  /** What the function returned, as JSON has it; of a change that was made before under the same id: what it returned then. */
  readonly reply: unknown
}

interface Known {
  readonly epoch: number
  readonly at: Position
  readonly document: Json
}

/** Nothing is made on this: the answer tells on what. */
const unknownBase: Base = { digest: '?', earliest: Number.MAX_SAFE_INTEGER }

export class Updates {
  /** The document as it will be when everything that is under way is accepted. */
  #known: Known | undefined
  /** Raised whenever that turned out to be wrong. */
  #generation = 0

  constructor(private readonly ports: UpdatesPorts) {}

  /**
   * `make` changes the draft and returns what is to be answered (JSON); it may be run several times, so it does nothing
   * else. Throws `bad-request` when the change is none or too large, `busy` when it was not made, `timeout` when it is
   * not known whether it was: the same id again tells.
   */
  async update(id: string, make: (draft: Json) => unknown, withinMs: number): Promise<Updated> {
    const untilMs = this.ports.nowMs() + withinMs
    /** After this an attempt at it may have been made. */
    let earliest: number | undefined
    for (;;) {
      const known = this.#known
      const generation = this.#generation
      const body = known ? this.#make(id, make, known) : JSON.stringify({ id, patches: [] })
      const leftMs = Math.max(1, untilMs - this.ports.nowMs())
      if (known) earliest = Math.min(earliest ?? known.at.seq, known.at.seq)
      const base = known ? { digest: known.at.digest, earliest: earliest! } : unknownBase
      const outcome = await this.ports.propose(base, body, leftMs)
      if (outcome.kind === 'committed') {
        const { epoch, seq, reply } = outcome
        return { epoch, seq, reply: reply === undefined ? undefined : JSON.parse(reply) }
      }
      // Refused by the only one who was asked, it was not made.
      if (outcome.kind === 'conflict' && !outcome.again) earliest = undefined
      if (outcome.kind === 'conflict') this.#learn(generation, outcome)
      else this.#learn(generation, undefined)
      if (outcome.kind === 'refused') throw new CloudError(outcome.code, outcome.reason)
      if (outcome.kind === 'conflict' && this.ports.nowMs() >= untilMs) {
        throw new CloudError('busy', `other changes came first for ${withinMs} ms`)
      }
      if (outcome.kind === 'unknown') throw new CloudError('timeout', outcome.reason)
    }
  }

  #make(id: string, make: (draft: Json) => unknown, { at, epoch, document }: Known): string {
    let reply: unknown
    const [, patches] = produceWithPatches(document as object, draft => {
      reply = make(draft as Json)
      if (reply instanceof Promise)
        throw new CloudError('bad-request', 'a change is made at once: it may not be a promise')
    }) as unknown as [object, Patch[]]
    const body = bodyOf(id, patches, reply)
    const next = change(document, readUpdate(body))
    const { seq, digest } = entryAfter(at, epoch, body)
    this.#known = { epoch, at: { seq, digest }, document: next }
    return body
  }

  /** Of several that were under way, the first one tells. */
  #learn(generation: number, known: Known | undefined): void {
    if (generation !== this.#generation) return
    this.#generation++
    this.#known = known && { epoch: known.epoch, at: known.at, document: known.document }
  }
}

function bodyOf(id: string, patches: readonly Patch[], reply: unknown): string {
  try {
    const text = reply === undefined ? undefined : JSON.stringify(reply)
    return JSON.stringify({ id, patches, ...(text === undefined ? {} : { reply: text }) })
  } catch (error) {
    throw new CloudError('bad-request', `state is JSON: ${(error as Error).message}`)
  }
}
