/**
 * A process that writes into a journal as fast as it can, 16 changes outstanding, and says what is durable: `found N`,
 * then `durable N` again and again, until it is killed. `failed …`: what the journal says of its disk.
 */
import { writeSync } from 'node:fs'
import { entryAfter } from '../../src/cloud/replication/entry.js'
import { systemChance, systemClock } from '../../src/main/world.js'
import { Journals } from '../../src/mothership/state/journals.js'

const [, , directory = '.', padding = '200'] = process.argv
const say = (line: string): void => void writeSync(1, `${line}\n`)
const log = { info() {}, warn: (_: object, text: string) => say(text), error: (_: object, text: string) => say(text) }

const journals = await Journals.start({ directory, clock: systemClock, chance: systemChance, log })
const { recovered, write } = await journals.open('shop.1', 1, false, reason => say(`failed ${reason}`))
const { history } = recovered
say(`found ${history.tail.seq} ${recovered.journal}`)

function next(): void {
  const { seq } = history.tail
  const value = 'x'.repeat(Number(padding))
  const entry = entryAfter(
    history.tail,
    1,
    JSON.stringify({ id: `r${seq}`, patches: [{ op: 'add', path: ['a'], value }] }),
  )
  history.append(entry)
  write([{ k: 'entry', entry }], () => {
    say(`durable ${entry.seq}`)
    next()
  })
  if (history.length < 300) return
  // As a copy does from time to time.
  history.settle(entry.seq)
  const at = history.base
  write([{ k: 'whole', epoch: 1, at, state: history.stateAt(at.seq), committed: at.seq, entries: [] }], () => undefined)
}
for (let outstanding = 0; outstanding < 16; outstanding++) next()
