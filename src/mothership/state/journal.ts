/**
 * The journal of one copy, open: what came while the last write was under way goes in one write. After a failure it
 * writes nothing more and calls nobody back: what the disk holds is known only when it is read again.
 */
import type { Recovered } from '../../cloud/replication/holding.js'
import type { JournalRecord } from '../../cloud/replication/messages.js'
import type { Clock } from '../../hypervisor/ports.js'
import type { JournalFile } from './journal-file.js'
import { troubleOf } from './journal-fs.js'
import type { OpenJournal } from './keeper.js'

interface Waiting {
  readonly records: readonly JournalRecord[]
  readonly done: () => void
}

/** A disk that takes longer for one write has failed. */
const writeWithinMs = 5_000

export class Journal implements OpenJournal {
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  /** Closed or failed. */
  #over = false

  constructor(
    readonly recovered: Recovered,
    private readonly file: JournalFile,
    private readonly clock: Pick<Clock, 'after'>,
    private readonly onFailed: (reason: string) => void,
    private readonly onClosed: () => void,
  ) {}

  readonly write = (records: readonly JournalRecord[], done: () => void): void => {
    if (this.#over) return
    this.#waiting.push({ records, done })
    this.#writing ??= this.#run()
  }

  async close(): Promise<void> {
    this.#over = true
    await this.#writing
    await this.file.close().catch(() => undefined)
    this.onClosed()
  }

  async #run(): Promise<void> {
    // What else comes in this turn goes along.
    await undefined
    while (this.#waiting.length > 0 && !this.#over) {
      const group = this.#waiting
      this.#waiting = []
      const cancel = this.clock.after(writeWithinMs, () =>
        this.#fail(`disk: not written in ${writeWithinMs} ms (${this.file.path})`),
      )
      try {
        await this.#make(group.flatMap(each => each.records))
      } catch (error) {
        this.#fail(troubleOf(error, this.file.path))
      } finally {
        cancel()
      }
      for (const { done } of group) if (!this.#over) done()
    }
    this.#writing = undefined
  }

  async #make(records: readonly JournalRecord[]): Promise<void> {
    const whole = records.findLastIndex(each => each.k === 'whole')
    if (whole >= 0) await this.file.replace(records.slice(whole))
    else if (records.length > 0) await this.file.append(records)
  }

  #fail(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.onFailed(reason)
  }
}
