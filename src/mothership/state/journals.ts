/**
 * The journals of a mothership: a directory for each life of an instance. One that cannot be trusted, and one that is
 * wanted no more, is set aside for a day, and what begins then is another journal: nobody takes it for the one before
 * (reliability.md, section 3, rule 12). That a process was killed makes no journal doubtful.
 */
import { join } from 'node:path'
import { CloudError } from '../../cloud/errors.js'
import { BrokenHistory } from '../../cloud/replication/history.js'
import type { Recovered } from '../../cloud/replication/holding.js'
import { type Remembered, replay } from '../../cloud/replication/recovery.js'
import type { Chance, Clock, Log } from '../../hypervisor/ports.js'
import { type DirectoryLock, lockDirectory } from './directory-lock.js'
import { Journal } from './journal.js'
import { JournalFile } from './journal-file.js'
import { type JournalFs, realJournalFs, troubleOf } from './journal-fs.js'
import type { OpenJournal } from './keeper.js'

export interface JournalsOptions {
  readonly directory: string
  readonly clock: Clock
  readonly chance: Pick<Chance, 'id'>
  readonly log: Log
  readonly fs?: JournalFs
}

export interface Life {
  readonly instance: string
  readonly since: number
}

const trash = '.trash'
const keptForMs = 24 * 3_600_000
const sweepEveryMs = 3_600_000

export class Journals {
  readonly #open = new Set<string>()
  /** By name, what is being done with a journal. */
  readonly #turns = new Map<string, Promise<void>>()
  #cancelSweep: (() => void) | undefined

  private constructor(
    private readonly options: JournalsOptions,
    private readonly fs: JournalFs,
    private readonly lock: DirectoryLock,
  ) {
    this.#sweepNowAndThen()
  }

  /** Throws `misconfigured` when the directory cannot be used, or another process uses it. */
  static async start(options: JournalsOptions): Promise<Journals> {
    const fs = options.fs ?? realJournalFs
    try {
      await fs.makeDirectory(join(options.directory, trash))
    } catch (error) {
      throw new CloudError('misconfigured', troubleOf(error, options.directory), {}, { cause: error })
    }
    return new Journals(options, fs, lockDirectory(options.directory))
  }

  /** As `KeeperPorts` says. */
  open(instance: string, since: number, anew: boolean, onFailed: (reason: string) => void): Promise<OpenJournal> {
    return this.#inTurn(nameOf({ instance, since }), () => this.#openNow({ instance, since }, anew, onFailed))
  }

  async #openNow({ instance, since }: Life, anew: boolean, onFailed: (reason: string) => void): Promise<OpenJournal> {
    const name = nameOf({ instance, since })
    if (this.#open.has(name)) throw new CloudError('internal', `the journal ${name} is open`)
    this.#open.add(name)
    try {
      const [file, recovered] = await this.#recover({ instance, since }, anew)
      return new Journal(recovered, file, this.options.clock, onFailed, () => this.#open.delete(name))
    } catch (error) {
      this.#open.delete(name)
      if (error instanceof CloudError) throw error
      const reason = troubleOf(error, join(this.options.directory, name))
      throw new CloudError('internal', reason, {}, { cause: error })
    }
  }

  /** As `KeeperPorts` says. It is closed. */
  async discard(instance: string, since: number): Promise<void> {
    await this.#setAsideIfThere(nameOf({ instance, since }))
  }

  /** Whatever else is there and not open was wanted when this mothership did not run. */
  async keepOnly(lives: Iterable<Life>): Promise<void> {
    const wanted = new Set([...lives].map(nameOf))
    for (const name of await this.fs.list(this.options.directory)) {
      if (name.startsWith('.') || wanted.has(name) || this.#open.has(name)) continue
      if (await this.#setAsideIfThere(name)) {
        this.options.log.info({ journal: name }, 'a journal that was wanted no more is set aside')
      }
    }
  }

  /** Not while it is open. */
  #setAsideIfThere(name: string): Promise<boolean> {
    return this.#inTurn(name, async () => {
      if (this.#open.has(name) || !(await this.fs.list(this.options.directory)).includes(name)) return false
      await this.#setAside(name)
      return true
    })
  }

  /** One thing after the other with each journal, whoever wants it. */
  #inTurn<T>(name: string, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve()
    const mine = before.then(run)
    const over = mine.then(
      () => undefined,
      () => undefined,
    )
    this.#turns.set(name, over)
    void over.then(() => {
      if (this.#turns.get(name) === over) this.#turns.delete(name)
    })
    return mine
  }

  /** After all that are open are closed. */
  close(): void {
    this.#cancelSweep?.()
    this.lock.release()
  }

  async #recover(life: Life, anew: boolean): Promise<[file: JournalFile, recovered: Recovered]> {
    const { fs } = this
    const { log, directory, chance } = this.options
    const name = nameOf(life)
    const path = join(directory, name)
    const found = anew ? 'anew' : await this.#find(life)
    if (typeof found !== 'string') return found
    if (found !== 'none') {
      if (found !== 'anew') log.error({ ...life, reason: found }, 'a journal is not trusted: another one begins')
      if ((await fs.list(directory)).includes(name)) await this.#setAside(name)
    }
    await fs.makeDirectory(path)
    await fs.syncDirectory(directory)
    const journal = chance.id(32)
    const file = await JournalFile.begin(fs, path, { ...life, journal })
    return [file, { journal, ...memoryOf(replay([])) }]
  }

  /** Otherwise `none`, or why it is not trusted. */
  async #find(life: Life): Promise<[file: JournalFile, recovered: Recovered] | string> {
    const { log, directory } = this.options
    const found = await JournalFile.recover(this.fs, join(directory, nameOf(life)), life)
    if (found.kind === 'none') return 'none'
    if (found.kind === 'broken') return found.reason
    if (found.kind === 'newer') {
      const reason = `the journal of ${life.instance} is of a newer release (format ${found.format}): run that one`
      throw new CloudError('misconfigured', reason)
    }
    const { file, journal, records, torn } = found
    if (torn > 0) log.warn({ ...life, bytes: torn }, 'the last write to a journal was not whole: cut off')
    try {
      return [file, { journal, ...memoryOf(replay(records)) }]
    } catch (error) {
      await file.close()
      if (error instanceof BrokenHistory) return error.message
      throw error
    }
  }

  async #setAside(name: string): Promise<void> {
    const { fs } = this
    const { directory, clock, chance } = this.options
    const aside = join(directory, trash)
    await fs.makeDirectory(aside)
    await fs.rename(join(directory, name), join(aside, `${name}.${clock.wallMs()}.${chance.id(4)}`))
    await fs.syncDirectory(aside)
    await fs.syncDirectory(directory)
  }

  #sweepNowAndThen(): void {
    this.#sweep().catch(error => this.options.log.warn({ err: error }, 'old journals could not be removed'))
    this.#cancelSweep = this.options.clock.after(sweepEveryMs, () => this.#sweepNowAndThen())
  }

  async #sweep(): Promise<void> {
    const { directory, clock } = this.options
    const untilMs = clock.wallMs() - keptForMs
    for (const name of await this.fs.list(join(directory, trash))) {
      const setAsideMs = Number(name.split('.').at(-2))
      if (setAsideMs < untilMs) await this.fs.remove(join(directory, trash, name))
    }
  }
}

const memoryOf = ({ epoch, history, committed }: Remembered): Omit<Recovered, 'journal'> => ({
  epoch,
  history,
  committed,
})

/** A name for a directory, whatever the id is: one dot, before `since`. */
const nameOf = ({ instance, since }: Life): string => `${encodeURIComponent(instance).replaceAll('.', '+')}.${since}`
