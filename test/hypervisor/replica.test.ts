import { describe, expect, it } from 'vitest'
import type { Answer, Envelope } from '../../src/cloud/commands.js'
import { CloudError, type Code } from '../../src/cloud/errors.js'
import type { Order } from '../../src/cloud/order.js'
import type { LeaderRecord } from '../../src/cloud/records.js'
import { put, remove } from '../../src/cloud/records.js'
import type { Election, Peers, Standing, Term } from '../../src/hypervisor/ports.js'
import { Replica } from '../../src/hypervisor/replica.js'
import { waitUntil } from '../support/etcd.js'
import { FakeClock } from '../support/fake-clock.js'
import { FakeHypervisor, FakeLog } from '../support/fake-hypervisor.js'
import { PlainStore } from '../support/plain-store.js'
import { aComponent, anInstance, motherships, running } from '../support/records.js'

const leaderIs = (id: string) =>
  put('leader', '', { schema: 1, replica: id, incarnation: `${id}-1`, url: `http://${id}.example:1` })

class FakeElection implements Election {
  win: (term: Term) => void = () => undefined
  resigned = 0
  readonly ended: number[] = []

  constructor(private readonly store: PlainStore) {}

  stand({ onTerm }: Standing): void {
    this.win = onTerm
  }

  endTermOf(token: number): Promise<boolean> {
    this.ended.push(token)
    return Promise.resolve(true)
  }

  leader(): LeaderRecord | undefined {
    return this.store.map.get('leader')?.value
  }

  healthy(): void {}

  resign(): Promise<void> {
    this.resigned++
    return Promise.resolve()
  }
}

type Forwarded = { readonly to: string; readonly envelope: Envelope; readonly deadlineMs: number }

/** Answers what `reply` says, and keeps what was asked; hears everybody. */
class FakePeers implements Peers {
  readonly asked: Forwarded[] = []
  readonly linked = (): readonly string[] => []
  readonly hears = (): boolean => true
  readonly lostForMs = (): undefined => undefined
  readonly onLinks = () => () => undefined
  readonly agrees = (): Promise<boolean> => Promise.resolve(false)
  readonly yield = (): void => undefined
  reply: (asked: Forwarded, nth: number) => Promise<Answer> = () => fails('no-leader')

  forward(to: string, envelope: Envelope, deadlineMs: number): Promise<Answer> {
    const asked = { to, envelope, deadlineMs }
    this.asked.push(asked)
    return this.reply(asked, this.asked.length)
  }
}

const fails = (code: Code, clock?: FakeClock, afterMs = 0): Promise<never> =>
  new Promise((_resolve, reject) => {
    const fail = (): void => reject(new CloudError(code, `it is ${code}`))
    if (clock) clock.after(afterMs, fail)
    else fail()
  })

/** A store whose silence a test decides. */
class AgeingStore extends PlainStore {
  staleMs = 0
  override staleForMs(): number {
    return this.staleMs
  }
}

/** It falls silent while an answer waits for it. */
class StillStore extends AgeingStore {
  waitedMs = 0
  override catchUp(): Promise<Order> {
    return fails('store-unavailable')
  }
  override waitFor(_order: Order, deadlineMs = 0): Promise<void> {
    this.waitedMs = deadlineMs
    this.staleMs = deadlineMs + 1
    return fails('timeout')
  }
}

function aReplica(store = new AgeingStore()) {
  const clock = new FakeClock()
  const election = new FakeElection(store)
  const peers = new FakePeers()
  const log = new FakeLog()
  const { blobs, presence, observations, loads, applied } = new FakeHypervisor('h1', store, clock)
  let ids = 0
  const replica = new Replica({
    maps: store,
    election,
    requests: store,
    decisions: store,
    blobs,
    presence,
    observations,
    loads,
    applied,
    clock,
    chance: { next: () => 0, id: length => String(++ids).padStart(length, '0') },
    log,
    bootstrap: [],
  })
  replica.start(peers)
  return { replica, store, clock, election, peers, log }
}

const envelope: Envelope = {
  requestId: 'request-1',
  fresh: true,
  actor: { role: 'operator', subject: 'ann' },
  command: {
    op: 'register-mothership',
    body: { id: 'm1', address: 'ws://m1.example:1', capacity: { cpu: 1, ram: 1, bandwidth: 1 } },
  },
}

const answer: Answer = { outcome: 'created', kind: 'motherships', ids: ['m1'], order: { era: 1, revision: 1 } }

/** Lets the clock run until the promise is settled: its waits are bounded, so this ends. */
async function settles<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let done = false
  const watched = promise.finally(() => (done = true))
  watched.catch(() => undefined)
  await waitUntil('it is settled', async () => {
    for (let i = 0; i < 20 && !done; i++) {
      clock.advance(10)
      await new Promise(setImmediate)
    }
    return done
  })
  return watched
}

describe('a replica that does not lead', () => {
  it('forwards a command to the leader that its memory shows', async () => {
    const { replica, store, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = () => Promise.resolve(answer)

    expect(await replica.submit(envelope, 5_000)).toEqual(answer)
    expect(peers.asked).toMatchObject([{ to: 'h2', envelope }])
    expect(peers.asked[0]!.deadlineMs).toBeLessThanOrEqual(1_500)
    expect(replica.status()).toMatchObject({ leader: 'h2', leading: false, ready: true })
  })

  it('sends it again, with the same request id and not as new, when the leader goes away meanwhile', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = (_asked, nth) => (nth === 1 ? fails('timeout') : Promise.resolve(answer))
    const asked = replica.submit(envelope, 5_000)
    await waitUntil('the first has failed', () => peers.asked.length === 1)
    await new Promise(setImmediate)
    store.apply([leaderIs('h3')])

    expect(await settles(clock, asked)).toEqual(answer)
    expect(peers.asked.map(each => each.to)).toEqual(['h2', 'h3'])
    expect(peers.asked.map(each => each.envelope)).toEqual([
      { ...envelope, since: 0 },
      { ...envelope, since: 0, fresh: false },
    ])
  })

  it('does not wait for the clock when the map shows a new leader', async () => {
    const { replica, store, peers } = aReplica()
    const asked = replica.submit(envelope, 5_000)
    peers.reply = () => Promise.resolve(answer)
    await new Promise(setImmediate)
    store.apply([leaderIs('h2')])
    expect(await asked).toEqual(answer) // its clock has not moved
  })

  it('asks the same leader again when it came back on another link', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = (_asked, nth) => (nth < 4 ? fails('no-leader') : Promise.resolve(answer))
    expect(await settles(clock, replica.submit(envelope, 5_000))).toEqual(answer)
    expect(peers.asked).toHaveLength(4)
  })

  it('brings a refusal of the leader back at once', async () => {
    const { replica, store, peers } = aReplica()
    store.apply([leaderIs('h2')])
    for (const code of ['conflict', 'busy', 'no-room', 'internal', 'unknown-thing'] as const) {
      peers.asked.length = 0
      peers.reply = () => fails(code)
      await expect(replica.submit(envelope, 5_000)).rejects.toMatchObject({ code })
      expect(peers.asked).toHaveLength(1)
    }
  })

  it('gives up at the deadline: nothing was changed when nobody led', async () => {
    const { replica, clock, peers } = aReplica()
    await expect(settles(clock, replica.submit(envelope, 1_000))).rejects.toMatchObject({
      code: 'no-leader',
      message: /nothing was changed/,
      details: { retryAfterS: 1 },
    })
    expect(peers.asked).toEqual([])
  })

  it('gives up at the deadline: the outcome is unknown when one attempt was not answered', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = (_asked, nth) => fails(nth === 1 ? 'timeout' : 'no-leader')
    await expect(settles(clock, replica.submit(envelope, 1_000))).rejects.toMatchObject({
      code: 'timeout',
      message: /repeat it with the same Idempotency-Key/,
    })
    expect(peers.asked.length).toBeGreaterThan(1)
    expect(peers.asked.slice(1).every(each => !each.envelope.fresh)).toBe(true)
  })

  it('never gives one attempt more time than is left', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    const untilMs = clock.nowMs() + 700
    const left: number[] = []
    peers.reply = asked => {
      left.push(untilMs - clock.nowMs() - asked.deadlineMs)
      return fails('no-leader')
    }
    await expect(settles(clock, replica.submit(envelope, 700))).rejects.toBeInstanceOf(CloudError)
    expect(left.length).toBeGreaterThan(5)
    expect(left.every(ms => ms === 0)).toBe(true)
  })

  it('answers only once its own memory has the answer’s revision', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    const ahead = { ...answer, order: { era: 1, revision: store.map.order.revision + 1 } }
    const replies: boolean[] = []
    peers.reply = asked => {
      replies.push(asked.envelope.fresh)
      return Promise.resolve(ahead)
    }
    const asked = replica.submit(envelope, 5_000)
    await waitUntil('it is asked for again', () => {
      clock.advance(10)
      return replies.length === 2
    })
    store.apply([remove('observed', 'm1/news.1')])
    expect(await settles(clock, asked)).toEqual(ahead)
    expect(replies[0]).toBe(true)
    expect(replies.slice(1).every(fresh => !fresh)).toBe(true)
  })

  it('refuses with store-unavailable while etcd is silent, and asks nobody', async () => {
    const { replica, store, peers } = aReplica()
    store.apply([leaderIs('h2')])
    store.staleMs = 1_501
    store.catchUp = () => Promise.reject(new CloudError('store-unavailable', 'no quorum'))
    const refused: unknown = await replica.submit(envelope, 5_000).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'store-unavailable', details: { retryAfterS: 2 } })
    expect((refused as CloudError).message).not.toContain('Idempotency-Key')
    expect(peers.asked).toEqual([])

    store.staleMs = 1_500
    peers.reply = () => Promise.resolve(answer)
    expect(await replica.submit(envelope, 5_000)).toEqual(answer)
  })

  it('asks etcd before it calls it silent: who stood still itself has not heard it for as long', async () => {
    const { replica, store, peers } = aReplica()
    store.apply([leaderIs('h2')])
    store.staleMs = 3_000
    let asked = 0
    store.catchUp = () => {
      asked++
      return Promise.resolve(store.map.order)
    }
    peers.reply = () => Promise.resolve(answer)
    const both = [replica.submit(envelope, 5_000), replica.submit({ ...envelope, requestId: 'request-2' }, 5_000)]
    expect(await Promise.all(both)).toEqual([answer, answer])
    expect(asked).toBe(1)
  })

  it('does not wait for its own memory to the end when etcd falls silent', async () => {
    const still = new StillStore()
    const { replica, clock, peers } = aReplica(still)
    still.apply([leaderIs('h2')])
    peers.reply = () => Promise.resolve(answer)
    await expect(settles(clock, replica.submit(envelope, 5_000))).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('Idempotency-Key'),
    })
    expect(still.waitedMs).toBe(1_500)
  })

  it('says that the outcome is unknown when etcd falls silent after an attempt', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    store.catchUp = () => Promise.reject(new CloudError('store-unavailable', 'no quorum'))
    peers.reply = () => {
      store.staleMs = 2_000
      return fails('timeout')
    }
    await expect(settles(clock, replica.submit(envelope, 5_000))).rejects.toMatchObject({
      code: 'store-unavailable',
      message: /whether the change was made is not known: repeat it with the same Idempotency-Key/,
    })
    expect(peers.asked).toHaveLength(1)
  })

  it('says in time that etcd is gone, whatever its own watch still hears', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = () => new Promise(() => undefined)
    store.catchUp = () => Promise.reject(new CloudError('store-unavailable', 'no quorum'))
    const fromMs = clock.nowMs()
    const refused = await settles(clock, replica.submit(envelope, 5_000)).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'store-unavailable', details: { retryAfterS: 2 } })
    expect(String(refused)).toContain('repeat it with the same Idempotency-Key')
    expect(clock.nowMs() - fromMs).toBeLessThan(1_500)
  })

  it('asks nobody any more once it has said so', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    store.catchUp = () => Promise.reject(new CloudError('store-unavailable', 'no quorum'))
    const refused = await settles(clock, replica.submit(envelope, 5_000)).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'store-unavailable', message: 'etcd does not answer' })
    const asked = peers.asked.length
    clock.advance(1_000)
    await new Promise(setImmediate)
    expect(peers.asked).toHaveLength(asked)
  })

  it('waits on for a slow leader while etcd answers', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h2')])
    peers.reply = (_asked, nth) => (nth < 3 ? fails('timeout', clock, 1_400) : Promise.resolve(answer))
    expect(await settles(clock, replica.submit(envelope, 5_000))).toMatchObject({ ids: ['m1'] })
    expect(peers.asked).toHaveLength(3)
  })

  it('refuses a command that is none before anybody is asked', async () => {
    const { replica, store, peers } = aReplica()
    store.apply([leaderIs('h2')])
    const wrong = { ...envelope, command: { op: 'stop-instance', body: { instance: '../x' } } } as Envelope
    await expect(replica.submit(wrong, 5_000)).rejects.toMatchObject({ code: 'bad-request' })
    await expect(replica.accept(wrong)).rejects.toMatchObject({ code: 'bad-request' })
    expect(peers.asked).toEqual([])
  })

  it('accepts nothing for others, not even while the map still names it', async () => {
    const { replica, store, clock, peers } = aReplica()
    store.apply([leaderIs('h1')])
    await expect(settles(clock, replica.accept(envelope))).rejects.toMatchObject({ code: 'no-leader' })
    await expect(settles(clock, replica.submit(envelope, 300))).rejects.toMatchObject({ code: 'no-leader' })
    expect(peers.asked).toEqual([])
  })
})

describe('a replica that leads', () => {
  it('decides for itself and for others, and writes what a new cloud needs first', async () => {
    const { replica, store, clock, election, peers } = aReplica()
    store.apply([leaderIs('h1')])
    election.win(store)

    expect(await settles(clock, replica.submit(envelope, 5_000))).toMatchObject({ outcome: 'created', ids: ['m1'] })
    const other = {
      ...envelope,
      requestId: 'request-2',
      command: { op: 'unregister-mothership', body: { id: 'm1', drain: false } },
    } as const
    expect(await settles(clock, replica.accept(other))).toMatchObject({ outcome: 'removed' })
    expect(peers.asked).toEqual([])
    expect(replica.status()).toMatchObject({ leader: 'h1', leading: true })
    expect([store.map.count('era'), store.map.count('settings'), store.map.count('keys')]).toEqual([1, 1, 1])
  })

  it('carries what its term did not write to the next leader, under the same request id', async () => {
    const { replica, store, clock, election, peers } = aReplica()
    store.apply([leaderIs('h1')])
    election.win(store)
    await waitUntil('it leads, and has written the first things', () => {
      clock.advance(10)
      return store.map.count('keys') === 1
    })
    store.verdict = () => ({ kind: 'superseded' })
    peers.reply = () => Promise.resolve(answer)
    const asked = replica.submit(envelope, 5_000)
    await waitUntil('it does not lead any more', () => !replica.status().leading)
    store.apply([leaderIs('h2')])

    expect(await settles(clock, asked)).toEqual(answer)
    expect(peers.asked).toMatchObject([{ to: 'h2', envelope: { requestId: 'request-1', fresh: false } }])
  })

  it('looks for a request elsewhere when its own queue does not answer in time', async () => {
    const { replica, store, clock, election, peers } = aReplica()
    store.apply([leaderIs('h1')])
    election.win(store)
    await waitUntil('it leads, and has written the first things', () => {
      clock.advance(10)
      return store.map.count('keys') === 1
    })
    store.verdict = () => new Promise(() => undefined)
    await expect(settles(clock, replica.submit(envelope, 3_000))).rejects.toMatchObject({ code: 'timeout' })
    expect(peers.asked).toEqual([])
    expect(replica.status().queued).toBe(1)
  })

  it('lets go of the key when it stops, plans nothing after, and leads no term that comes later', async () => {
    const { replica, store, clock, election } = aReplica()
    store.apply([leaderIs('h1')])
    election.win(store)
    await waitUntil('it leads', () => replica.status().leading)
    await settles(clock, replica.stop())

    expect(election.resigned).toBe(1)
    await waitUntil('it does not lead any more', () => !replica.status().leading)
    await expect(replica.accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })
    election.win(store)
    expect(replica.status().leading).toBe(false)
  })

  it('forgets what is said of copies that are none: before its term, and by a mothership that comes back', async () => {
    const { store, clock, election } = aReplica()
    store.apply([leaderIs('h1'), put('components', 'news/1.0.0', aComponent('news')), ...motherships('m1', 'm2')])
    store.apply([put('instances', 'news.1', anInstance('news.1', ['m1']))])
    store.apply([running('m1', 'news.1'), running('m2', 'news.1'), running('m2', 'news.gone')])
    election.win(store)
    const observed = () => [...store.map.all('observed')].map(([id]) => id).sort()
    await waitUntil('what was there before is forgotten', () => {
      clock.advance(10)
      return observed().length === 1
    })
    expect(observed()).toEqual(['m1/news.1'])

    store.apply([running('m2', 'news.1')])
    await waitUntil('what came is forgotten', () => {
      clock.advance(10)
      return observed().length === 1
    })
    expect(observed()).toEqual(['m1/news.1'])
  })
})
