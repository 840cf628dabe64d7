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
