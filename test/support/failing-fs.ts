/**
 * A file system in memory that fails where a test says. Like a real one it remembers for readers what was written, and
 * for a loss of power what was made durable: of the rest some sectors survive and some do not, in no order, and of names
 * those that were changed first. A process that is killed loses nothing of it.
 */
import type { JournalFile, JournalFs } from '../../src/mothership/state/journal-fs.js'

export type Step = 'write' | 'datasync' | 'rename' | 'syncDirectory' | 'create' | 'open' | 'read' | 'remove' | 'mkdir'
/**
 * `crash`: the process is killed before it. `short`: what is written ends in the middle, then it is killed. `lost`: it
 * is said to be done. `held`: it is done when `release` is called.
 */
export type Outcome = 'ok' | 'crash' | 'short' | 'EIO' | 'ENOSPC' | 'lost' | 'held'

interface Inode {
  cache: Buffer
  durable: Buffer
  readonly dirty: Set<number>
}

interface Renaming {
  readonly parents: readonly string[]
  readonly apply: (names: Map<string, Inode>) => void
}

const sector = 512

export class FailingFs implements JournalFs {
  /** By path. */
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  readonly #directories = new Set<string>()
  #renamings: Renaming[] = []
  #life = 0
  #held: (() => void)[] = []
  steps = 0
  /** Asked before every step. */
  next: (step: Step, number: number) => Outcome = () => 'ok'

  release(): void {
    for (const go of this.#held.splice(0)) go()
  }

  /** The process is no more: what it still asks for is never answered. What it wrote can be read. */
  kill(): void {
    this.#life++
  }

  /** `survives`: asked for each sector that is not durable, and how many changes of names. */
  losePower(survives: () => boolean): void {
    this.kill()
    while (this.#renamings.length > 0 && survives()) this.#renamings.shift()!.apply(this.#durableNames)
    this.#renamings = []
    this.#names = new Map(this.#durableNames)
    for (const inode of new Set(this.#names.values())) {
      const length = survives() ? inode.cache.byteLength : inode.durable.byteLength
      const bytes = Buffer.alloc(length)
      bytes.set(inode.durable.subarray(0, length))
      for (const index of inode.dirty) {
        const from = index * sector
        if (from < length && survives()) bytes.set(inode.cache.subarray(from, Math.min(from + sector, length)), from)
      }
      inode.durable = bytes
      inode.cache = Buffer.from(bytes)
      inode.dirty.clear()
    }
  }

  /** Past all checks, durable. */
  patch(path: string, change: (bytes: Buffer) => Buffer): void {
    const inode = this.#names.get(path)!
    inode.durable = change(Buffer.from(inode.cache))
    inode.cache = Buffer.from(inode.durable)
  }

  /** As a reader sees it. */
  bytesOf(path: string): Buffer {
    return Buffer.from(this.#names.get(path)!.cache)
  }

  get paths(): readonly string[] {
    return [...this.#names.keys()].sort()
  }

  makeDirectory(path: string): Promise<void> {
    return this.#step('mkdir', () => void this.#directories.add(path))
  }

  async list(path: string): Promise<readonly string[]> {
    const all = [...this.#names.keys(), ...this.#directories].filter(each => each.startsWith(`${path}/`))
    return [...new Set(all.map(each => each.slice(path.length + 1).split('/')[0]!))]
  }

  read(path: string): Promise<Buffer> {
    return this.#step('read', () => this.bytesOf(path))
  }

  create(path: string): Promise<JournalFile> {
    return this.#step('create', () => {
      const inode: Inode = { cache: Buffer.alloc(0), durable: Buffer.alloc(0), dirty: new Set() }
      this.#rename([parentOf(path)], names => names.set(path, inode))
      return this.#file(inode)
    })
  }

  open(path: string): Promise<JournalFile> {
    return this.#step('open', () => this.#file(this.#names.get(path)!))
  }

  rename(from: string, to: string): Promise<void> {
    return this.#step('rename', () => {
      this.#rename([parentOf(from), parentOf(to)], names => {
        for (const [path, inode] of [...names]) {
          if (path !== from && !path.startsWith(`${from}/`)) continue
          names.delete(path)
          names.set(to + path.slice(from.length), inode)
        }
      })
      for (const path of [...this.#directories]) if (path === from) this.#directories.delete(path)
    })
  }

  remove(path: string): Promise<void> {
    return this.#step('remove', () => {
      this.#rename([parentOf(path)], names => {
        for (const each of [...names.keys()]) if (each === path || each.startsWith(`${path}/`)) names.delete(each)
      })
    })
  }

  syncDirectory(path: string): Promise<void> {
    return this.#step('syncDirectory', () => {
      // As journaling file systems do: what came before is durable too.
      const last = this.#renamings.findLastIndex(({ parents }) => parents.includes(path))
      for (const { apply } of this.#renamings.splice(0, last + 1)) apply(this.#durableNames)
    })
  }

  #rename(parents: readonly string[], apply: Renaming['apply']): void {
    apply(this.#names)
    this.#renamings.push({ parents, apply })
  }

  /** A write is two steps: into memory, and what is in memory to the disk. */
  #file(inode: Inode): JournalFile {
    return {
      write: async (bytes, at) => {
        await this.#step(
          'write',
          () => overwrite(inode, bytes, at),
          () => overwrite(inode, bytes.subarray(0, Math.floor(bytes.byteLength / 2)), at),
        )
        await this.#step(
          'datasync',
          () => makeDurable(inode),
          () => undefined,
          // As Linux does: what could not be written counts as written from then on, and is still read.
          () => inode.dirty.clear(),
        )
      },
      close: async () => undefined,
    }
  }

  async #step<T>(
    step: Step,
    run: () => T,
    short: () => void = () => undefined,
    failed: () => void = short,
  ): Promise<T> {
    const life = this.#life
    const outcome = this.next(step, ++this.steps)
    if (outcome === 'short') short()
    if (outcome === 'crash' || outcome === 'short') this.kill()
    if (life !== this.#life) return new Promise<T>(() => undefined)
    if (outcome === 'lost') return undefined as T
    if (outcome === 'held') await new Promise<void>(resolve => this.#held.push(resolve))
    else if (outcome !== 'ok') {
      failed()
      throw Object.assign(new Error(outcome), { code: outcome })
    }
    const result = run()
    // A file system answers later, and to whoever is still there.
    await undefined
    return life === this.#life ? result : new Promise<T>(() => undefined)
  }
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/'))

function makeDurable(inode: Inode): void {
  inode.durable = grown(inode.durable, inode.cache.byteLength)
  for (const index of inode.dirty) {
    const from = index * sector
    inode.durable.set(inode.cache.subarray(from, from + sector), from)
  }
  inode.dirty.clear()
}

/** With zeros. */
function grown(bytes: Buffer, length: number): Buffer {
  return length > bytes.byteLength ? Buffer.concat([bytes, Buffer.alloc(length - bytes.byteLength)]) : bytes
}

function overwrite(inode: Inode, bytes: Uint8Array, at: number): void {
  inode.cache = grown(inode.cache, at + bytes.byteLength)
  inode.cache.set(bytes, at)
  for (let index = Math.floor(at / sector); index * sector < at + bytes.byteLength; index++) inode.dirty.add(index)
}
