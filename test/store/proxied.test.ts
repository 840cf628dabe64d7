/** The store over a real member, behind a proxy that loses what the network can lose. */
import { execFileSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Applied } from '../../src/cloud/map.js'
import { put, remove } from '../../src/cloud/records.js'
import type { CommitResult } from '../../src/hypervisor/ports.js'
import { Keys } from '../../src/store/keys.js'
import { ReplicaMap } from '../../src/store/replica-map.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { writeValue } from '../../src/store/values.js'
import { startEtcd, type TestEtcd, waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { TestProxy } from '../support/proxy.js'
import { aMothership } from '../support/records.js'
import {
  aBatch,
  aStore,
  aTerm,
  auditOf,
  chance,
  freshCluster,
  memoryOf,
  PausableClock,
  quiet,
  rangeOf,
} from '../support/stores.js'

/** More than any other traffic: a transaction of a term is on its way. */
const txnBytesMin = 400

describe('the store behind a proxy', () => {
  let members: TestEtcd
  let proxy: TestProxy
  let proxied: EtcdTransport
  let direct: EtcdTransport
  let cluster: string
  let keys: Keys

  beforeAll(async () => {
    members = await startEtcd(1)
    direct = new EtcdTransport(members.urls, 0)
  })
  beforeEach(async () => {
    proxy = await TestProxy.start(members.urls[0]!)
    proxied = new EtcdTransport([proxy.url], 0)
    cluster = freshCluster()
    keys = new Keys(cluster)
  })
  afterEach(async () => {
    await proxied.close()
    await proxy.stop()
  })
  afterAll(async () => {
    await direct.close()
    await members.stop()
  })

  const compact = (revision: number): void => {
    const env = { ...process.env, ETCDCTL_API: '3' }
    execFileSync('etcdctl', ['--endpoints', members.urls[0]!, 'compact', String(revision)], { env, stdio: 'pipe' })
  }
  const mothership = async (id: string) => (await direct.range({ key: keys.record('motherships', id) }, 5_000)).items[0]
  const write = async (ids: readonly string[], text = ''): Promise<number> => {
    const success = ids.map(id => {
      const value = writeValue('motherships', aMothership(id, { labels: { text } }))
      return { put: keys.record('motherships', id), value }
    })
    return (await direct.txn({ compare: [], success }, 5_000)).revision
  }
  const aMap = async (events = {}): Promise<ReplicaMap> => {
    const map = new ReplicaMap({ etcd: proxied, keys, clock: testClock, chance, log: quiet, events })
    await map.open()
    return map
  }

  it('applies a transaction whose reply was cut exactly once, and says so', async () => {
    const ambiguous: string[] = []
    const term = await aTerm(proxied, { cluster, events: { onAmbiguous: how => void ambiguous.push(how) } })
    await term.commit(aBatch('m0'))
    for (let round = 1; round <= 10; round++) {
      proxy.hold('replies')
      const result = term.commit(aBatch(`m${round}`))
      await waitUntil('the transaction is applied', async () => (await mothership(`m${round}`)) !== undefined)
      proxy.cut()
      proxy.release()

      const { modified } = (await mothership(`m${round}`))!
      expect(await result).toEqual({ kind: 'committed', revision: modified })
    }
    expect(ambiguous).toEqual(Array.from({ length: 10 }, () => 'landed'))
    const audit = await auditOf(direct, cluster)
    expect(audit.map(each => [each.number, each.entries[0]!.subjects[0]])).toEqual(
      Array.from({ length: 11 }, (_, i) => [i + 1, `m${i}`]),
    )
  })

  it('sends a transaction again that was cut on its way there', async () => {
    const ambiguous: string[] = []
    const term = await aTerm(proxied, { cluster, events: { onAmbiguous: how => void ambiguous.push(how) } })
    await term.commit(aBatch('m0'))
    proxy.hold('requests')
    const results = [term.commit(aBatch('m1')), term.commit(aBatch('m2'))]
    await waitUntil('the transaction is on its way', () => proxy.heldBytes('requests') > txnBytesMin)
    proxy.cut()
    proxy.release()

    expect(await Promise.all(results)).toMatchObject([{ kind: 'committed' }, { kind: 'committed' }])
    expect(ambiguous).toEqual(['sent-again'])
    expect((await auditOf(direct, cluster)).map(each => each.entries[0]!.subjects[0])).toEqual(['m0', 'm1', 'm2'])
  })

  it('commits nothing for a leader that was stopped, wakes after its lease, and has a transaction on its way', async () => {
    const clock = new PausableClock()
    const paused = await aStore('h1', proxied, { cluster, clock })
    await waitUntil('h1 leads', () => paused.term() !== undefined)
    const old = paused.term()!
    await old.commit(aBatch('before'))
    const other = await aStore('h2', direct, { cluster })

    proxy.hold('requests', 'replies')
    clock.hold()
    const late = old.commit(aBatch('late'))
    await waitUntil('the transaction is on its way', () => proxy.heldBytes('requests') > txnBytesMin)
    await waitUntil('h2 leads', () => other.term() !== undefined)
    expect(await other.term()!.commit(aBatch('after'))).toMatchObject({ kind: 'committed' })
    expect(old.valid()).toBe(true) // by its own clock: what refuses its transaction is etcd
    proxy.release()
    clock.release()

    expect(await late).toEqual({ kind: 'superseded' })
    expect(await old.commit(aBatch('later'))).toEqual({ kind: 'superseded' })
    expect(await mothership('late')).toBeUndefined()
    expect((await auditOf(direct, cluster)).map(each => [each.token, each.entries[0]!.subjects[0]])).toEqual([
      [old.token, 'before'],
      [other.term()!.token, 'after'],
    ])
    await other.close()
    await paused.close()
  })

  it('ends the term of a leader that is cut off before its key is gone', async () => {
    const store = await aStore('h1', proxied, { cluster })
    await waitUntil('h1 leads', () => store.term() !== undefined)
    const term = store.term()!
    proxy.hold('requests', 'replies')
    await waitUntil('the leader key is gone', async () => {
      const { items } = await direct.range({ key: keys.record('leader', '') }, 5_000)
      return items.length === 0
    })
    expect(term.valid()).toBe(false)
    expect(await term.ended).toBe('etcd does not answer')
    proxy.release()
    await waitUntil('h1 leads again', () => (store.term()?.token ?? 0) > term.token)
    await store.close()
  })

  it('writes nothing in a term that others ended, and keeps its audit apart', async () => {
    const old = await aTerm(proxied, { cluster })
    await old.commit(aBatch('a'))
    const now = await aTerm(direct, { cluster })
    const results: CommitResult[] = []
    for (const id of ['b', 'c']) results.push(await old.commit(aBatch(id)), await now.commit(aBatch(`${id}-now`)))

    expect(results.map(each => each.kind)).toEqual(['superseded', 'committed', 'superseded', 'committed'])
    expect(await old.ended).toBe('another replica leads')
    expect((await auditOf(direct, cluster)).map(each => each.entries[0]!.subjects[0])).toEqual(['a', 'b-now', 'c-now'])
  })

  it('loses nothing of a large backlog, and repeats nothing, when the watch is cut in the middle of it', async () => {
    const reasons: string[] = []
    const map = await aMap({
      onReopen: () => void reasons.push('reopen'),
      onResync: () => void reasons.push('resync'),
    })
    const seen: Applied[] = []
    const revisions: number[] = []
    map.onChange((changes, order) => {
      seen.push(...changes)
      revisions.push(order.revision)
    })
    proxy.refuse()
    // A response holds a thousand revisions. With these values that is more than one fragment, and fragments end
    // within revisions.
    const text = 'x'.repeat(400)
    const written: number[] = []
    const writers = Array.from({ length: 32 }, async (_, writer) => {
      const ids = ['a', 'b', 'c', 'd', 'e'].map(id => id + writer)
      for (let i = 0; i < 100; i++) written.push(await write(ids, text))
    })
    await Promise.all(writers)
    proxy.limitReplies(200_000, 3_500_000, 2_300_000, 4_500_000)
    proxy.accept()
    await map.waitFor({ era: 1, revision: Math.max(...written) }, 15_000)

    expect(proxy.limitsLeft).toBe(0)
    expect(reasons).not.toContain('resync')
    expect(revisions).toEqual([...written].sort((a, b) => a - b))
    expect(seen.length).toBe(5 * written.length)
    expect(memoryOf(map.map, cluster)).toEqual(await rangeOf(direct, map.map.order.revision, cluster))
    map.close()
  })

  it('reads the map anew when its history is compacted meanwhile, and tells only what is different', async () => {
    await write(['stays', 'changes', 'goes'])
    const resyncs: string[] = []
    const map = await aMap({ onResync: (reason: string) => void resyncs.push(reason) })
    const seen: Applied[] = []
    map.onChange(changes => void seen.push(...changes))
    proxy.refuse()
    await write(['changes', 'comes', 'passes'], 'new')
    const last = await direct.txn(
      { compare: [], success: ['goes', 'passes'].map(id => ({ delete: keys.record('motherships', id) })) },
      5_000,
    )
    compact(last.revision)
    proxy.accept()
    await map.waitFor({ era: 1, revision: last.revision }, 15_000)

    expect(resyncs).toEqual(['the history was compacted'])
    const record = (id: string) => aMothership(id, { labels: { text: 'new' } })
    expect(seen).toHaveLength(3)
    expect(seen).toEqual(
      expect.arrayContaining([
        expect.objectContaining(put('motherships', 'changes', record('changes'))),
        expect.objectContaining(put('motherships', 'comes', record('comes'))),
        expect.objectContaining(remove('motherships', 'goes')),
      ]),
    )
    expect(memoryOf(map.map, cluster)).toEqual(await rangeOf(direct, map.map.order.revision, cluster))
    const next = await write(['afterwards'])
    await map.waitFor({ era: 1, revision: next }, 15_000)
    expect(map.map.get('motherships', 'afterwards')).toBeDefined()
    map.close()
  })
})
