/** Packages in chunks, and answers kept for requests, on the twin. */
import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { chunkBytes, EtcdBlobs } from '../../src/store/blobs.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdRequests, requestValue } from '../../src/store/requests.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { ManualClock } from '../support/manual-clock.js'

const keys = new Keys('test')
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

describe('packages in etcd', () => {
  const bytes = Buffer.alloc(chunkBytes * 2 + 7, 'abc')
  const digest = digestOf(bytes)
  let clock: ManualClock
  let etcd: TwinClient
  let blobs: EtcdBlobs

  beforeEach(() => {
    clock = new ManualClock()
    etcd = new EtcdTwin(clock).client()
    blobs = new EtcdBlobs(etcd, keys, clock)
  })

  it('come back as they were, in as many chunks as were said', async () => {
    const chunks = await blobs.put(digest, bytes)
    expect(chunks).toBe(3)
    expect(bytes.equals((await blobs.get(digest, chunks))!)).toBe(true)
  })

  it('may be empty', async () => {
    const nothing = new Uint8Array()
    expect(await blobs.put(digestOf(nothing), nothing)).toBe(1)
    expect(await blobs.get(digestOf(nothing), 1)).toHaveLength(0)
  })

  it('are written once, whoever puts them how often, and whatever replies are lost', async () => {
    etcd.plan('reply-lost', 'refused', 'request-lost', 'passes', 'reply-lost')
    await clock.during(blobs.put(digest, bytes))
    const { revision } = await etcd.range({ key: keys.chunk(digest, 0) }, 1_000)
    await clock.during(blobs.put(digest, bytes))
    const after = await etcd.range({ ...keys.chunks(digest) }, 1_000)
    expect([after.revision, after.items.map(each => each.created === each.modified)]).toEqual([
      revision,
      [true, true, true],
    ])
    expect(bytes.equals((await blobs.get(digest, 3))!)).toBe(true)
  })

  it('are listed by their digests, with how many chunks there are of each', async () => {
    const small = Buffer.from('small')
    await Promise.all([blobs.put(digest, bytes), blobs.put(digestOf(small), small)])
    await etcd.txn({ compare: [], success: [{ delete: keys.chunk(digest, 1) }] }, 1_000)
    const others = { put: keys.record('settings', ''), value: Buffer.from('{}') }
    await etcd.txn({ compare: [], success: [others] }, 1_000)
    expect(await blobs.list()).toEqual(
      new Map([
        [digest, 2],
        [digestOf(small), 1],
      ]),
    )
    expect(await blobs.put(digest, bytes)).toBe(3)
    expect(bytes.equals((await blobs.get(digest, 3))!)).toBe(true)
  })

  it('are missing as a whole when a chunk is', async () => {
    await blobs.put(digest, bytes)
    await etcd.txn({ compare: [], success: [{ delete: keys.chunk(digest, 1) }] }, 1_000)
    expect(await blobs.get(digest, 3)).toBeUndefined()
  })

  it('are refused when they do not match their digest', async () => {
    await blobs.put(digest, bytes)
    const success = [{ put: keys.chunk(digest, 1), value: Buffer.from('x') }]
    await etcd.txn({ compare: [], success }, 1_000)
    await expect(blobs.get(digest, 3)).rejects.toMatchObject({ code: 'unreadable-value' })
  })

  it('fail with the store when that is away', async () => {
    etcd.cut()
    await expect(clock.during(blobs.put(digest, bytes))).rejects.toMatchObject({ code: 'store-unavailable' })
  })
})

describe('an answer kept for a request', () => {
  it('is told from that of another request, from none, and from what nobody can read', async () => {
    const clock = new ManualClock()
    const etcd = new EtcdTwin(clock).client()
    const requests = new EtcdRequests(etcd, keys, clock)
    const write = (id: string, value: string) =>
      etcd.txn({ compare: [], success: [{ put: keys.request(id), value: Buffer.from(value) }] }, 1_000)
    const record = {
      schema: 1,
      id: 'a/../b',
      fingerprint: 'f',
      done: true,
      answer: { outcome: 'unchanged', kind: 'instances', ids: [] },
      progress: 0,
    }
    await write('a/../b', JSON.stringify(record))
    await write('c', JSON.stringify(record))
    await write('d', 'not JSON')

    expect(await requests.read('a/../b')).toEqual(record)
    expect(await requests.read('none')).toBeUndefined()
    for (const id of ['c', 'd']) await expect(requests.read(id)).rejects.toMatchObject({ code: 'unreadable-value' })
  })

  it('keeps of numbered instances the first and their count, and tells all of them', async () => {
    const clock = new ManualClock()
    const etcd = new EtcdTwin(clock).client()
    const requests = new EtcdRequests(etcd, keys, clock)
    const many = ['news.7f', ...Array.from({ length: 999 }, (_, i) => `news.7f-${i + 1}`)]
    for (const ids of [many, [], ['news.7f'], ['a.1', 'b.1'], ['a.1', 'a.1-2'], ['a.1', 'a.1-1', 'a.1']]) {
      const answer = { outcome: 'created', kind: 'instances', ids } as const
      const record = { schema: 1, id: 'one', fingerprint: 'f', done: false, answer, progress: ids.length } as const
      const value = requestValue(record)
      await etcd.txn({ compare: [], success: [{ put: keys.request('one'), value }] }, 1_000)

      expect(await requests.read('one')).toEqual(record)
      expect(value.byteLength).toBeLessThan(200)
    }
  })
})
