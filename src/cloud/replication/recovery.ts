/** What a copy remembers when its journal is read again. */
import { BrokenHistory, History } from './history.js'
import type { JournalRecord } from './messages.js'

export interface Remembered {
  readonly epoch: number
  readonly history: History
  readonly committed: number
}

/** Throws `BrokenHistory` when the records are not what a copy has written. */
export function replay(records: Iterable<JournalRecord>): Remembered {
  const memory = new Memory()
  for (const record of records) memory.add(record)
  return memory
}

/** The same, record by record: what was added before one that throws is kept. */
export class Memory implements Remembered {
  epoch = 0
  history = new History()
  committed = 0

  add(record: JournalRecord): void {
    switch (record.k) {
      case 'epoch':
        this.epoch = Math.max(this.epoch, record.epoch)
        return
      case 'entry':
        return this.history.append(record.entry)
      case 'cut':
        if (record.seq < this.committed) throw new BrokenHistory(`cut at ${record.seq}, before ${this.committed}`)
        return this.history.cut(record.seq)
      case 'committed':
        this.committed = Math.max(this.committed, Math.min(record.seq, this.history.tail.seq))
        return
      case 'whole': {
        const history = History.from(record.at, record.state)
        for (const entry of record.entries) history.append(entry)
        this.history = history
        this.epoch = Math.max(this.epoch, record.epoch)
        this.committed = Math.min(Math.max(record.committed, record.at.seq), history.tail.seq)
      }
    }
  }
}
