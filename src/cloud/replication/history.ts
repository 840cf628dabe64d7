/**
 * The history of one instance's document as a copy has it: a document at a base, and the changes since, of which the
 * last ones may not be committed yet. The base moves up to what is committed; what is not can be cut off again.
 */
import { createHash } from 'node:crypto'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import {
  beginning,
  change,
  continues,
  type Entry,
  type Json,
  limits,
  type Position,
  readUpdate,
  type Update,
} from './entry.js'

interface Item {
  readonly entry: Entry
  /** Undefined where it is made again when it is asked for. */
  document: Json | undefined
  readonly id: string
  readonly reply: string | undefined
}

/** What was answered to a request that is part of the history. */
export interface Answered {
  readonly seq: number
  /** JSON. */
  readonly reply: string | undefined
}

const SnapshotState = Type.Object({
  document: Type.Unknown(),
  answers: Type.Array(Type.Tuple([Type.String(), Type.Integer(), Type.Union([Type.String(), Type.Null()])])),
})
const snapshotCheck = Compile(SnapshotState)

/** A history that is not one: an entry out of order, with a wrong digest, or that does not fit the document. */
export class BrokenHistory extends Error {}

/**
 * Documents share what did not change, but a list of a hundred thousand is a new list after every change of it. So those
 * of the last few changes are kept, and of the others one of so many: the number that copies compare as well.
 */
const recentDocuments = 16
const documentEvery = 1_024

/** Bytes that an entry costs beside its text. */
const overhead = 96

export class History {
  #base: Position = beginning
  #baseDocument: Json = {}
  #items: Item[] = []
  /** The last one that was made again. */
  #made: { readonly seq: number; readonly document: Json } | undefined
  readonly #answers = new Map<string, Answered>()
  /** Answers to changes up to this one may be forgotten. */
  forgotten = 0
  /** Bytes of the changes that are held. */
  bytes = 0

  /** `state`: as `stateAt` made it. Throws `BrokenHistory`. */
  static from(base: Position, state: string): History {
    const history = new History()
    let value: unknown
    try {
      value = JSON.parse(state)
    } catch {
      throw new BrokenHistory('a state that is not JSON')
    }
    if (!snapshotCheck.Check(value)) throw new BrokenHistory('a state without a document')
    history.#base = base
    history.#baseDocument = value.document as Json
    for (const [id, seq, reply] of value.answers) history.#answers.set(id, { seq, reply: reply ?? undefined })
    // Every change has one.
    history.forgotten = Math.max(0, base.seq - value.answers.length)
    return history
  }

  get base(): Position {
    return this.#base
  }

  get tail(): Position {
    return this.#items.at(-1)?.entry ?? this.#base
  }

  /** With every change, also those that are not committed. */
  get document(): Json {
    return this.documentAt(this.tail.seq)
  }

  get length(): number {
    return this.#items.length
  }

  /** Undefined before the base and after the tail. */
  positionAt(seq: number): Position | undefined {
    if (seq === this.#base.seq) return this.#base
    const entry = this.#itemAt(seq)?.entry
    return entry && { seq: entry.seq, digest: entry.digest }
  }

  /** Null where nothing is held. */
  documentAt(seq: number): Json {
    if (seq === this.#base.seq) return this.#baseDocument
    const item = this.#itemAt(seq)
    if (!item) return null
    if (item.document !== undefined) return item.document
    const document = this.#madeAgain(seq)
    this.#made = { seq, document }
    return document
  }

  /** How many documents are kept. */
  get documents(): number {
    return this.#items.reduce((count, { document }) => count + (document === undefined ? 0 : 1), 1)
  }

  /** From the nearest one before that is kept. */
  #madeAgain(seq: number): Json {
    let [at, document] = [this.#base.seq, this.#baseDocument]
    for (let before = seq; before > at; before--) {
      const kept = this.#made?.seq === before ? this.#made.document : this.#itemAt(before)?.document
      if (kept !== undefined) [at, document] = [before, kept]
    }
    for (let next = at + 1; next <= seq; next++) document = change(document, readUpdate(this.#itemAt(next)!.entry.body))
    return document
  }

  /** Those after `seq`, as many as `bytesMax` holds, at least one if there is one. */
  after(seq: number, bytesMax: number): readonly Entry[] {
    const from = seq - this.#base.seq
    let bytes = 0
    let to = from
    while (to < this.#items.length && (to === from || bytes < bytesMax)) {
      bytes += this.#items[to++]!.entry.body.length + overhead
    }
    return this.#items.slice(from, to).map(each => each.entry)
  }

  replyAt(seq: number): string | undefined {
    return this.#itemAt(seq)?.reply
  }

  answered(id: string): Answered | undefined {
    return this.#answers.get(id)
  }

  /**
   * Throws `BrokenHistory` and is as it was when the entry is not what comes next. `made`: of an entry that was just made
   * to follow, what is known of it.
   */
  append(entry: Entry, made?: { readonly update: Update; readonly document: Json }): void {
    if (!made && !continues(this.tail, entry)) {
      throw new BrokenHistory(`entry ${entry.seq} does not follow ${this.tail.seq}`)
    }
    try {
      const update = made?.update ?? readUpdate(entry.body)
      const document = made ? made.document : change(this.document, update)
      this.#items.push({ entry, document, id: update.id, reply: update.reply })
      this.#answers.set(update.id, { seq: entry.seq, reply: update.reply })
      this.bytes += entry.body.length + overhead
      const old = this.#items.at(-1 - recentDocuments)
      if (old && old.entry.seq % documentEvery !== 0) old.document = undefined
    } catch (error) {
      throw new BrokenHistory(`entry ${entry.seq}: ${(error as Error).message}`)
    }
  }

  /** Everything after `seq` is as if it had never been. */
  cut(seq: number): void {
    for (const { entry, id } of this.#items.splice(Math.max(0, seq - this.#base.seq))) {
      this.#answers.delete(id)
      this.bytes -= entry.body.length + overhead
    }
    if (this.#made && this.#made.seq > seq) this.#made = undefined
  }

  /** The base moves up to `seq`, which must be committed; answers older than the window go. */
  settle(seq: number): void {
    const item = this.#itemAt(seq)
    if (!item) return
    const document = this.documentAt(seq)
    for (const { entry } of this.#items.splice(0, seq - this.#base.seq)) this.bytes -= entry.body.length + overhead
    this.#base = { seq, digest: item.entry.digest }
    this.#baseDocument = document
    if (this.#made && this.#made.seq <= seq) this.#made = undefined
  }

  /** Answers that are older than the window before `committed` are forgotten, at every copy the same. */
  forget(committed: number): void {
    for (const [id, { seq }] of this.#answers) {
      if (seq > committed - limits.replies) return
      this.#answers.delete(id)
      this.forgotten = seq
    }
  }

  /** The document and the remembered answers at a position that is held, as text. */
  stateAt(seq: number): string {
    const answers = [...this.#answers]
      .filter(([, each]) => each.seq <= seq && each.seq > seq - limits.replies)
      .map(([id, each]) => [id, each.seq, each.reply ?? null])
    return JSON.stringify({ document: this.documentAt(seq), answers })
  }

  #itemAt(seq: number): Item | undefined {
    return this.#items[seq - this.#base.seq - 1]
  }
}

/** The same for equal documents, whatever the order of their fields (rule 14). */
export const documentDigest = (document: Json): string =>
  createHash('sha256').update(canonical(document)).digest('base64url').slice(0, 22)

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join(',')}}`
}
