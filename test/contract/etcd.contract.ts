/** What the store relies on of etcd: run on real etcd and on the in-memory twin alike. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Etcd, EtcdFailure, prefixEnd, type WatchEvent, type Watching } from '../../src/store/etcd.js'
import { waitUntil } from '../support/etcd.js'

export interface EtcdUnderTest {
  readonly etcd: Etcd
  compact(revision: number): Promise<void>
  stop(): Promise<void>
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | null | undefined): string | null => (value ? Buffer.from(value).toString() : null)
const second = 5_000

export function etcdContract(name: string, start: () => Promise<EtcdUnderTest>): void {
  describe(`${name} as an etcd`, () => {
    let subject: EtcdUnderTest
    let etcd: Etcd
    let run = 0
    let at = ''
    const fresh = (): string => {
      at = `/contract/${++run}/`
      return at
    }

    beforeAll(async () => {
      subject = await start()
      etcd = subject.etcd
    })
    afterAll(() => subject.stop())

    const put = async (key: string, value: string, lease?: string): Promise<number> => {
      const success = [{ put: key, value: bytes(value), ...(lease ? { lease } : {}) }]
      return (await etcd.txn({ compare: [], success }, second)).revision
    }

    it('raises the revision with each transaction that writes, and keeps created and modified apart', async () => {
      const key = `${fresh()}a`
      const first = await put(key, '1')
      const then = await put(key, '2')
      const { items, revision } = await etcd.range({ key }, second)

      expect(then).toBeGreaterThan(first)
      expect(revision).toBeGreaterThanOrEqual(then)
      expect(items).toMatchObject([{ key, created: first, modified: then }])
      expect(text(items[0]!.value)).toBe('2')
    })

    it('pages a range at one revision, in order of the keys, whatever is written meanwhile', async () => {
      const prefix = fresh()
      for (const id of ['c', 'a', 'b']) await put(prefix + id, id)
      const one = await etcd.range({ key: prefix, end: prefixEnd(prefix), limit: 2 }, second)
      await put(`${prefix}d`, 'd')
      const rest = { key: `${one.items[1]!.key}\0`, end: prefixEnd(prefix), revision: one.revision }
      const two = await etcd.range(rest, second)

      expect(one.items.map(each => text(each.value))).toEqual(['a', 'b'])
      expect(one.more).toBe(true)
      expect(two.items.map(each => text(each.value))).toEqual(['c'])
      expect(two.more).toBe(false)
      expect((await etcd.range({ key: prefix, end: prefixEnd(prefix), countOnly: true }, second)).count).toBe(4)
      const { items } = await etcd.range({ key: prefix, end: prefixEnd(prefix), keysOnly: true }, second)
      expect(items.map(each => [each.key, each.value.byteLength])).toEqual(
        ['a', 'b', 'c', 'd'].map(id => [prefix + id, 0]),
      )
    })

    it('takes the success branch only if every compare holds, else the failure branch, at one revision', async () => {
      const prefix = fresh()
      const created = await put(`${prefix}leader`, 'me')
      const compare = [
        { key: `${prefix}leader`, created },
        { key: `${prefix}turn`, modified: 0 },
      ]
      const success = [
        { put: `${prefix}turn`, value: bytes('1') },
        { put: `${prefix}x`, value: bytes('1') },
      ]
      const failure = [{ get: `${prefix}leader` }, { get: `${prefix}missing` }]
      const won = await etcd.txn({ compare, success, failure }, second)
      const lost = await etcd.txn({ compare, success, failure }, second)

      expect(won.succeeded).toBe(true)
      expect(lost.succeeded).toBe(false)
      expect(lost.found.map(each => text(each?.value))).toEqual(['me', null])
      const { items } = await etcd.range({ key: prefix, end: prefixEnd(prefix) }, second)
      expect(items.map(each => [each.key.slice(prefix.length), each.modified])).toEqual([
        ['leader', created],
        ['turn', won.revision],
        ['x', won.revision],
      ])
    })

    it('compares that a key exists', async () => {
      const key = `${fresh()}a`
      const request = { compare: [{ key, exists: true as const }], success: [] }
      expect((await etcd.txn(request, second)).succeeded).toBe(false)
      await put(key, '1')
      expect((await etcd.txn(request, second)).succeeded).toBe(true)
      await etcd.txn({ compare: [], success: [{ delete: key }] }, second)
      expect((await etcd.txn(request, second)).succeeded).toBe(false)
    })

    it('refuses a transaction with too many operations, or a key twice, and has not written any of it', async () => {
      const prefix = fresh()
      const many = Array.from({ length: 129 }, (_, i) => ({ put: `${prefix}${i}`, value: bytes('x') }))
      const twice = [many[0]!, many[0]!]
      for (const success of [many, twice]) {
        const failure = await etcd.txn({ compare: [], success }, second).catch((error: unknown) => error)
        expect(failure).toBeInstanceOf(EtcdFailure)
        expect(failure).toMatchObject({ kind: 'invalid', sent: false })
      }
      expect((await etcd.range({ key: prefix, end: prefixEnd(prefix) }, second)).items).toEqual([])
    })

    it('refuses a transaction that is too large, and goes on', async () => {
      const prefix = fresh()
      for (const bytes of [800_000, 1_200_000, 4_000_000]) {
        const success = ['a', 'b'].map(id => ({ put: prefix + id, value: Buffer.alloc(bytes) }))
        const failure = await etcd.txn({ compare: [], success }, second).catch((error: unknown) => error)
        expect(failure).toMatchObject({ kind: 'too-large', sent: false })
      }
      expect((await etcd.range({ key: prefix, end: prefixEnd(prefix) }, second)).items).toEqual([])
    })

    it('shows a transaction what it has written itself, and a reader nothing of it when it was refused', async () => {
      const key = `${fresh()}a`
      const success = [{ put: key, value: bytes('1') }, { get: key }]
      const done = await etcd.txn({ compare: [{ key, created: 0 }], success }, second)
      const refused = await etcd.txn({ compare: [{ key, created: 0 }], success }, second)

      expect(done.found.map(each => each && [text(each.value), each.modified])).toEqual([
        undefined,
        ['1', done.revision],
      ])
      expect(refused).toMatchObject({ succeeded: false, found: [] })
      expect((await etcd.range({ key }, second)).items[0]!.modified).toBe(done.revision)
    })

    it('raises no revision when nothing is changed', async () => {
      const key = `${fresh()}a`
      const before = await put(key, '1')
      const gone = await etcd.txn({ compare: [], success: [{ delete: `${key}b` }] }, second)
      const none = await etcd.txn({ compare: [{ key, created: 0 }], success: [{ delete: key }] }, second)
      expect([gone.revision, none.revision]).toEqual([before, before])
    })

    it('reads a deleted key where it still was, and makes it anew afterwards', async () => {
      const key = `${fresh()}a`
      const first = await put(key, '1')
      const gone = await etcd.txn({ compare: [], success: [{ delete: key }] }, second)
      const anew = await put(key, '2')
      const at = async (revision: number) => (await etcd.range({ key, revision }, second)).items

      expect(await at(first)).toMatchObject([{ created: first, modified: first, lease: '0' }])
      expect(await at(gone.revision)).toEqual([])
      expect(await at(anew)).toMatchObject([{ created: anew, modified: anew }])
    })

    it('catches a watch up that begins thousands of revisions ago, in order and without a gap', async () => {
      const prefix = fresh()
      const start = await put(`${prefix}0`, '0')
      const writers = Array.from({ length: 32 }, async (_, writer) => {
        for (let i = 0; i < 75; i++) await put(`${prefix}${writer}`, String(i))
      })
      await Promise.all(writers)
      const seen: number[] = []
      const watching = etcd.watch(
        { key: prefix, end: prefixEnd(prefix), start: start + 1 },
        { onEvents: events => seen.push(...events.map(each => each.modified)), onHeard() {}, onEnd() {} },
      )
      await waitUntil('all events', () => seen.length >= 32 * 75)
      watching.cancel()
      expect(seen).toEqual(Array.from({ length: 32 * 75 }, (_, i) => start + 1 + i))
    })

    it('watches from a revision on: every change in order, the changes of a revision together', async () => {
      const prefix = fresh()
      const start = await put(`${prefix}before`, '1')
      const seen: WatchEvent[][] = []
      const request = { key: prefix, end: prefixEnd(prefix), start: start + 1 }
      const watching = etcd.watch(request, { onEvents: events => seen.push([...events]), onHeard() {}, onEnd() {} })
      await put('/elsewhere', 'x')
      const success = ['a', 'b'].map(id => ({ put: prefix + id, value: bytes(id) }))
      const both = await etcd.txn({ compare: [], success }, second)
      const gone = await etcd.txn({ compare: [], success: [{ delete: `${prefix}a` }] }, second)
      await waitUntil('three events', () => seen.flat().length === 3)
      watching.cancel()

      expect(seen.flat().map(each => [each.key.slice(prefix.length), text(each.value), each.modified])).toEqual([
        ['a', 'a', both.revision],
        ['b', 'b', both.revision],
        ['a', null, gone.revision],
      ])
      expect(seen.find(events => events.some(each => each.modified === both.revision))!.length).toBeGreaterThan(1)
    })

    it('gives a sign of life when asked for one', async () => {
      const prefix = fresh()
      const start = await put(`${prefix}a`, '1')
      let heard = 0
      const handlers = { onEvents() {}, onHeard: () => void heard++, onEnd() {} }
      const watching = etcd.watch({ key: prefix, end: prefixEnd(prefix), start: start + 1 }, handlers)
      await waitUntil('the watch is made', () => heard > 0)
      const before = heard
      watching.requestProgress()
      await waitUntil('a sign of life', () => heard > before)
      watching.cancel()
      expect(heard).toBeGreaterThan(before)
    })

    it('ends a watch whose start was compacted, and refuses to read there', async () => {
      const prefix = fresh()
      const start = await put(`${prefix}a`, '1')
      const last = await put(`${prefix}a`, '2')
      await subject.compact(last)
      const ended = await new Promise<{ compacted?: number }>(onEnd => {
        etcd.watch({ key: prefix, end: prefixEnd(prefix), start }, { onEvents() {}, onHeard() {}, onEnd })
      })
      const read = await etcd.range({ key: `${prefix}a`, revision: start }, second).catch((error: unknown) => error)

      expect(ended.compacted).toBeGreaterThanOrEqual(last)
      expect(read).toMatchObject({ kind: 'compacted' })
    })

    it('goes on with a watch that is up to date when everything before is compacted', async () => {
      const prefix = fresh()
      const start = await put(`${prefix}a`, '1')
      const seen: number[] = []
      let ended = false
      const watching = etcd.watch(
        { key: prefix, end: prefixEnd(prefix), start },
        {
          onEvents: events => seen.push(...events.map(each => each.modified)),
          onHeard() {},
          onEnd: () => void (ended = true),
        },
      )
      const second = await put(`${prefix}a`, '2')
      await waitUntil('both events', () => seen.length === 2)
      await subject.compact(second)
      const third = await put(`${prefix}a`, '3')
      await waitUntil('the event after the compaction', () => seen.length === 3)
      watching.cancel()

      expect(seen).toEqual([start, second, third])
      expect(ended).toBe(false)
    })

    it('deletes the keys of a lease with it, and tells its keeper that it is gone', async () => {
      const key = `${fresh()}a`
      const { lease, ttlMs } = await etcd.grant(5, second)
      const put1 = await put(key, '1', lease)
      expect(ttlMs).toBeGreaterThanOrEqual(5_000)
      expect(await etcd.keepAlive(lease, second)).toBeGreaterThanOrEqual(5_000)
      const seen: WatchEvent[] = []
      const watching: Watching = etcd.watch(
        { key, end: prefixEnd(key), start: put1 + 1 },
        { onEvents: events => void seen.push(...events), onHeard() {}, onEnd() {} },
      )
      await etcd.revoke(lease, second)
      await waitUntil('the key is gone', () => seen.length > 0)
      watching.cancel()

      expect(seen[0]).toMatchObject({ key, value: null })
      expect(await etcd.keepAlive(lease, second)).toBe(0)
      const late = await etcd
        .txn({ compare: [], success: [{ put: key, value: bytes('1'), lease }] }, second)
        .catch(e => e)
      expect(late).toMatchObject({ kind: 'lease-gone', sent: false })
      await expect(etcd.revoke(lease, second)).rejects.toMatchObject({ kind: 'lease-gone' })
    })

    it('keeps a key that was put again without the lease, or on another one', async () => {
      const prefix = fresh()
      const [one, two] = [await etcd.grant(5, second), await etcd.grant(5, second)]
      for (const id of ['a', 'b', 'c']) await put(prefix + id, '1', one.lease)
      await put(`${prefix}b`, '2')
      await put(`${prefix}c`, '2', two.lease)
      const before = (await etcd.range({ key: `${prefix}c` }, second)).revision
      await etcd.revoke(one.lease, second)
      const { items, revision } = await etcd.range({ key: prefix, end: prefixEnd(prefix) }, second)

      expect(items.map(each => [each.key.slice(prefix.length), each.lease])).toEqual([
        ['b', '0'],
        ['c', two.lease],
      ])
      expect(revision).toBe(before + 1)
      await etcd.revoke(two.lease, second)
    })

    it('lets a lease that nobody keeps run out', async () => {
      const key = `${fresh()}a`
      const { lease } = await etcd.grant(2, second)
      await put(key, '1', lease)
      await waitUntil('the key is gone', async () => (await etcd.range({ key }, second)).items.length === 0, 15_000)
      expect(await etcd.keepAlive(lease, second)).toBe(0)
    })
  })
}
