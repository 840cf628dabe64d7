/**
 * Kept state with real parts: motherships as processes with journals on a disk and links over sockets, killed and moved
 * while users change the state. What was acknowledged is there, once, in an order that real time allows.
 */
import { rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../../support/etcd.js'
import { KeptCloud } from '../../support/kept-cloud.js'

let cloud: KeptCloud | undefined
afterEach(async () => {
  await cloud?.close()
  cloud = undefined
})

/** Everywhere the same; 0 acknowledged changes lost, none made twice, none before one that had ended when it began. */
async function nothingIsLost(of: KeptCloud): Promise<void> {
  const readers = of.record.inSync.filter(id => of.up.includes(id))
  const [log = [], ...others] = await Promise.all(readers.map(id => of.read(id)))
  for (const other of others) expect(other).toEqual(log)
  expect(new Set(log).size, 'each of them once').toBe(log.length)
  const made = of.changes.filter(each => each.reply !== undefined)
  expect(made.filter(each => log[each.reply! - 1] !== each.id)).toEqual([])
  let ended = 0
  const byEnd = [...made].sort((one, other) => one.endedMs - other.endedMs)
  let next = 0
  for (const { id, begunMs, reply } of [...made].sort((one, other) => one.begunMs - other.begunMs)) {
    for (; byEnd[next]!.endedMs < begunMs; next++) ended = Math.max(ended, byEnd[next]!.reply!)
    expect(reply, `${id} comes after what had ended before it began`).toBeGreaterThan(ended)
  }
}

describe('state that is kept on two motherships', () => {
  it('is on both when a change is acknowledged, wherever it was asked for', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    expect(await cloud.change('one', () => 'a')).toBe(1)
    expect(await cloud.change('two', () => 'b')).toBe(2)
    expect(await cloud.change('one', () => 'b')).toBe(1)
    expect([await cloud.read('a'), await cloud.read('b')]).toEqual([
      ['one', 'two'],
      ['one', 'two'],
    ])
  })

  it('is read with a change that somebody has seen, also where it may be old and the copy has not heard of it', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    const { primary } = cloud.record
    const backup = primary === 'a' ? 'b' : 'a'
    for (let seq = 1; seq <= 20; seq++) {
      expect(await cloud.change(`c${seq}`, () => primary)).toBe(seq)
      expect((await cloud.read(backup, 60_000, seq))?.length).toBe(seq)
    }
  })

  it('outlives the backup, which learns what it missed', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    cloud.use(8)
    for (let round = 0; round < 3; round++) {
      await cloud.until(30)
      await cloud.kill('b')
      await cloud.until(30)
      expect(cloud.record.inSync).toEqual(['a'])
      await cloud.begin('b')
      await cloud.inSync(2)
    }
    await cloud.until(30)
    await cloud.stop()
    expect(cloud.record.primary).toBe('a')
    await nothingIsLost(cloud)
  }, 120_000)

  it('outlives the primary: the backup goes on, and the other one learns from it', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    cloud.use(8)
    for (let round = 0; round < 4; round++) {
      await cloud.until(40)
      const { primary } = cloud.record
      await cloud.kill(primary)
      await cloud.until(40)
      expect(cloud.record.primary).not.toBe(primary)
      await cloud.begin(primary)
      await cloud.inSync(2)
    }
    await cloud.stop()
    await nothingIsLost(cloud)
  }, 120_000)

  it('outlives both, and waits for them', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    cloud.use(8)
    for (const first of ['a', 'b']) {
      await cloud.until(40)
      await Promise.all(cloud.up.map(id => cloud!.kill(id)))
      const { acknowledged } = cloud
      const second = first === 'a' ? 'b' : 'a'
      await cloud.begin(first)
      await cloud.begin(second)
      await cloud.inSync(2)
      await cloud.until(40)
      expect(cloud.acknowledged).toBeGreaterThan(acknowledged)
    }
    await cloud.stop()
    await nothingIsLost(cloud)
  }, 120_000)

  it('is changed without a gap while its primary is moved to and fro', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    cloud.use(8)
    for (let round = 0; round < 20; round++) {
      await cloud.until(15)
      cloud.reconfigure({ primary: cloud.record.primary === 'a' ? 'b' : 'a' })
    }
    await cloud.until(15)
    await cloud.stop()
    expect(cloud.record.inSync).toEqual(['a', 'b'])
    await nothingIsLost(cloud)
  }, 120_000)

  it('is learnt anew by a backup whose journal is gone, or was cut short', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    cloud.use(4)
    for (const harm of [gone, cutShort]) {
      await cloud.until(30)
      const before = cloud.record.journals?.['b']
      await cloud.kill('b')
      harm(join(cloud.directory, 'b'))
      await cloud.begin('b')
      // Until the leader has heard of it, the record names the journal of before.
      await waitUntil('the old journal counts no more', () => cloud?.record.journals?.['b'] !== before)
      await cloud.inSync(2)
      expect(cloud.record.journals?.['b']).not.toBe(before)
    }
    await cloud.stop()
    await nothingIsLost(cloud)
  }, 120_000)

  it('is not lost with a primary that stands still, whose backup goes on meanwhile', async () => {
    cloud = await KeptCloud.start(['a', 'b'])
    // Answers are remembered for the last 1,024 changes: fewer are made meanwhile.
    cloud.use(4, 20)
    await cloud.until(40)
    cloud.signal('a', 'SIGSTOP')
    // As the leader says when it hears nothing of it.
    cloud.reconfigure({ primary: 'b', inSync: ['b'], learners: ['a'], journals: { b: cloud.record.journals!['b']! } })
    await cloud.until(40)
    cloud.signal('a', 'SIGCONT')
    await cloud.inSync(2)
    await cloud.until(40)
    await cloud.stop()
    await nothingIsLost(cloud)
  }, 120_000)
})

const journalIn = (directory: string): string => join(directory, 'shop+1.7', 'journal')
const gone = (directory: string): void => rmSync(directory, { recursive: true })
const cutShort = (directory: string): void =>
  truncateSync(journalIn(directory), statSync(journalIn(directory)).size / 2)

describe('state that is kept on three motherships', () => {
  it('outlives any of them, one after the other', async () => {
    cloud = await KeptCloud.start(['a', 'b', 'c'])
    cloud.use(8)
    for (const id of ['c', 'a', 'b', 'a', 'c', 'b']) {
      await cloud.until(30)
      await cloud.kill(id)
      await cloud.until(30)
      await cloud.begin(id)
      await cloud.inSync(3)
    }
    await cloud.stop()
    await nothingIsLost(cloud)
  }, 180_000)
})
