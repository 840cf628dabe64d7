/**
 * A copy as a backup or learner of one epoch: has what the primary has, durably, and says so; what the primary has not
 * goes (reliability.md, section 3, rules 3, 7, 11).
 */
import type { Configuration } from './configuration.js'
import { BrokenHistory } from './history.js'
import type { Check, Holding } from './holding.js'
import type { CopyMessage, JournalRecord } from './messages.js'

export interface FollowingPorts {
  /** To the primary. */
  send(message: CopyMessage): void
  /** It follows, or the primary proved that it does no more. */
  changed(): void
}

export class Following {
  /** Heard from the primary in this epoch, on this connection. */
  joined = false
  #check: Check | undefined
  /** What was heard before it joined once more is not acknowledged any more: it is sent again. */
  #joins = 0

  constructor(
    private readonly journal: string,
    private readonly learner: boolean,
    private readonly configuration: Configuration,
    private readonly holding: Holding,
    private readonly ports: FollowingPorts,
  ) {}

  join(anew = false): void {
    this.#joins++
    const { seq, digest } = this.holding.position
    this.#send({
      k: 'join',
      epoch: this.#epoch,
      journal: this.journal,
      committed: { seq, digest },
      tail: this.holding.history.tail.seq,
      ...(anew ? { anew } : {}),
    })
  }

  /** Throws `BrokenHistory` when this copy cannot be right. */
  on(message: CopyMessage): void {
    switch (message.k) {
      case 'invite':
        return this.join()
      case 'append':
        return this.#onAppend(message)
      case 'state':
        return this.#onState(message)
      case 'beacon':
        return this.#send({ k: 'beaten', epoch: this.#epoch, round: message.round })
      case 'check':
        this.#check = message
        return this.holding.compare(message)
      default:
        return
    }
  }

  #onAppend({ after, entries, committed, whole }: CopyMessage & { k: 'append' }): void {
    const { holding } = this
    const { history } = holding
    // Something between was lost on the way.
    if (after.seq > history.tail.seq) return this.join()
    if (history.positionAt(after.seq)?.digest !== after.digest) {
      if (this.learner) return this.join(true)
      throw new BrokenHistory(`the history differs from the primary's at ${after.seq}`)
    }
    const records: JournalRecord[] = []
    let bytes = 0
    for (const entry of entries) {
      if (history.positionAt(entry.seq)?.digest === entry.digest) continue
      if (entry.seq <= history.tail.seq) holding.cut(entry.seq - 1, records)
      history.append(entry)
      records.push({ k: 'entry', entry })
      bytes += entry.body.length
    }
    const last = after.seq + entries.length
    if (whole && history.tail.seq > last) holding.cut(last, records)
    const joins = this.#joins
    holding.write(records, bytes, () => {
      if (holding.history === history) holding.durable = Math.max(holding.durable, Math.min(last, history.tail.seq))
      if (this.#joins === joins) this.#ack(last)
    })
    if (!this.joined) {
      this.joined = true
      this.ports.changed()
    }
    this.#learn(Math.min(committed, last))
  }

  #onState({ at, state }: CopyMessage & { k: 'state' }): void {
    if (!this.learner) throw new BrokenHistory('a copy in sync is to begin anew')
    this.#check = undefined
    const joins = this.#joins
    this.holding.replace(at, state, () => {
      if (this.#joins === joins) this.#ack(at.seq)
    })
  }

  #learn(committed: number): void {
    const { holding } = this
    if (committed <= holding.committed) return
    const before = holding.committed
    holding.committed = committed
    const seq = holding.checkpoint(before)
    if (seq !== undefined && this.#check?.seq === seq) holding.compare(this.#check)
    holding.settle([])
  }

  #ack(seq: number): void {
    this.#send({ k: 'ack', epoch: this.#epoch, seq })
  }

  /** Only in the epoch that it is of (rule 2). */
  #send(message: CopyMessage): void {
    if (this.holding.epoch === this.#epoch) this.ports.send(message)
  }

  get #epoch(): number {
    return this.configuration.epoch
  }
}
