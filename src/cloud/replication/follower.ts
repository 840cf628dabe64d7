/** Another copy as its primary sees it in one epoch. */
import type { History } from './history.js'
import type { CopyMessage } from './messages.js'

/** A primary waits so long for a copy to which it has no connection, and for one that is silent on it. */
const usualWaits = { unlinkedMaxMs: 300, silentMaxMs: 1_000 }
/** One that was primary gave way because nothing was heard of it: it is given the time to say that it is there. */
const deposedWaits = { unlinkedMaxMs: 0, silentMaxMs: 100 }
/** Messages that may be under way to one copy; what comes meanwhile travels together in the next. */
const unackedMax = 16
const messageBytesMax = 256 * 1024
/** A learner that is so near counts for every change from now on, and is admitted when it has what is committed. */
const nearEntries = 64

export class Follower {
  linked = false
  joined = false
  journal = ''
  /** What it has said to be durable. */
  acked = -1
  /** It has less than it had: a journal that forgot. */
  forgot = false
  #sent = 0
  #greeted = false
  #unacked: number[] = []
  #told = 0
  /** Since when an answer is owed; undefined when none is. */
  #owesSinceMs: number | undefined
  #silent = false
  #beaconSent = 0
  #beaten = 0
  /** A learner without which nothing is acknowledged; from `admitFrom` on it has all that is committed. */
  #admitFrom: number | undefined

  constructor(
    readonly id: string,
    /** In sync by the configuration. */
    readonly inSync: boolean,
    nowMs: number,
    private readonly send: (message: CopyMessage) => void,
    private readonly epoch: number,
    /** It was primary just before. */
    private readonly deposed = false,
  ) {
    this.#owesSinceMs = nowMs
  }

  /** Nothing is acknowledged without it. */
  get required(): boolean {
    return this.inSync || this.#admitFrom !== undefined
  }

  get admissible(): boolean {
    return !this.inSync && this.#admitFrom !== undefined && this.joined && this.acked >= this.#admitFrom
  }

  get beaten(): number {
    return this.joined ? this.#beaten : -1
  }

  link(up: boolean, nowMs: number): void {
    this.linked = up
    this.joined = false
    this.#owesSinceMs ??= nowMs
    if (up) this.send({ k: 'invite', epoch: this.epoch })
  }

  /** Everything after `seq` is to be sent to it. */
  join(seq: number, journal: string, nowMs: number): void {
    this.joined = true
    this.journal = journal
    this.acked = -1
    this.#sent = seq
    this.#greeted = false
    this.#unacked = []
    this.#beaten = 0
    this.#owesSinceMs = nowMs
  }

  /** Sends what it lacks, as far as it may be under way. A learner that lacks what is not held any more begins anew. */
  pump(history: History, committed: number, nowMs: number): void {
    if (!this.joined) return
    if (this.#sent < history.base.seq) {
      const at = history.positionAt(committed) ?? history.base
      this.send({
        k: 'state',
        epoch: this.epoch,
        at: { seq: at.seq, digest: at.digest },
        state: history.stateAt(at.seq),
      })
      this.#sent = at.seq
      this.#owes(at.seq, nowMs)
    }
    while ((this.#sent < history.tail.seq || !this.#greeted) && this.#unacked.length < unackedMax) {
      const { seq, digest } = history.positionAt(this.#sent)!
      const entries = history.after(seq, messageBytesMax)
      this.#sent = seq + entries.length
      const whole = this.#sent === history.tail.seq
      this.send({ k: 'append', epoch: this.epoch, after: { seq, digest }, entries: [...entries], committed, whole })
      this.#greeted = true
      this.#told = committed
      this.#owes(this.#sent, nowMs)
    }
  }

  /** What is committed, should nothing else be sent to it; `now`: though something will be. */
  tell(history: History, committed: number, now = false): void {
    if (!this.joined || this.#told >= committed || (this.#unacked.length > 0 && !now)) return
    const position = history.positionAt(this.#sent)
    if (!position) return
    const { seq, digest } = position
    this.send({ k: 'append', epoch: this.epoch, after: { seq, digest }, entries: [], committed, whole: false })
    this.#told = committed
  }

  ack(seq: number, history: History, committed: number, nowMs: number): void {
    this.acked = Math.max(this.acked, seq)
    this.#unacked = this.#unacked.filter(each => each > seq)
    this.#owesSinceMs = this.#settled ? undefined : nowMs
    if (!this.required && history.tail.seq - this.acked <= nearEntries) this.#admitFrom = committed
  }

  beacon(round: number, nowMs: number): void {
    if (!this.joined) return
    this.send({ k: 'beacon', epoch: this.epoch, round })
    this.#beaconSent = round
    this.#owesSinceMs ??= nowMs
  }

  beat(round: number, nowMs: number): void {
    this.#beaten = Math.max(this.#beaten, round)
    this.#owesSinceMs = this.#settled ? undefined : nowMs
  }

  /** It is to be gone on without. */
  get silent(): boolean {
    return this.forgot || this.#silent
  }

  /** Returns whether that has changed. */
  look(nowMs: number): boolean {
    const before = this.#silent
    const waits = this.deposed && !this.joined ? deposedWaits : usualWaits
    const maxMs = this.linked ? waits.silentMaxMs : waits.unlinkedMaxMs
    this.#silent = this.#owesSinceMs !== undefined && nowMs - this.#owesSinceMs >= maxMs
    return this.#silent !== before
  }

  get #settled(): boolean {
    return this.joined && this.#unacked.length === 0 && this.#beaten >= this.#beaconSent
  }

  #owes(seq: number, nowMs: number): void {
    this.#unacked.push(seq)
    this.#owesSinceMs ??= nowMs
  }
}
