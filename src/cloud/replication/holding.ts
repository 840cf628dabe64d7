/** What a copy has: its history, how much of it is durable here, and how much is known to be committed. */
import { type Json, limits, type Position } from './entry.js'
import { BrokenHistory, documentDigest, History } from './history.js'
import type { JournalRecord } from './messages.js'

/** What was found on the disk, or the beginning. */
export interface Recovered {
  /** Which journal it is: made anew with every one that is begun. */
  readonly journal: string
  /** The highest epoch that it was part of; 0: of none. */
  readonly epoch: number
  readonly history: History
  readonly committed: number
}

/** Makes the records durable. `done` comes when all of them and all before are, in order; or never. */
export type WriteJournal = (records: readonly JournalRecord[], done: () => void) => void

/** Bytes of changes that are held at most, and that may wait to be committed. */
const historyBytesMax = 16 * 1024 * 1024
const waitingBytesMax = 8 * 1024 * 1024
/** Writing it as a whole takes as long as some hundred changes: it is done after some thousand. */
const journalBytesMin = 1024 * 1024
const recordOverhead = 128
/** Every so many changes the copies compare what has become of the document (rule 14). */
const checkEvery = 1024

export interface Check {
  readonly seq: number
  readonly digest: string
}

export class Holding {
  history: History
  epoch: number
  committed: number
  /** The last change that is in its own journal. */
  durable: number
  /** Since the journal was last written as a whole, and what that came to. */
  #journalBytes = 0
  #wholeBytes = 0
  #lastDocumentBytes = limits.document as number
  #changedSince = 0

  constructor(
    recovered: Recovered,
    private readonly journal: WriteJournal,
  ) {
    this.history = recovered.history
    this.epoch = recovered.epoch
    this.committed = recovered.committed
    this.durable = recovered.history.tail.seq
  }

  /** The last position that is known to be committed. */
  get position(): Position {
    return this.history.positionAt(this.committed) ?? this.history.base
  }

  get document(): Json {
    return this.history.documentAt(this.committed)
  }

  /** Whether too much is held or waits: no further change is taken then. */
  get isFull(): boolean {
    const waiting = this.history.tail.seq === this.committed ? 0 : this.history.bytes
    return this.history.bytes > historyBytesMax || waiting > waitingBytesMax
  }

  write(records: readonly JournalRecord[], bytes: number, done: () => void): void {
    this.#journalBytes += bytes + recordOverhead * records.length
    this.journal(records, done)
  }

  /** Everything after `seq` goes. Throws `BrokenHistory` when some of it is committed. */
  cut(seq: number, records: JournalRecord[]): void {
    if (seq < this.committed) throw new BrokenHistory(`the primary would undo what is committed at ${this.committed}`)
    this.history.cut(seq)
    this.durable = Math.min(this.durable, seq)
    records.push({ k: 'cut', seq })
  }

  /** Begins anew with a state that another copy sent. */
  replace(at: Position, state: string, done: () => void): void {
    const history = History.from(at, state)
    this.history = history
    this.committed = at.seq
    this.durable = 0
    this.#journalBytes = 0
    this.#wholeBytes = state.length
    this.journal([{ k: 'whole', epoch: this.epoch, at, state, committed: at.seq, entries: [] }], () => {
      if (this.history !== history) return
      this.durable = Math.max(this.durable, at.seq)
      done()
    })
  }

  /** Bytes of a document as JSON: an upper bound, counted when that says nothing. */
  sizeOf(document: Json, changed: number): number {
    this.#changedSince += changed
    if (this.#lastDocumentBytes + this.#changedSince <= limits.document) {
      return this.#lastDocumentBytes + this.#changedSince
    }
    this.#lastDocumentBytes = Buffer.byteLength(JSON.stringify(document))
    this.#changedSince = 0
    return this.#lastDocumentBytes
  }

  /** What is to be compared now that more is committed than `before`. */
  checkpoint(before: number): number | undefined {
    const seq = Math.floor(this.committed / checkEvery) * checkEvery
    return seq > before && this.history.positionAt(seq) ? seq : undefined
  }

  digestAt(seq: number): string {
    return documentDigest(this.history.documentAt(seq))
  }

  /** Throws `BrokenHistory` when another copy's document is not the same. */
  compare({ seq, digest }: Check): void {
    if (seq > this.committed || this.history.positionAt(seq) === undefined) return
    if (this.digestAt(seq) !== digest) throw new BrokenHistory(`the document differs from the primary's at ${seq}`)
  }

  /**
   * What is committed need not be kept change by change, but for copies that are a little behind (`behind`: what they
   * have). The journal is written as a whole when it has grown to twice that.
   */
  settle(behind: readonly number[]): void {
    const { history } = this
    history.forget(this.committed)
    const limit = Math.max(journalBytesMin, 2 * this.#wholeBytes)
    const large = history.bytes > historyBytesMax / 2
    if (this.#journalBytes < limit && !large) return
    history.settle(large ? this.committed : Math.max(history.base.seq, Math.min(this.committed, ...behind)))
    const { base } = history
    const entries = history.after(base.seq, Number.MAX_SAFE_INTEGER)
    const state = history.stateAt(base.seq)
    this.#journalBytes = history.bytes
    this.#wholeBytes = state.length
    const { epoch, committed } = this
    this.journal([{ k: 'whole', epoch, at: base, state, committed, entries }], () => undefined)
  }
}
