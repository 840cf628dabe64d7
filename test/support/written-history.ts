/** What a copy writes into its journal, batch by batch, and what it would remember of it after each. */
import { entryAfter } from '../../src/cloud/replication/entry.js'
import type { History } from '../../src/cloud/replication/history.js'
import type { JournalRecord } from '../../src/cloud/replication/messages.js'
import { Memory, type Remembered } from '../../src/cloud/replication/recovery.js'

export type Move = 'entry' | 'large' | 'epoch' | 'cut' | 'committed' | 'whole'

export interface Summary {
  readonly epoch: number
  readonly committed: number
  readonly tail: string
  readonly document: unknown
}

export const summaryOf = ({ epoch, committed, history }: Remembered): Summary => ({
  epoch,
  committed,
  tail: `${history.tail.seq} ${history.tail.digest}`,
  document: history.document,
})

export class WrittenHistory {
  #memory = new Memory()
  #count = 0
  /** After each batch; the first one: before any. */
  readonly summaries: Summary[] = [summaryOf(this.#memory)]

  /** It goes on with what was found. */
  resume(found: Remembered): void {
    this.#memory = new Memory()
    for (const record of [wholeOf(found.epoch, found.committed, found.history)]) this.#memory.add(record)
    this.summaries.splice(0, Number.POSITIVE_INFINITY, summaryOf(this.#memory))
  }

  batch(moves: readonly Move[]): JournalRecord[] {
    const records = moves.map(move => {
      const record = this.#record(move)
      this.#memory.add(record)
      return record
    })
    this.summaries.push(summaryOf(this.#memory))
    return records
  }

  #record(move: Move): JournalRecord {
    const { epoch, history, committed } = this.#memory
    const { tail, base } = history
    switch (move) {
      case 'epoch':
        return { k: 'epoch', epoch: epoch + 1 }
      case 'cut':
        return { k: 'cut', seq: Math.max(committed, tail.seq - 1) }
      case 'committed':
        return { k: 'committed', seq: Math.max(base.seq, tail.seq - 1) }
      case 'whole':
        return wholeOf(epoch, committed, history)
      default: {
        const value = move === 'large' ? 'x'.repeat(40_000) : `${++this.#count} "é\u2028\ud83d\ude00`
        const patches = [{ op: 'add', path: [move], value }]
        return {
          k: 'entry',
          entry: entryAfter(tail, Math.max(1, epoch), JSON.stringify({ id: `r${this.#count}.${tail.seq}`, patches })),
        }
      }
    }
  }
}

function wholeOf(epoch: number, committed: number, history: History): JournalRecord {
  const at = history.base
  const entries = history.after(at.seq, Number.MAX_SAFE_INTEGER)
  return { k: 'whole', epoch, at, state: history.stateAt(at.seq), committed, entries }
}
