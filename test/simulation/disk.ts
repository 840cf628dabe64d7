/**
 * Disks of simulated motherships: journals of copies, record by record. A write takes a while; a crash keeps some of
 * what was under way, and a disk that lies has lost what it had called durable.
 */
import { BrokenHistory } from '../../src/cloud/replication/history.js'
import type { JournalRecord } from '../../src/cloud/replication/messages.js'
import { replay } from '../../src/cloud/replication/recovery.js'
import type { OpenJournal } from '../../src/mothership/state/keeper.js'
import type { Dice } from './dice.js'
import type { SimProcess } from './process.js'

interface Journal {
  id: string
  /** What survives a crash. */
  records: JournalRecord[]
  /** The highest among them. */
  epoch: number
  /** Under way. */
  pending: JournalRecord[]
  failed: ((reason: string) => void) | undefined
}

export type Wiped = 'gone' | 'cut short'

export class SimDisk {
  readonly #journals = new Map<string, Journal>()
  readonly #dice: Dice
  full = false
  /** How long a write takes at most; a stalled disk takes much longer. */
  slowMs = 2

  constructor(
    dice: Dice,
    private readonly note: (what: string) => void,
    /** Called when what a copy wrote is not the journal of one copy. */
    private readonly onBroken: (what: string) => void,
  ) {
    this.#dice = dice.for('disk')
  }

  async open(
    process: SimProcess,
    instance: string,
    since: number,
    anew: boolean,
    onFailed: (reason: string) => void,
  ): Promise<OpenJournal> {
    await this.#pause(process)
    if (this.full) throw new Error('disk: no space left')
    const key = keyOf(instance, since)
    let journal = this.#journals.get(key)
    if (!journal || anew) journal = { id: this.#dice.id(16), records: [], epoch: 0, pending: [], failed: undefined }
    this.#journals.set(key, journal)
    const held = journal
    held.failed = onFailed
    held.pending = []
    const recovered = this.#readAgain(key, held)
    let writing: Promise<void> = Promise.resolve()
    let closed = false
    return {
      recovered,
      write: (records, done) => {
        if (closed) return
        if (this.full && records.length > 0) {
          closed = true
          process.enter(() => onFailed('disk: no space left'))
          return
        }
        held.pending.push(...records)
        writing = writing.then(async () => {
          if (records.length > 0) await this.#pause(process)
          if (closed || !process.alive) return
          keep(held, held.pending.splice(0, records.length))
          compact(held)
          done()
        })
      },
      close: async () => {
        closed = true
        await writing
      },
    }
  }

  async discard(instance: string, since: number): Promise<void> {
    this.#journals.delete(keyOf(instance, since))
  }

  #readAgain(key: string, { id, records }: Journal) {
    try {
      return { journal: id, ...remembered(records) }
    } catch (error) {
      if (error instanceof BrokenHistory) this.onBroken(`journal: ${key} cannot be read again: ${error.message}`)
      throw error
    }
  }

  /** Of what was under way some is there, in order; a record that is not whole is cut off when it is read again. */
  crash(): void {
    for (const journal of this.#journals.values()) {
      const { pending } = journal
      if (pending.length > 0) this.note('torn write')
      keep(journal, pending.splice(0, this.#dice.below(pending.length + 1)))
      pending.length = 0
    }
  }

  /** After a crash: the last writes that had been called durable are not there. */
  lie(): void {
    for (const journal of this.#journals.values()) {
      const { records } = journal
      const keeps = Math.max(0, records.length - 1 - this.#dice.below(6))
      if (keeps < records.length && records.length > 0) records.length = keeps
      journal.epoch = highest(records)
    }
  }

  /** What is found then cannot be trusted: another journal begins, maybe with what is left. */
  wipe(how: Wiped): void {
    for (const [key, journal] of this.#journals) {
      if (how === 'gone') this.#journals.delete(key)
      else {
        journal.id = this.#dice.id(16)
        journal.records.length = this.#dice.below(journal.records.length + 1)
        journal.records = journal.records.filter(each => each.k !== 'epoch')
        journal.epoch = highest(journal.records)
      }
    }
  }

  journalOf(
    instance: string,
    since: number,
  ): { readonly id: string; readonly records: readonly JournalRecord[] } | undefined {
    return this.#journals.get(keyOf(instance, since))
  }

  /** The highest epoch that a copy would know of after a crash. */
  epochOf(instance: string, since: number): number {
    return this.#journals.get(keyOf(instance, since))?.epoch ?? 0
  }

  #pause(process: SimProcess): Promise<void> {
    return new Promise(resolve => process.after(this.#dice.between(0.1, this.slowMs), resolve))
  }
}

const keyOf = (instance: string, since: number): string => `${instance}@${since}`

function remembered(records: readonly JournalRecord[]) {
  const { epoch, history, committed } = replay(records)
  return { epoch, history, committed }
}

function keep(journal: Journal, records: readonly JournalRecord[]): void {
  journal.records.push(...records)
  journal.epoch = Math.max(journal.epoch, highest(records))
}

const highest = (records: readonly JournalRecord[]): number =>
  records.reduce((most, each) => (each.k === 'epoch' || each.k === 'whole' ? Math.max(most, each.epoch) : most), 0)

/** A whole record stands for everything before. */
function compact(journal: Journal): void {
  const last = journal.records.at(-1)
  if (last?.k !== 'whole') return
  journal.records.splice(0, journal.records.length - 1)
  journal.epoch = last.epoch
}
