/**
 * One copy of an instance's document: primary, backup or learner as the configuration says (reliability.md, section 3;
 * primary/backup after Vertical Paxos: the configuration is agreed on elsewhere, here every copy in sync must have a
 * change before it counts). Deterministic: time comes as an argument, network and disk are ports, nothing waits.
 *
 * Within one epoch only one process ever speaks as the primary: one that was started again asks for a new epoch first.
 */
import { CloudError } from '../errors.js'
import type { CopyReport } from '../records.js'
import type { Configuration } from './configuration.js'
import { change, type Entry, entryAfter, type Json, limits, readUpdate } from './entry.js'
import { Follower } from './follower.js'
import { type Answered, BrokenHistory, documentDigest, History } from './history.js'
import type { CopyMessage, JournalRecord } from './messages.js'

export interface CopyPorts {
  /** Over the one connection with that mothership, in order; what cannot be sent is lost. */
  send(to: string, message: CopyMessage): void
  /** Makes the records durable. `done` comes when all of them and all before are, in order; or never. */
  write(records: readonly JournalRecord[], done: () => void): void
  /** The report, or whether this copy serves, may have changed. */
  changed(): void
}

/** What was found on the disk, or the beginning. */
export interface Recovered {
  readonly journal: string
  /** The highest epoch that it was part of; 0: of none. */
  readonly epoch: number
  readonly history: History
  readonly committed: number
}

export type Proposed =
  | { readonly kind: 'committed'; readonly epoch: number; readonly seq: number; readonly reply: string | undefined }
  /** Not made on the document as it is: on which it is to be made again. */
  | { readonly kind: 'conflict'; readonly seq: number; readonly document: Json }
  | { readonly kind: 'refused'; readonly code: 'bad-request' | 'busy' | 'conflict'; readonly reason: string }
  /** Ask the primary, under the same id: this copy is none, or none any more. */
  | { readonly kind: 'elsewhere' }

export type Readable =
  | { readonly kind: 'readable'; readonly epoch: number; readonly seq: number }
  | { readonly kind: 'elsewhere' }

interface Leading {
  readonly followers: ReadonlyMap<string, Follower>
  /** What was prepared before: when that is committed in this epoch, everything committed earlier is known to be. */
  readonly openAt: number
  open: boolean
  /** Rounds of beacons: begun, and answered by all. */
  round: number
  heard: number
}

const historyBytesMax = 16 * 1024 * 1024
const waitingBytesMax = 8 * 1024 * 1024
const journalBytesMin = 256 * 1024
const checkEvery = 1024

export class Copy {
  #history: History
  #epoch: number
  #committed: number
  /** Of its own journal. */
  #durable: number
  #configuration: Configuration | undefined
  /** The epoch is durable here: messages of it are heard and sent. */
  #entered = false
  /** It said something in this epoch before it was started again. */
  #again = false
  #leading: Leading | undefined
  /** As a backup or learner: heard from the primary in this epoch. */
  #joined = false
  #trouble: string | undefined
  #served = false
  /** Since it was last written as a whole, and what that came to. */
  #journalBytes = 0
  #wholeBytes = 0
  #enteredAt = 0
  #check: { readonly seq: number; readonly digest: string } | undefined
  readonly #proposals = new Map<number, ((outcome: Proposed) => void)[]>()
  #readers: { readonly round: number; readonly settle: (outcome: Readable) => void }[] = []
  readonly #links = new Set<string>()
  readonly #spokenBefore: number

  constructor(
    readonly self: string,
    private readonly recovered: Recovered,
    private readonly ports: CopyPorts,
  ) {
    this.#history = recovered.history
    this.#epoch = recovered.epoch
    this.#spokenBefore = recovered.epoch
    this.#committed = recovered.committed
    this.#durable = recovered.history.tail.seq
  }

  get epoch(): number {
    return this.#epoch
  }

  get committed(): number {
    return this.#committed
  }

  get tail(): number {
    return this.#history.tail.seq
  }

  get document(): Json {
    return this.#history.documentAt(this.#committed)
  }

  get configuration(): Configuration | undefined {
    return this.#configuration
  }

  get trouble(): string | undefined {
    return this.#trouble
  }

  get role(): 'primary' | 'backup' | 'learner' | 'none' {
    const configuration = this.#configuration
    if (!configuration) return 'none'
    if (configuration.primary === this.self) return 'primary'
    if (configuration.inSync.includes(this.self)) return 'backup'
    return configuration.learners.includes(this.self) ? 'learner' : 'none'
  }

  /** Whether pages may be asked of it: it has been in sync, and nothing says that it is not any more. */
  get serves(): boolean {
    return this.#served && this.#trouble === undefined && (this.role === 'primary' || this.role === 'backup')
  }

  /** Undefined before a configuration is known. */
  report(): CopyReport | undefined {
    const configuration = this.#configuration
    if (!configuration) return undefined
    const { journal } = this.recovered
    const base = { journal, seq: this.#enteredAt }
    const wants = this.#wants(configuration)
    if (wants !== undefined) return { ...base, wants }
    const followers = [...(this.#leading?.followers.values() ?? [])]
    const drop = followers.filter(each => each.required && each.silent).map(each => each.id)
    const ready = followers.filter(each => each.admissible && !each.silent)
    return {
      ...base,
      ...(drop.length > 0 ? { drop } : {}),
      ...(ready.length > 0 ? { admit: Object.fromEntries(ready.map(each => [each.id, each.journal])) } : {}),
    }
  }

  /** As read back from etcd. An older one than the highest that was seen is passed over. */
  adopt(configuration: Configuration, nowMs: number): void {
    const { epoch } = configuration
    if (epoch < this.#epoch || epoch === this.#configuration?.epoch) return
    const again = epoch === this.#spokenBefore
    this.#configuration = configuration
    this.#entered = false
    this.#leading = undefined
    this.#joined = false
    this.#epoch = epoch
    this.#again = again
    this.#enteredAt = this.#history.tail.seq
    if (this.role !== 'primary') this.#deposed()
    const enter = (): void => {
      if (this.#configuration !== configuration) return
      this.#entered = true
      this.#enter(configuration, nowMs)
      this.ports.changed()
    }
    if (again) enter()
    else this.ports.write([{ k: 'epoch', epoch }], enter)
    this.ports.changed()
  }

  link(mothership: string, up: boolean, nowMs: number): void {
    if (up) this.#links.add(mothership)
    else this.#links.delete(mothership)
    if (!this.#entered) return
    if (this.#leading) this.#leading.followers.get(mothership)?.link(up, nowMs)
    else if (mothership === this.#configuration?.primary) {
      this.#joined = false
      if (up) this.#join(false)
    }
  }

  /** A few times a second. */
  tick(nowMs: number): void {
    if (!this.#leading) return
    let changed = false
    for (const follower of this.#leading.followers.values()) {
      follower.tell(this.#history, this.#committed)
      changed = follower.look(nowMs) || changed
    }
    if (changed) this.ports.changed()
  }

  /**
   * A change that was made on the document at `base`, under an id: asked again, it answers what it answered first.
   * `settle` is called once, at once or later, unless the process ends before.
   */
  propose(base: number, body: string, nowMs: number, settle: (outcome: Proposed) => void): void {
    const configuration = this.#configuration
    if (!this.#leading || !configuration) return settle({ kind: 'elsewhere' })
    let id: string
    try {
      id = readUpdate(body).id
    } catch (error) {
      return settle(refusalOf(error))
    }
    const answered = this.#history.answered(id)
    if (answered) return this.#whenCommitted(answered, settle)
    if (configuration.inSync.length < configuration.inSyncMin) {
      const { length } = configuration.inSync
      return settle(refused('busy', `${length} copies are in sync, changes need ${configuration.inSyncMin}`))
    }
    const { tail, document } = this.#history
    if (base !== tail.seq) return settle({ kind: 'conflict', seq: tail.seq, document })
    if (this.#history.bytes > historyBytesMax || this.#waitingBytes > waitingBytesMax) {
      return settle(refused('busy', 'too many changes wait for the other copies'))
    }
    this.#prepare(configuration, body, nowMs, settle)
  }

  /** Settles when everything that was committed before the call is known here: linearizable (rule 8, no clock). */
  read(nowMs: number, settle: (outcome: Readable) => void): void {
    if (!this.#leading) return settle({ kind: 'elsewhere' })
    this.#readers.push({ round: this.#leading.round + 1, settle })
    this.#beacons(this.#leading, nowMs)
  }

  on(from: string, message: CopyMessage, nowMs: number): void {
    if (!this.#entered || message.epoch !== this.#epoch || this.#trouble !== undefined) return
    try {
      if (this.#leading) this.#onAsPrimary(this.#leading, from, message, nowMs)
      else if (from === this.#configuration?.primary) this.#onAsFollower(message)
    } catch (error) {
      if (!(error instanceof BrokenHistory)) throw error
      this.#fail(error.message)
    }
  }

  /** The disk failed, or what is on it cannot be trusted: this copy answers for nothing any more. */
  fail(reason: string): void {
    this.#fail(reason)
  }

  /* ---------- entering an epoch ---------- */

  #enter(configuration: Configuration, nowMs: number): void {
    const role = this.role
    if (role !== 'primary') {
      this.#leading = undefined
      if (this.#links.has(configuration.primary)) this.#join(false)
      return
    }
    if (this.#wants(configuration) !== undefined) return
    const others = [...configuration.inSync, ...configuration.learners].filter(id => id !== this.self)
    const followers = new Map(
      others.map(id => {
        const inSync = configuration.inSync.includes(id)
        return [id, new Follower(id, inSync, nowMs, message => this.ports.send(id, message), this.#epoch)]
      }),
    )
    this.#sizes = new Sizes()
    this.#leading = { followers, openAt: this.#history.tail.seq, open: false, round: 0, heard: 0 }
    this.#readers = this.#readers.map(({ settle }) => ({ round: 1, settle }))
    for (const id of this.#links) followers.get(id)?.link(true, nowMs)
    this.#advance(this.#leading, nowMs)
    this.#beacons(this.#leading, nowMs)
  }

  #wants({ journals, inSync, learners, primary }: Configuration): CopyReport['wants'] {
    if (this.#trouble !== undefined) return 'lost'
    const registered = journals[this.self]
    const primaryHere = primary === this.self
    if (registered === undefined && primaryHere) return 'register'
    if (inSync.includes(this.self) && registered !== this.recovered.journal) return 'lost'
    return primaryHere && this.#again && inSync.length + learners.length > 1 ? 'renew' : undefined
  }

  /** Whoever waits here is told to ask the new primary, under the same id. */
  #deposed(): void {
    const proposals = [...this.#proposals.values()].flat()
    this.#proposals.clear()
    for (const settle of proposals) settle({ kind: 'elsewhere' })
    const readers = this.#readers
    this.#readers = []
    for (const { settle } of readers) settle({ kind: 'elsewhere' })
  }

  #fail(reason: string): void {
    if (this.#trouble !== undefined) return
    this.#trouble = reason
    this.#leading = undefined
    this.#deposed()
    this.ports.changed()
  }

  /* ---------- as the primary ---------- */

  #prepare(configuration: Configuration, body: string, nowMs: number, settle: (outcome: Proposed) => void): void {
    let entry: Entry
    try {
      const document = change(this.#history.document, readUpdate(body))
      const bytes = this.#sizes.of(document, body.length)
      if (bytes > limits.document) {
        return settle(refused('bad-request', `the document would have ${bytes} bytes, it may have ${limits.document}`))
      }
      entry = entryAfter(this.#history.tail, configuration.epoch, body)
      this.#history.append(entry, document)
    } catch (error) {
      return settle(refusalOf(error))
    }
    const { seq } = entry
    this.#proposals.set(seq, [settle])
    this.#write([{ k: 'entry', entry }], body.length, () => {
      this.#durable = Math.max(this.#durable, seq)
      if (this.#leading) this.#advance(this.#leading, nowMs)
    })
    for (const follower of this.#leading?.followers.values() ?? []) {
      follower.pump(this.#history, this.#committed, nowMs)
    }
  }

  #whenCommitted({ seq, reply }: Answered, settle: (outcome: Proposed) => void): void {
    if (seq <= this.#committed) return settle({ kind: 'committed', epoch: this.#epoch, seq, reply })
    const waiting = this.#proposals.get(seq)
    if (waiting) waiting.push(settle)
    else this.#proposals.set(seq, [settle])
  }

  #onAsPrimary(leading: Leading, from: string, message: CopyMessage, nowMs: number): void {
    const follower = leading.followers.get(from)
    if (!follower) return
    if (message.k === 'join') this.#onJoin(follower, message, nowMs)
    else if (!follower.joined) return
    else if (message.k === 'ack') {
      const was = follower.admissible
      follower.ack(message.seq, this.#history, this.#committed, nowMs)
      this.#advance(leading, nowMs)
      follower.pump(this.#history, this.#committed, nowMs)
      if (follower.admissible !== was) this.ports.changed()
    } else if (message.k === 'beaten') {
      follower.beat(message.round, nowMs)
      this.#beacons(leading, nowMs)
    }
  }

  #onJoin(follower: Follower, join: CopyMessage & { k: 'join' }, nowMs: number): void {
    const { committed, tail, journal } = join
    const history = this.#history
    const here = history.positionAt(committed.seq)
    const agrees = here !== undefined && here.digest === committed.digest
    if (follower.inSync) {
      // It will say itself that it has lost its journal.
      if (journal !== this.#configuration?.journals[follower.id]) return
      if (committed.seq > history.tail.seq) return this.#fail('another copy has changes that this one has lost')
      if (tail < this.#committed || (here && !agrees)) {
        follower.forgot = true
        return this.ports.changed()
      }
      follower.join(Math.max(committed.seq, history.base.seq), journal, nowMs)
    } else follower.join(agrees && !join.anew ? committed.seq : -1, journal, nowMs)
    follower.pump(history, this.#committed, nowMs)
    if (this.#leading && this.#leading.round > this.#leading.heard) follower.beacon(this.#leading.round, nowMs)
  }

  /** Commits what every copy that counts has, its own included (rule 4). */
  #advance(leading: Leading, nowMs: number): void {
    let everywhere = this.#durable
    for (const follower of leading.followers.values()) {
      if (follower.required) everywhere = Math.min(everywhere, follower.joined ? follower.acked : -1)
    }
    if (everywhere >= leading.openAt && !leading.open) {
      leading.open = true
      this.#served = true
      this.ports.changed()
    }
    if (everywhere > this.#committed) this.#commit(everywhere)
    if (leading.open) this.#beacons(leading, nowMs)
  }

  #commit(seq: number): void {
    const before = this.#committed
    this.#committed = seq
    this.#compare(before)
    const due: [settle: (outcome: Proposed) => void, outcome: Proposed][] = []
    for (const [at, settles] of this.#proposals) {
      if (at > seq) continue
      const outcome: Proposed = { kind: 'committed', epoch: this.#epoch, seq: at, reply: this.#history.replyAt(at) }
      for (const settle of settles) due.push([settle, outcome])
      this.#proposals.delete(at)
    }
    this.#settle()
    for (const [settle, outcome] of due) settle(outcome)
  }

  /** Readers of a round that all copies answered go on; those who came meanwhile wait for the next. */
  #beacons(leading: Leading, nowMs: number): void {
    const required = [...leading.followers.values()].filter(each => each.required)
    leading.heard = Math.min(leading.round, ...required.map(each => each.beaten))
    if (leading.open) {
      const ready = this.#readers.filter(({ round }) => required.length === 0 || round <= leading.heard)
      if (ready.length > 0) this.#readers = this.#readers.filter(each => !ready.includes(each))
      for (const { settle } of ready) settle({ kind: 'readable', epoch: this.#epoch, seq: this.#committed })
    }
    if (this.#readers.length === 0 || leading.round > leading.heard) return
    if (!this.#readers.some(({ round }) => round > leading.round)) return
    leading.round++
    for (const follower of required) follower.beacon(leading.round, nowMs)
  }

  /* ---------- as a backup or learner ---------- */

  #join(anew: boolean): void {
    const { primary } = this.#configuration!
    const committed = this.#history.positionAt(this.#committed) ?? this.#history.base
    this.ports.send(primary, {
      k: 'join',
      epoch: this.#epoch,
      journal: this.recovered.journal,
      committed: { seq: committed.seq, digest: committed.digest },
      tail: this.#history.tail.seq,
      ...(anew ? { anew } : {}),
    })
  }

  #onAsFollower(message: CopyMessage): void {
    switch (message.k) {
      case 'invite':
        return this.#join(false)
      case 'append':
        return this.#onAppend(message)
      case 'state':
        return this.#onState(message)
      case 'beacon':
        return this.ports.send(this.#configuration!.primary, { k: 'beaten', epoch: this.#epoch, round: message.round })
      case 'check':
        this.#check = message
        return this.#compareWith(message)
      default:
        return
    }
  }

  /** What it has and the primary has not goes; what it has not comes; when that is durable it says so (rule 3). */
  #onAppend({ after, entries, committed, whole }: CopyMessage & { k: 'append' }): void {
    const history = this.#history
    // Something between was lost on the way.
    if (after.seq > history.tail.seq) return this.#join(false)
    const here = history.positionAt(after.seq)
    if (here?.digest !== after.digest) {
      if (this.role === 'learner') return this.#join(true)
      throw new BrokenHistory(`the history differs from the primary's at ${after.seq}`)
    }
    const records: JournalRecord[] = []
    let bytes = 0
    for (const entry of entries) {
      const own = history.positionAt(entry.seq)
      if (own?.digest === entry.digest) continue
      if (entry.seq <= history.tail.seq) this.#cut(entry.seq - 1, records)
      history.append(entry)
      records.push({ k: 'entry', entry })
      bytes += entry.body.length
    }
    const last = after.seq + entries.length
    if (whole && history.tail.seq > last) this.#cut(last, records)
    const epoch = this.#epoch
    const { primary } = this.#configuration!
    this.#write(records, bytes, () => {
      this.#durable = Math.max(this.#durable, Math.min(last, history.tail.seq))
      if (this.#epoch === epoch && this.#trouble === undefined) this.ports.send(primary, { k: 'ack', epoch, seq: last })
    })
    if (!this.#joined) {
      this.#joined = true
      this.#served ||= this.role === 'backup'
      this.ports.changed()
    }
    this.#learnCommitted(Math.min(committed, last))
  }

  #cut(seq: number, records: JournalRecord[]): void {
    if (seq < this.#committed) throw new BrokenHistory(`the primary would undo what is committed at ${this.#committed}`)
    this.#history.cut(seq)
    this.#durable = Math.min(this.#durable, seq)
    records.push({ k: 'cut', seq })
  }

  #onState({ at, state }: CopyMessage & { k: 'state' }): void {
    if (this.role !== 'learner') throw new BrokenHistory('a copy in sync is to begin anew')
    const history = History.from(at, state)
    this.#history = history
    this.#committed = at.seq
    this.#durable = 0
    this.#check = undefined
    const epoch = this.#epoch
    const { primary } = this.#configuration!
    this.#journalBytes = 0
    this.#wholeBytes = state.length
    this.ports.write([{ k: 'whole', epoch, at, state, committed: at.seq, entries: [] }], () => {
      if (this.#history !== history) return
      this.#durable = Math.max(this.#durable, at.seq)
      if (this.#epoch === epoch && this.#trouble === undefined) {
        this.ports.send(primary, { k: 'ack', epoch, seq: at.seq })
      }
    })
  }

  #learnCommitted(seq: number): void {
    if (seq <= this.#committed) return
    const before = this.#committed
    this.#committed = seq
    this.#compare(before)
    this.#settle()
  }

  /* ---------- for all roles ---------- */

  #sizes = new Sizes()

  get #waitingBytes(): number {
    return this.#history.tail.seq === this.#committed ? 0 : this.#history.bytes
  }

  #write(records: readonly JournalRecord[], bytes: number, done: () => void): void {
    this.#journalBytes += bytes + 128 * records.length
    this.ports.write(records, done)
  }

  /** Every so many changes the copies compare what has become of the document (rule 14). */
  #compare(before: number): void {
    const seq = Math.floor(this.#committed / checkEvery) * checkEvery
    if (seq <= before || seq === 0 || this.#history.positionAt(seq) === undefined) return
    if (this.#leading) {
      const digest = documentDigest(this.#history.documentAt(seq))
      for (const follower of this.#leading.followers.values()) {
        if (follower.joined) this.ports.send(follower.id, { k: 'check', epoch: this.#epoch, seq, digest })
      }
    } else if (this.#check?.seq === seq) this.#compareWith(this.#check)
  }

  #compareWith({ seq, digest }: { readonly seq: number; readonly digest: string }): void {
    if (seq > this.#committed || this.#history.positionAt(seq) === undefined) return
    if (documentDigest(this.#history.documentAt(seq)) === digest) return
    throw new BrokenHistory(`the document differs from the primary's at ${seq}`)
  }

  /** What is committed need not be kept change by change, but for copies that are a little behind. */
  #settle(): void {
    const history = this.#history
    history.forget(this.#committed)
    const limit = Math.max(journalBytesMin, 2 * this.#wholeBytes)
    const large = history.bytes > historyBytesMax / 2
    if (this.#journalBytes < limit && !large) return
    const behind = [...(this.#leading?.followers.values() ?? [])].filter(each => each.joined).map(each => each.acked)
    history.settle(large ? this.#committed : Math.max(history.base.seq, Math.min(this.#committed, ...behind)))
    const { base } = history
    const entries = history.after(base.seq, Number.MAX_SAFE_INTEGER)
    const state = history.stateAt(base.seq)
    this.#journalBytes = history.bytes
    this.#wholeBytes = state.length
    const committed = this.#committed
    this.ports.write([{ k: 'whole', epoch: this.#epoch, at: base, state, committed, entries }], () => undefined)
  }
}

/** Bytes of a document as JSON: counted when it may have grown over the last count. */
class Sizes {
  #last = limits.document as number
  #since = 0

  of(document: Json, changed: number): number {
    this.#since += changed
    if (this.#last + this.#since <= limits.document) return this.#last + this.#since
    this.#last = Buffer.byteLength(JSON.stringify(document))
    this.#since = 0
    return this.#last
  }
}

const refused = (code: 'bad-request' | 'busy' | 'conflict', reason: string): Proposed => ({
  kind: 'refused',
  code,
  reason,
})

function refusalOf(error: unknown): Proposed {
  if (error instanceof CloudError) return refused('bad-request', error.message)
  if (error instanceof BrokenHistory) return refused('bad-request', error.message)
  throw error
}
