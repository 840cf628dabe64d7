/** Journals on real disks: written by a process that is killed, and on a disk that is full. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { titled, whyNoSmallDisk } from '../../faults/support/capabilities.js'
import { bundle } from '../../support/bundle.js'
import { JournalProcess } from '../../support/journal-process.js'

let directory: string
let program: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rain-journal-'))
  program = await bundle('test/support/journal-writer.ts', directory)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('a journal of a process that is killed', () => {
  it('has everything that the process had said to be durable, each time', async () => {
    const journals = join(directory, 'killed')
    let journal: string | undefined
    let durable = 0
    for (let round = 0; round < 6; round++) {
      const writer = new JournalProcess(program, journals)
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
    const first = new JournalProcess(program, journals)
    await first.until('the journal is open', () => first.found !== undefined)
    const second = new JournalProcess(program, journals)
    await expect(second.until('it is refused', () => false)).rejects.toThrow(/is in use by process \d+: stop that one/)
    await first.kill()
    const third = new JournalProcess(program, journals)
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
      const writer = new JournalProcess(program, join(directory, 'small', 'journals'), 20_000)
      const failures = (): readonly string[] => writer.lines.filter(each => each.startsWith('failed '))
      await writer.until('the disk is full', () => failures().length > 0)
      const { durable } = writer
      expect(durable).toBeGreaterThan(10)
      expect(failures()).toEqual([expect.stringMatching(/^failed disk: no space left \(.*journal\)$/)])
      expect(writer.lines.at(-1)).toBe(failures()[0])
      await writer.kill()
      mount('-o', 'remount,size=8m')
      const again = new JournalProcess(program, join(directory, 'small', 'journals'), 10)
      await again.until('it goes on', () => again.durable > durable + 10)
      expect(again.found!.seq).toBeGreaterThanOrEqual(durable)
      await again.kill()
    } finally {
      spawnSync('umount', [join(directory, 'small')])
    }
  })
})
