/**
 * F21: the process that writes a journal is killed, again and again, wherever it happens to be. (Each step of a write
 * and of a replacement is failed one by one in `test/mothership/state/journal.test.ts`.)
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { bundle } from '../support/bundle.js'
import { JournalProcess } from '../support/journal-process.js'
import { report } from './support/rows.js'

const kills = 40

it('F21, a journal has everything that was said to be durable, however its process was killed', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rain-journal-'))
  try {
    const program = await bundle('test/support/journal-writer.ts', directory)
    let durable = 0
    let lost = 0
    let journal: string | undefined
    for (let n = 0; n < kills; n++) {
      const writer = new JournalProcess(program, join(directory, 'journals'))
      await writer.until('the journal is open', () => writer.found !== undefined)
      lost = Math.max(lost, durable - writer.found!.seq)
      expect(writer.found!.journal).toBe((journal ??= writer.found!.journal))
      // Somewhere between two replacements of the file, another place each time.
      const enough = writer.found!.seq + 40 + ((n * 67) % 300)
      await writer.until(`${enough} changes are durable`, () => writer.durable >= enough)
      await writer.kill()
      durable = writer.durable
    }
    const figure = `${durable} changes, ${lost} lost, the same journal throughout`
    report({ id: 'F21', fault: 'process of a journal killed', figure, bar: '0 lost', ok: lost === 0, n: kills })
    expect(lost).toBe(0)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}, 180_000)
