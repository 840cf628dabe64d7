/** Journals on real disks: written by a process that is killed, and on a disk that is full. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { titled, whyNoSmallDisk } from '../../faults/support/capabilities.js'
import { bundle } from '../../support/bundle.js'
import { waitUntil } from '../../support/etcd.js'

let directory: string
let program: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rain-journal-'))
  program = await bundle('test/support/journal-writer.ts', directory)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

class Writer {
  readonly #child: ChildProcess
  #said = ''
  #errors = ''

  constructor(journals: string, padding = 200) {
    this.#child = spawn(process.execPath, [program, journals, String(padding)], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.stdout?.on('data', text => {
      this.#said += text
    })
    this.#child.stderr?.on('data', text => {
      this.#errors += text
    })
  }

  get lines(): readonly string[] {
    return this.#said.split('\n').slice(0, -1)
  }

  get found(): { readonly seq: number; readonly journal: string } | undefined {
    const [, seq, journal] = this.lines.find(each => each.startsWith('found '))?.split(' ') ?? []
    return journal === undefined ? undefined : { seq: Number(seq), journal }
  }

  /** The last change that is durable. */
  get durable(): number {
    const last = this.lines.findLast(each => each.startsWith('durable '))
    return last === undefined ? (this.found?.seq ?? 0) : Number(last.split(' ')[1])
  }

  async until(what: string, check: () => boolean): Promise<void> {
    await waitUntil(what, () => {
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#errors}`)
      return check()
    })
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await ended
  }
}

describe('a journal of a process that is killed', () => {
  it('has everything that the process had said to be durable, each time', async () => {
    const journals = join(directory, 'killed')
    let journal: string | undefined
    let durable = 0
    for (let round = 0; round < 6; round++) {
      const writer = new Writer(journals)
      await writer.until('the journal is open', () => writer.found !== undefined)
      expect(writer.found!.journal).toBe((journal ??= writer.found!.journal))
      expect(writer.found!.seq).toBeGreaterThanOrEqual(durable)
      const enough = durable + 150 + round * 97
      await writer.until(`${enough} changes are durable`, () => writer.durable >= enough)
      await writer.kill()
      durable = writer.durable
    }
  }, 60_000)

  it('is refused to a second process while the first one lives', async () => {
    const journals = join(directory, 'shared')
    const first = new Writer(journals)
    await first.until('the journal is open', () => first.found !== undefined)
    const second = new Writer(journals)
    await expect(second.until('it is refused', () => false)).rejects.toThrow(/is in use by process \d+: stop that one/)
    await first.kill()
    const third = new Writer(journals)
    await third.until('the journal is open', () => third.found !== undefined)
    await third.kill()
  })
})

const noSmallDisk = whyNoSmallDisk()

describe.skipIf(noSmallDisk !== undefined)(titled('a disk that is full', noSmallDisk), () => {
  const mount = (...options: readonly string[]): void => {
    const { status, stderr } = spawnSync('mount', [...options, join(directory, 'small')], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }

  it('is told once, nothing is acknowledged after it, and nothing that was is lost', async () => {
    mkdirSync(join(directory, 'small'))
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs')
    try {
      const writer = new Writer(join(directory, 'small', 'journals'), 20_000)
      const failures = (): readonly string[] => writer.lines.filter(each => each.startsWith('failed '))
      await writer.until('the disk is full', () => failures().length > 0)
      const { durable } = writer
      expect(durable).toBeGreaterThan(10)
      expect(failures()).toEqual([expect.stringMatching(/^failed disk: no space left \(.*journal\)$/)])
      expect(writer.lines.at(-1)).toBe(failures()[0])
      await writer.kill()
      mount('-o', 'remount,size=8m')
      const again = new Writer(join(directory, 'small', 'journals'), 10)
      await again.until('it goes on', () => again.durable > durable + 10)
      expect(again.found!.seq).toBeGreaterThanOrEqual(durable)
      await again.kill()
    } finally {
      spawnSync('umount', [join(directory, 'small')])
    }
  })
})
