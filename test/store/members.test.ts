/** The store over three real members, of which some die, stop or lose their quorum. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Keys } from '../../src/store/keys.js'
import { ReplicaMap } from '../../src/store/replica-map.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { writeValue } from '../../src/store/values.js'
import { startEtcd, type TestEtcd, waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { aMothership } from '../support/records.js'
import {
  aBatch,
  aStore,
  auditOf,
  chance,
  freshCluster,
  memoryOf,
  quiet,
  rangeOf,
  type TestStore,
} from '../support/stores.js'

/** Writes one mothership after another in whatever term there is, and remembers what it was told is written. */
class Writer {
  readonly acknowledged = new Map<string, number>()
  #closed = false
  readonly #done: Promise<void>

  constructor(private readonly store: TestStore) {
    this.#done = this.#run()
  }

  async stop(): Promise<void> {
    this.#closed = true
    await this.#done
  }

  /** Until so many more are acknowledged. */
  goesOn(count: number): Promise<void> {
    const enough = this.acknowledged.size + count
    return waitUntil(`${count} more writes`, () => this.acknowledged.size >= enough, 30_000)
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#closed; i++) {
      const term = this.store.term()
      if (!term) {
        await new Promise(resolve => setTimeout(resolve, 20))
        continue
      }
      const result = await term.commit(aBatch(`m${i}`))
      if (result.kind === 'committed') this.acknowledged.set(`m${i}`, result.revision)
    }
  }
}

describe('the store over three members', { timeout: 60_000 }, () => {
  let members: TestEtcd
  let etcd: EtcdTransport
  let cluster: string
  let store: TestStore
  let writer: Writer
  let revisions: number[]
  let resyncs: string[]

  beforeAll(async () => {
    members = await startEtcd(3)
  })
  beforeEach(async () => {
    cluster = freshCluster()
    etcd = new EtcdTransport(members.urls, 0)
    revisions = []
    resyncs = []
    store = await aStore('h1', etcd, { cluster, events: { onResync: reason => void resyncs.push(reason) } })
    store.maps.onChange((_, order) => void revisions.push(order.revision))
    writer = new Writer(store)
    await writer.goesOn(20)
  })
  afterEach(async () => {
    await writer.stop()
    await store.close()
    await etcd.close()
  })
  afterAll(() => members.stop())

  const attached = (): number => members.urls.indexOf(etcd.member)

  /** The member through which the others agree. */
  async function leading(): Promise<number> {
    const answers = await Promise.all(
      members.urls.map(async url => {
        const answer = await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}' })
        return (await answer.json()) as { leader: string; header: { member_id: string } }
      }),
    )
    return answers.findIndex(each => each.leader === each.header.member_id)
  }

  /** What was acknowledged is there, once, and the memory is what etcd has, with every revision seen once. */
  async function checkNothingIsLost(): Promise<void> {
    await writer.stop()
    const { revision } = await store.maps.catchUp(10_000)
    const memory = memoryOf(store.maps.map, cluster)
    expect(memory).toEqual(await rangeOf(etcd, revision, cluster))
    const written = [...writer.acknowledged].map(([id, modified]) => [id, modified])
    expect(written.map(([id]) => [id, store.maps.map.get('motherships', String(id))?.modified])).toEqual(written)
    const subjects = (await auditOf(etcd, cluster)).map(each => each.entries[0]!.subjects[0])
    expect(new Set(subjects).size).toBe(subjects.length)
    expect(resyncs).toEqual([])
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b))
    for (const [, modified] of written) expect(revisions).toContain(modified)
  }

  it('goes on when the member that it talks to is killed', async () => {
    const victim = attached()
    await members.kill(victim)
    await writer.goesOn(50)
    expect(attached()).not.toBe(victim)
    await checkNothingIsLost()
    await members.restart(victim)
  })

  it('goes on when the member that leads is killed', async () => {
    const victim = await leading()
    await members.kill(victim)
    await writer.goesOn(50)
    await checkNothingIsLost()
    await members.restart(victim)
  })

  it('goes on when the member that it talks to is stopped, and when that one wakes', async () => {
    const victim = attached()
    members.signal(victim, 'SIGSTOP')
    await writer.goesOn(50)
    expect(attached()).not.toBe(victim)
    members.signal(victim, 'SIGCONT')
    await writer.goesOn(50)
    await checkNothingIsLost()
  })

  it('moves its watch away from a member that is stopped, though it asks nothing else of etcd', async () => {
    const [watched, written] = [new EtcdTransport(members.urls, 0), new EtcdTransport(members.urls, 1)]
    const keys = new Keys('quiet')
    const map = new ReplicaMap({ etcd: watched, keys, clock: testClock, chance, log: quiet, events: {} })
    await map.open()
    members.signal(0, 'SIGSTOP')
    try {
      const value = writeValue('motherships', aMothership('m1'))
      const success = [{ put: keys.record('motherships', 'm1'), value }]
      const { revision } = await written.txn({ compare: [], success }, 5_000)
      await map.waitFor({ era: 1, revision }, 20_000)
    } finally {
      members.signal(0, 'SIGCONT')
      map.close()
      await Promise.all([watched.close(), written.close()])
    }
  })

  it('hears from a member that has lost its quorum that its watch is over', async () => {
    const left = attached()
    const alone = new EtcdTransport([members.urls[left]!], 0)
    const ended: string[] = []
    const handlers = {
      onEvents: () => undefined,
      onHeard: () => undefined,
      onEnd: ({ reason }: { reason: string }) => void ended.push(reason),
    }
    const watching = alone.watch({ key: '/quorum/', end: '/quorum0', start: 0 }, handlers)
    const victims = [0, 1, 2].filter(member => member !== left)
    for (const victim of victims) await members.kill(victim)
    await waitUntil('the watch is over', () => ended.length > 0, 8_000)
    expect(ended[0]).toMatch(/no leader/)
    await expect(alone.range({ key: '/quorum/' }, 1_000)).rejects.toMatchObject({ kind: 'unavailable' })
    watching.cancel()
    await alone.close()
    await Promise.all(victims.map(victim => members.restart(victim)))
    await writer.goesOn(20)
    await checkNothingIsLost()
  })

  it('keeps its memory, calls it stale and writes nothing while there is no quorum, and goes on after that', async () => {
    const victims = [0, 1]
    const known = store.maps.map.count('motherships')
    for (const victim of victims) await members.kill(victim)
    await waitUntil('the memory is called stale', () => store.maps.staleForMs() > 0)
    await waitUntil('the term is over', () => store.term() === undefined)
    expect(store.maps.map.count('motherships')).toBeGreaterThanOrEqual(known)
    await Promise.all(victims.map(victim => members.restart(victim)))
    await writer.goesOn(50)
    await waitUntil('the memory is current', () => store.maps.staleForMs() === 0)
    await checkNothingIsLost()
  })
})
