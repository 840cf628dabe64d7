/**
 * A copy as the primary of one epoch: numbers changes, sends them to the others, and commits what every copy has that
 * counts (reliability.md, section 3, rules 3-5, 7, 8, 11).
 */
import type { Configuration } from './configuration.js'
import { type Base, change, entryAfter, limits, readUpdate, type Update } from './entry.js'
import { Follower } from './follower.js'
import { type Answered, BrokenHistory } from './history.js'
import type { Holding } from './holding.js'
import type { CopyMessage } from './messages.js'
import { type Proposed, type Readable, refusalOf, refused, type Settle } from './outcomes.js'

export interface PrimaryPorts {
  send(to: string, message: CopyMessage): void
  /** What it reports may have changed. */
  changed(): void
  /** Once, when what happens now is over; never when it is not the primary any more. */
  soon(run: () => void): void
}

/** Which copy is primary, of which configuration. */
export interface Appointed {
  readonly self: string
  readonly configuration: Configuration
  /** Who was primary just before: most likely it is gone. */
  readonly deposed: string | undefined
}

/** Those who wait for an answer; they go on waiting when the same copy is primary in the next epoch too. */
export interface Waiting {
  /** By the number of the change. */
  readonly proposals: Map<number, Settle<Proposed>[]>
  readers: { readonly round: number; readonly settle: Settle<Readable> }[]
}

export const nobodyWaits = (): Waiting => ({ proposals: new Map(), readers: [] })

/** Whoever waits is told to ask the new primary, under the same id. */
export function sendElsewhere(waiting: Waiting): void {
  const settles = [...waiting.proposals.values()].flat()
  waiting.proposals.clear()
  for (const settle of settles) settle({ kind: 'elsewhere' })
  const { readers } = waiting
  waiting.readers = []
  for (const { settle } of readers) settle({ kind: 'elsewhere' })
}

export class Primary {
  readonly #followers: ReadonlyMap<string, Follower>
  /** What was prepared before: when that is committed in this epoch, all that was committed earlier is known to be. */
  readonly #openAt: number
  #open = false
  #pumps = false
  /** Rounds of beacons: begun, and answered by all. */
  #round = 0
  #heard = 0

  private readonly configuration: Configuration

  constructor(
    { self, configuration, deposed }: Appointed,
    private readonly holding: Holding,
    private readonly waiting: Waiting,
    private readonly ports: PrimaryPorts,
    nowMs: number,
  ) {
    this.configuration = configuration
    const { inSync, learners, epoch } = configuration
    const others = [...inSync, ...learners].filter(id => id !== self)
    this.#followers = new Map(
      others.map(id => {
        const send = (message: CopyMessage): void => ports.send(id, message)
        return [id, new Follower(id, inSync.includes(id), nowMs, send, epoch, id === deposed)]
      }),
    )
    this.#openAt = holding.history.tail.seq
    waiting.readers = waiting.readers.map(({ settle }) => ({ round: 1, settle }))
  }

  /** Whether it answers for the document: everything that may have been committed earlier is committed now. */
  get open(): boolean {
    return this.#open
  }

  begin(links: Iterable<string>, nowMs: number): void {
    for (const id of links) this.link(id, true, nowMs)
    // Who is not there at all need not be waited for until the next tick.
    this.tick(nowMs)
    this.#advance(nowMs)
    this.#beacons(nowMs)
  }

  link(mothership: string, up: boolean, nowMs: number): void {
    const follower = this.#followers.get(mothership)
    follower?.link(up, nowMs)
    if (!up && follower?.look(nowMs)) this.ports.changed()
  }

  tick(nowMs: number): void {
    let changed = false
    for (const follower of this.#followers.values()) {
      follower.tell(this.holding.history, this.holding.committed)
      changed = follower.look(nowMs) || changed
    }
    if (changed) this.ports.changed()
  }

  /** So that a copy knows what it has been told is committed. */
  tell(mothership: string): void {
    this.#followers.get(mothership)?.tell(this.holding.history, this.holding.committed, true)
  }

  /** Copies that do not answer. */
  get drop(): string[] {
    return [...this.#followers.values()].filter(each => each.required && each.silent).map(each => each.id)
  }

  /** Learners that have everything, and their journals. */
  get admit(): Record<string, string> {
    const ready = [...this.#followers.values()].filter(each => each.admissible && !each.silent)
    return Object.fromEntries(ready.map(each => [each.id, each.journal]))
  }

  propose(base: Base, body: string, nowMs: number, settle: Settle<Proposed>): void {
    const { configuration, holding } = this
    let update: Update
    try {
      update = readUpdate(body)
    } catch (error) {
      return settle(refusalOf(error))
    }
    const answered = holding.history.answered(update.id)
    if (answered) return this.#whenCommitted(answered, settle)
    if (base.earliest < holding.history.forgotten) {
      const since = holding.history.tail.seq - base.earliest
      return settle({ kind: 'unknown', reason: `${since} changes since it was first tried: it may have been made` })
    }
    const { length } = configuration.inSync
    if (length < configuration.inSyncMin) {
      return settle(refused('busy', `${length} copies are in sync, changes need ${configuration.inSyncMin}`))
    }
    const { tail, document } = holding.history
    if (base.digest !== tail.digest) {
      const at = { seq: tail.seq, digest: tail.digest }
      return settle({ kind: 'conflict', epoch: configuration.epoch, at, document })
    }
    if (holding.isFull) return settle(refused('busy', 'too many changes wait for the other copies'))
    this.#prepare(body, update, nowMs, settle)
  }

  read(nowMs: number, settle: Settle<Readable>): void {
    this.waiting.readers.push({ round: this.#round + 1, settle })
    this.#beacons(nowMs)
  }

  on(from: string, message: CopyMessage, nowMs: number): void {
    const follower = this.#followers.get(from)
    if (!follower) return
    if (message.k === 'join') this.#onJoin(follower, message, nowMs)
    else if (!follower.joined) return
    else if (message.k === 'ack') {
      const was = follower.admissible
      follower.ack(message.seq, this.holding.history, this.holding.committed, nowMs)
      this.#advance(nowMs)
      follower.pump(this.holding.history, this.holding.committed, nowMs)
      if (follower.admissible !== was) this.ports.changed()
    } else if (message.k === 'beaten') {
      follower.beat(message.round, nowMs)
      this.#beacons(nowMs)
    }
  }

  #prepare(body: string, update: Update, nowMs: number, settle: Settle<Proposed>): void {
    const { holding } = this
    const { history } = holding
    let seq: number
    try {
      const document = change(history.document, update)
      const bytes = holding.sizeOf(document, body.length)
      if (bytes > limits.document) {
        return settle(refused('bad-request', `the document would have ${bytes} bytes, it may have ${limits.document}`))
      }
      const entry = entryAfter(history.tail, this.configuration.epoch, body)
      history.append(entry, { update, document })
      seq = entry.seq
      this.waiting.proposals.set(seq, [settle])
      holding.write([{ k: 'entry', entry }], body.length, () => {
        holding.durable = Math.max(holding.durable, seq)
        this.#advance(nowMs)
      })
    } catch (error) {
      return settle(refusalOf(error))
    }
    this.#pumpSoon(nowMs)
  }

  /** Changes that are made at the same time travel in one message. */
  #pumpSoon(nowMs: number): void {
    if (this.#pumps) return
    this.#pumps = true
    this.ports.soon(() => {
      this.#pumps = false
      const { history, committed } = this.holding
      for (const follower of this.#followers.values()) follower.pump(history, committed, nowMs)
    })
  }

  #whenCommitted({ seq, reply }: Answered, settle: Settle<Proposed>): void {
    const { epoch } = this.configuration
    if (seq <= this.holding.committed) return settle({ kind: 'committed', epoch, seq, reply })
    const waiting = this.waiting.proposals.get(seq)
    if (waiting) waiting.push(settle)
    else this.waiting.proposals.set(seq, [settle])
  }

  #onJoin(follower: Follower, join: CopyMessage & { k: 'join' }, nowMs: number): void {
    const { committed, tail, journal } = join
    const { history, committed: here } = this.holding
    const own = history.positionAt(committed.seq)
    const agrees = own !== undefined && own.digest === committed.digest
    if (follower.inSync) {
      // It will say itself that it has lost its journal.
      if (journal !== this.configuration.journals[follower.id]) return
      if (committed.seq > history.tail.seq) throw new BrokenHistory('another copy has changes that this one has lost')
      if (tail < here || (own && !agrees)) {
        follower.forgot = true
        return this.ports.changed()
      }
      follower.join(Math.max(committed.seq, history.base.seq), journal, nowMs)
    } else follower.join(agrees && !join.anew ? committed.seq : -1, journal, nowMs)
    follower.pump(history, here, nowMs)
    if (this.#round > this.#heard) follower.beacon(this.#round, nowMs)
  }

  /** Commits what every copy has that counts, its own included (rule 4). */
  #advance(nowMs: number): void {
    const { holding } = this
    if (holding.epoch !== this.configuration.epoch) return
    let everywhere = holding.durable
    for (const follower of this.#followers.values()) {
      if (follower.required) everywhere = Math.min(everywhere, follower.joined ? follower.acked : -1)
    }
    if (everywhere >= this.#openAt && !this.#open) {
      this.#open = true
      this.ports.changed()
    }
    if (everywhere > holding.committed) this.#commit(everywhere)
    if (this.#open) this.#beacons(nowMs)
  }

  #commit(seq: number): void {
    const { holding, waiting } = this
    const before = holding.committed
    holding.committed = seq
    const due: [settle: Settle<Proposed>, outcome: Proposed][] = []
    for (const [at, settles] of waiting.proposals) {
      if (at > seq) continue
      const reply = holding.history.replyAt(at)
      const outcome: Proposed = { kind: 'committed', epoch: this.configuration.epoch, seq: at, reply }
      for (const settle of settles) due.push([settle, outcome])
      waiting.proposals.delete(at)
    }
    this.#compare(holding.checkpoint(before))
    const joined = [...this.#followers.values()].filter(each => each.joined)
    holding.settle(joined.map(each => each.acked))
    for (const [settle, outcome] of due) settle(outcome)
  }

  #compare(seq: number | undefined): void {
    if (seq === undefined) return
    const digest = this.holding.digestAt(seq)
    for (const follower of this.#followers.values()) {
      if (follower.joined) this.ports.send(follower.id, { k: 'check', epoch: this.configuration.epoch, seq, digest })
    }
  }

  /** Readers of a round that all copies answered go on; those who came meanwhile wait for the next. */
  #beacons(nowMs: number): void {
    const { waiting, holding } = this
    const required = [...this.#followers.values()].filter(each => each.required)
    this.#heard = Math.min(this.#round, ...required.map(each => each.beaten))
    if (this.#open) {
      const ready = waiting.readers.filter(({ round }) => required.length === 0 || round <= this.#heard)
      if (ready.length > 0) waiting.readers = waiting.readers.filter(each => !ready.includes(each))
      const { epoch } = this.configuration
      for (const { settle } of ready) settle({ kind: 'readable', epoch, seq: holding.committed })
    }
    if (waiting.readers.length === 0 || this.#round > this.#heard) return
    if (!waiting.readers.some(({ round }) => round > this.#round)) return
    this.#round++
    for (const follower of required) follower.beacon(this.#round, nowMs)
  }
}
