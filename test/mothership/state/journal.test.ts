/** Journals on a file system that crashes and fails anywhere; what real disks and processes do is in `journal-real`. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemChance } from '../../../src/main/world.js'
import { packHeader } from '../../../src/mothership/state/frames.js'
import { Journals } from '../../../src/mothership/state/journals.js'
import type { OpenJournal } from '../../../src/mothership/state/keeper.js'
import { FailingFs, type Outcome, type Step } from '../../support/failing-fs.js'
import { TestLog } from '../../support/logs.js'
import { ManualClock, settled } from '../../support/manual-clock.js'
import { type Move, type Summary, summaryOf, WrittenHistory } from '../../support/written-history.js'

/** Of the locks; the rest is in memory. */
let locks: string
beforeAll(() => {
  locks = mkdtempSync(join(tmpdir(), 'rain-journal-'))
})
afterAll(() => rmSync(locks, { recursive: true, force: true }))

class Disk {
  readonly directory = mkdtempSync(join(locks, 'disk-'))
  readonly fs = new FailingFs()
  readonly log = new TestLog()
  readonly clock = new ManualClock()
  journals!: Journals
  /** Of journals of this life. */
  failures: string[] = []

  static async start(): Promise<Disk> {
    const disk = new Disk()
    await disk.start()
    return disk
  }

  async start(): Promise<void> {
    const { fs, log, clock, directory } = this
    this.fs.next = () => 'ok'
    this.failures = []
    this.journals = await Journals.start({ directory, fs, log, clock, chance: systemChance })
  }

  open(anew = false): Promise<OpenJournal> {
    const { failures } = this
    return this.journals.open('shop.1', 7, anew, reason => failures.push(reason))
  }

  /** The process ends without a word. */
  kill(): void {
    this.fs.kill()
    this.journals.close()
  }

  get path(): string {
    return join(this.directory, 'shop+1.7', 'journal')
  }
}

/** Resolves when it is durable. */
const written = (journal: OpenJournal, records: Parameters<OpenJournal['write']>[0]): Promise<void> =>
  new Promise(resolve => journal.write(records, resolve))

const moves = fc.array(
  fc.constantFrom<Move>('entry', 'entry', 'entry', 'entry', 'large', 'epoch', 'cut', 'committed', 'whole'),
  { maxLength: 4 },
)
const life = fc.record({
  batches: fc.array(fc.record({ moves, waits: fc.boolean() }), { minLength: 1, maxLength: 12 }),
  /** At which step it ends. */
  crashAt: fc.integer({ min: 1, max: 60 }),
  how: fc.constantFrom<Outcome>('crash', 'short', 'EIO', 'ENOSPC'),
  losesPower: fc.boolean(),
  survives: fc.infiniteStream(fc.boolean()),
})

/** What one life wrote: which batches were acknowledged, of which some follow that may be there. */
async function live(
  disk: Disk,
  journal: OpenJournal,
  history: WrittenHistory,
  batches: readonly { readonly moves: readonly Move[]; readonly waits: boolean }[],
) {
  let acknowledged = 0
  const wrong: string[] = []
  for (const [index, batch] of batches.entries()) {
    journal.write(history.batch(batch.moves), () => {
      if (index !== acknowledged || disk.failures.length > 0) wrong.push(`${index} after ${acknowledged}`)
      acknowledged++
    })
    if (batch.waits) for (let turn = 0; turn < 2; turn++) await settled()
  }
  for (let turn = 0; turn < 30; turn++) await settled()
  expect(wrong, 'in order, and none after a failure').toEqual([])
  return acknowledged
}

describe('a journal', () => {
  it('has all that was acknowledged, and of the rest the first part, wherever process, power or disk fail', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 3 }), async lives => {
        const disk = await Disk.start()
        const history = new WrittenHistory()
        let identity: string | undefined
        for (const { batches, crashAt, how, losesPower, survives } of lives) {
          const journal = await disk.open()
          expect(journal.recovered.journal).toBe((identity ??= journal.recovered.journal))
          const from = disk.fs.steps
          disk.fs.next = (_step, number) => (number === from + crashAt ? how : 'ok')
          const acknowledged = await live(disk, journal, history, batches)
          disk.kill()
          const dice = survives[Symbol.iterator]()
          if (losesPower) disk.fs.losePower(() => dice.next().value)
          await disk.start()
          const again = await disk.open()
          expect(again.recovered.journal).toBe(identity)
          const found = summaryOf(again.recovered)
          expect(history.summaries.slice(acknowledged), 'all that was acknowledged').toContainEqual(found)
          history.resume(again.recovered)
          await again.close()
        }
        disk.kill()
        expect(disk.log.said.filter(each => each.includes('not trusted'))).toEqual([])
      }),
      { numRuns: 100 },
    )
  })

  it('is another one, or a first part of what it was, when the disk lied about what was durable', async () => {
    await fc.assert(
      fc.asyncProperty(life, fc.integer({ min: 0, max: 40 }), async ({ batches, survives }, liesFrom) => {
        const disk = await Disk.start()
        const history = new WrittenHistory()
        const journal = await disk.open()
        const from = disk.fs.steps + liesFrom
        disk.fs.next = (step, number) => (step === 'datasync' && number >= from ? 'lost' : 'ok')
        await live(disk, journal, history, batches)
        disk.kill()
        const dice = survives[Symbol.iterator]()
        disk.fs.losePower(() => dice.next().value)
        await disk.start()
        const again = await disk.open()
        const { recovered } = again
        if (recovered.journal === journal.recovered.journal) {
          expect(history.summaries).toContainEqual(summaryOf(recovered))
        } else expect(recovered).toMatchObject({ epoch: 0, committed: 0 })
        disk.kill()
      }),
      { numRuns: 100 },
    )
  })

  it('opens again after a disk that failed to write, with what is durable and no more', async () => {
    const disk = await Disk.start()
    const history = new WrittenHistory()
    const journal = await disk.open()
    await written(journal, history.batch(['entry']))
    disk.fs.next = step => (step === 'datasync' ? 'EIO' : 'ok')
    journal.write(history.batch(['entry']), () => expect.unreachable('nothing is acknowledged'))
    await settled()
    expect(disk.failures).toEqual([`disk: input/output error (${disk.path})`])
    journal.write(history.batch(['entry']), () => expect.unreachable('nothing is acknowledged'))
    await settled()
    await journal.close()
    // The system thinks that it has written what it could not write: what is found must be made durable once more.
    disk.fs.next = () => 'ok'
    const again = await disk.open()
    const found = summaryOf(again.recovered)
    disk.kill()
    disk.fs.losePower(() => false)
    await disk.start()
    expect(summaryOf((await disk.open()).recovered)).toEqual(found)
    disk.kill()
  })

  it('makes durable what it finds of a process that was killed before it had done so', async () => {
    const disk = await Disk.start()
    const history = new WrittenHistory()
    const journal = await disk.open()
    disk.fs.next = step => (step === 'datasync' ? 'crash' : 'ok')
    journal.write(history.batch(['entry']), () => expect.unreachable('nothing is acknowledged'))
    await settled()
    disk.kill()
    await disk.start()
    const found = (await disk.open()).recovered
    expect(found.history.tail.seq).toBe(1)
    disk.kill()
    disk.fs.losePower(() => false)
    await disk.start()
    expect((await disk.open()).recovered.history.tail.seq).toBe(1)
    disk.kill()
  })

  it('writes together what came while it was writing', async () => {
    const disk = await Disk.start()
    const history = new WrittenHistory()
    const journal = await disk.open()
    const steps: Step[] = []
    disk.fs.next = step => {
      steps.push(step)
      return 'ok'
    }
    const all = Array.from({ length: 50 }, () => written(journal, history.batch(['entry'])))
    await Promise.all(all)
    expect(steps).toEqual(['write', 'datasync'])
    steps.length = 0
    await Promise.all([written(journal, []), written(journal, [])])
    expect(steps).toEqual([])
    disk.kill()
  })

  it('fails once when the disk is full, and acknowledges nothing after that', async () => {
    const disk = await Disk.start()
    const history = new WrittenHistory()
    const journal = await disk.open()
    disk.fs.next = () => 'ENOSPC'
    let acknowledged = 0
    for (let index = 0; index < 5; index++) {
      journal.write(history.batch(['entry']), () => acknowledged++)
      await settled()
    }
    expect([acknowledged, disk.failures]).toEqual([0, [`disk: no space left (${disk.path})`]])
    await journal.close()
    disk.fs.next = step => (step === 'read' ? 'EIO' : 'ok')
    await expect(disk.open()).rejects.toThrow(/disk: input\/output error/)
    disk.fs.next = () => 'ok'
    expect((await disk.open()).recovered.journal).toBe(journal.recovered.journal)
    disk.kill()
  })

  it('fails when a write is not done in five seconds, and can be opened again when it is', async () => {
    const disk = await Disk.start()
    const history = new WrittenHistory()
    const journal = await disk.open()
    disk.fs.next = step => (step === 'datasync' ? 'held' : 'ok')
    journal.write(history.batch(['entry']), () => expect.unreachable('nothing is acknowledged'))
    await disk.clock.advance(4_999)
    expect(disk.failures).toEqual([])
    await disk.clock.advance(1)
    expect(disk.failures).toEqual([`disk: not written in 5000 ms (${disk.path})`])
    let closed = false
    const closing = journal.close().then(() => {
      closed = true
    })
    await settled()
    expect(closed).toBe(false)
    await expect(disk.open()).rejects.toThrow('is open')
    disk.fs.next = () => 'ok'
    disk.fs.release()
    await closing
    expect((await disk.open()).recovered.history.tail.seq).toBe(1)
    disk.kill()
  })
})

/** A journal with a header and six frames, closed. */
async function sixFrames(): Promise<{ disk: Disk; history: WrittenHistory; identity: string; used: number }> {
  const disk = await Disk.start()
  const history = new WrittenHistory()
  const journal = await disk.open()
  for (let index = 0; index < 6; index++) await written(journal, history.batch(['epoch', 'entry']))
  await journal.close()
  const used = disk.fs.bytesOf(disk.path).findLastIndex(each => each !== 0) + 1
  return { disk, history, identity: journal.recovered.journal, used }
}

async function found(disk: Disk): Promise<{ journal: string; summary: Summary }> {
  const journal = await disk.open()
  await journal.close()
  return { journal: journal.recovered.journal, summary: summaryOf(journal.recovered) }
}

describe('what is found of a journal', () => {
  it('is its first part when its last write is not whole, wherever that ends, and it goes on from there', async () => {
    const { disk, history, identity, used } = await sixFrames()
    const bytes = disk.fs.bytesOf(disk.path)
    let before = 0
    for (let end = 400; end <= used; end++) {
      disk.fs.patch(disk.path, () => Buffer.from(bytes).fill(0, end))
      const { journal, summary } = await found(disk)
      if (journal !== identity) throw new Error(`cut at ${end} it is another journal`)
      const at = history.summaries.findIndex(each => each.tail === summary.tail && each.epoch === summary.epoch)
      expect(at, `cut at ${end}`).toBeGreaterThanOrEqual(before)
      before = at
    }
    expect(before).toBe(6)
    expect(disk.log.said).toContain('the last write to a journal was not whole: cut off')
    disk.kill()
  })

  it('is not trusted when anything before the last frame is damaged', async () => {
    const { disk, history, identity, used } = await sixFrames()
    const bytes = disk.fs.bytesOf(disk.path)
    let trusted = 0
    for (let at = 0; at < used; at += 3) {
      disk.fs.patch(disk.path, () => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= 1 << (at % 8)
        return damaged
      })
      const { journal, summary } = await found(disk)
      if (journal === identity) {
        trusted++
        // The last frame may be a write that was not whole, and what fills a frame up means nothing.
        expect(history.summaries.slice(5)).toContainEqual(summary)
      } else {
        expect(summary).toMatchObject({ epoch: 0, committed: 0 })
        disk.fs.patch(disk.path, () => bytes)
      }
    }
    expect(trusted).toBeLessThan(used / 3 / 4)
    disk.kill()
  })

  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['is shorter than it was', bytes => bytes.subarray(0, bytes.byteLength - 1), '1 bytes are missing at its end'],
    ['is empty', () => Buffer.alloc(0), 'it has no header'],
    ['is something else', () => Buffer.from('x'.repeat(70_000)), 'it has no header'],
  ])('is not trusted when the file %s; what is set aside is kept for a day', async (_name, change, reason) => {
    const { disk, identity } = await sixFrames()
    const said: unknown[] = []
    disk.log.error = fields => void said.push(fields)
    disk.fs.patch(disk.path, change)
    const { journal, summary } = await found(disk)
    expect(journal).not.toBe(identity)
    expect(summary).toMatchObject({ epoch: 0, committed: 0 })
    expect(said).toEqual([{ instance: 'shop.1', since: 7, reason }])
    const trash = () => disk.fs.paths.filter(each => each.includes('/.trash/'))
    expect(trash()).toHaveLength(1)
    await disk.clock.advance(23 * 3_600_000)
    expect(trash()).toHaveLength(1)
    await disk.clock.advance(2 * 3_600_000)
    expect(trash()).toEqual([])
    disk.kill()
  })

  it('is not trusted when it is that of another instance', async () => {
    const { disk, identity } = await sixFrames()
    const bytes = disk.fs.bytesOf(disk.path)
    const other = await disk.journals.open('shop.2', 7, false, () => undefined)
    await other.close()
    const path = disk.path.replace('shop+1', 'shop+2')
    disk.fs.patch(path, () => bytes)
    const again = await disk.journals.open('shop.2', 7, false, () => undefined)
    expect(again.recovered).toMatchObject({ epoch: 0, committed: 0 })
    expect(again.recovered.journal).not.toBe(identity)
    disk.kill()
  })

  it('is left alone when a newer release wrote it', async () => {
    const { disk, identity } = await sixFrames()
    const bytes = disk.fs.bytesOf(disk.path)
    disk.fs.patch(disk.path, before => {
      const { journal, instance, since } = { journal: identity, instance: 'shop.1', since: 7 }
      const header = packHeader({ format: 2, journal, instance, since, salt: 1, room: before.byteLength, born: 0 })
      return Buffer.concat([header, before.subarray(header.byteLength)])
    })
    await expect(disk.open()).rejects.toThrow('the journal of shop.1 is of a newer release (format 2): run that one')
    disk.fs.patch(disk.path, () => bytes)
    expect((await found(disk)).journal).toBe(identity)
    disk.kill()
  })

  it('is another journal when it is to be one, and for another life of the instance', async () => {
    const { disk, identity } = await sixFrames()
    const other = await disk.journals.open('shop.1', 8, false, () => undefined)
    expect(other.recovered.journal).not.toBe(identity)
    const anew = await disk.open(true)
    expect(anew.recovered).toMatchObject({ epoch: 0, committed: 0 })
    expect(anew.recovered.journal).not.toBe(identity)
    await anew.close()
    expect((await found(disk)).journal).toBe(anew.recovered.journal)
    disk.kill()
  })

  it('is nothing after it was discarded, or was not wanted any more', async () => {
    const { disk, identity } = await sixFrames()
    await disk.journals.discard('shop.1', 7)
    await disk.journals.discard('shop.1', 7)
    const second = (await found(disk)).journal
    expect(second).not.toBe(identity)
    await disk.journals.keepOnly([{ instance: 'shop.1', since: 7 }])
    expect((await found(disk)).journal).toBe(second)
    const open = await disk.journals.open('shop.2', 9, false, () => undefined)
    await disk.journals.keepOnly([])
    expect((await found(disk)).journal).not.toBe(second)
    await open.close()
    disk.kill()
  })
})

describe('the directory of journals', () => {
  it('does one thing after the other with each, whoever wants it', async () => {
    const { disk, identity } = await sixFrames()
    const { journals } = disk
    await Promise.all([journals.keepOnly([]), journals.discard('shop.1', 7), journals.discard('shop.1', 7)])
    const [opened] = await Promise.all([
      journals.open('shop.1', 7, false, () => undefined),
      journals.keepOnly([]),
      journals.discard('shop.1', 7),
    ])
    expect(opened.recovered.journal).not.toBe(identity)
    await opened.close()
    expect((await found(disk)).journal).toBe(opened.recovered.journal)
    disk.kill()
  })

  it('is for one process only: another one is told which', async () => {
    const { journals, directory, log, clock } = await Disk.start()
    const again = Journals.start({ directory, log, clock, chance: systemChance })
    await expect(again).rejects.toThrow(`${directory} is in use by process ${process.pid}: stop that one, or give`)
    journals.close()
  })

  it('is taken over from processes that are no more, also when their numbers have come again', async () => {
    const disk = new Disk()
    writeFileSync(join(disk.directory, `.lock.${process.ppid}.12-00000000`), '')
    writeFileSync(join(disk.directory, '.lock.4194303.12-00000000'), '')
    await disk.start()
    expect(readdirSync(disk.directory)).toHaveLength(1)
    disk.kill()
    expect(readdirSync(disk.directory)).toEqual([])
  })

  it('has to be one that can be written', async () => {
    const { directory, log, clock } = new Disk()
    writeFileSync(join(directory, 'file'), '')
    const starts = Journals.start({ directory: join(directory, 'file'), log, clock, chance: systemChance })
    await expect(starts).rejects.toMatchObject({ code: 'misconfigured' })
  })
})
