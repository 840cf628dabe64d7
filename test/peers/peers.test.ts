import { Packr } from 'msgpackr'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import type { Answer, Envelope } from '../../src/cloud/commands.js'
import { CloudError } from '../../src/cloud/errors.js'
import type { NodeRef } from '../../src/cloud/ids.js'
import { put, remove } from '../../src/cloud/records.js'
import type { Clock } from '../../src/hypervisor/ports.js'
import { attachPeers } from '../../src/peers/peers.js'
import { peerPath } from '../../src/protocol/messages.js'
import { waitUntil } from '../support/etcd.js'
import { FakeClock } from '../support/fake-clock.js'
import { FakeHypervisor, FakeLog } from '../support/fake-hypervisor.js'
import { PlainStore, testClock } from '../support/plain-store.js'
import { listening, RawPeer, upgradeStatus } from '../support/sockets.js'

const secret = 'the-secret-of-the-replicas'

interface Replica {
  readonly hypervisor: FakeHypervisor
  readonly peers: ReturnType<typeof attachPeers>
  readonly log: FakeLog
  readonly url: string
  /** The clock of its loads; the links keep real time. */
  readonly clock: FakeClock
  /** Who asked to link with it, however that ended. */
  readonly asked: () => number
  readonly ended: string[]
  close(): Promise<void>
}

const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

async function aReplica(
  id: string,
  store: PlainStore,
  more: { secret?: string; startMs?: number; linkClock?: Clock } = {},
): Promise<Replica> {
  const listener = await listening()
  opened.push(listener)
  let asked = 0
  listener.server.on('upgrade', () => void asked++)
  const clock = new FakeClock(more.startMs ?? 1_000_000)
  const hypervisor = new FakeHypervisor(id, store, clock)
  const log = new FakeLog()
  const ended: string[] = []
  const self = { schema: 1, id, url: listener.url, incarnation: `${id}-1` }
  const peers = attachPeers({
    server: listener.server,
    hypervisor,
    self,
    secret: more.secret ?? secret,
    loads: hypervisor.loads,
    applied: hypervisor.applied,
    clock: more.linkClock ?? testClock,
    chance: { next: () => 0, id: length => '0'.repeat(length) },
    log,
    onClosed: (replica, reason) => void ended.push(`${replica}: ${reason}`),
  })
  store.apply([put('replicas', id, self)])
  let open = true
  const close = async (): Promise<void> => {
    if (!open) return
    open = false
    await peers.close()
    await listener.close()
  }
  opened.push({ close })
  return { hypervisor, peers, log, url: listener.url, clock, asked: () => asked, ended, close }
}

const linked = (...replicas: readonly Replica[]): Promise<void> =>
  waitUntil('all are linked', () => replicas.every(each => each.peers.linked().length === replicas.length - 1))

/** Two that are linked; h2 leads. */
async function aPair(): Promise<{ h1: Replica; h2: Replica; store: PlainStore }> {
  const store = new PlainStore()
  const h1 = await aReplica('h1', store)
  const h2 = await aReplica('h2', store, { startMs: 77_000_000 })
  await linked(h1, h2)
  return { h1, h2, store }
}

async function aRawPeer(replica: Replica, id = 'h0'): Promise<RawPeer> {
  const peer = await RawPeer.open(replica.url, peerPath, secret)
  opened.push({ close: () => Promise.resolve(peer.socket.terminate()) })
  peer.say({ t: 'peer', id, url: 'http://h0.example:1', incarnation: 'h0-1' })
  return peer
}

const envelope: Envelope = {
  requestId: 'ann/1',
  fresh: false,
  actor: { role: 'operator', subject: 'ann', from: '10.0.0.1' },
  command: { op: 'stop-instance', body: { instance: 'news.1' } },
}

const answer: Answer = { outcome: 'removed', kind: 'instances', ids: ['news.1'], order: { era: 1, revision: 7 } }

describe('links', () => {
  it('join every pair of replicas once, dialled by the one with the lower id', async () => {
    const store = new PlainStore()
    const h2 = await aReplica('h2', store)
    const h3 = await aReplica('h3', store)
    const h1 = await aReplica('h1', store)
    await linked(h1, h2, h3)

    expect(h1.peers.linked()).toEqual(['h2', 'h3'])
    expect(h2.peers.linked()).toEqual(['h1', 'h3'])
    expect(h3.peers.linked()).toEqual(['h1', 'h2'])
    expect([h1.asked(), h2.asked(), h3.asked()]).toEqual([0, 1, 2])
  })

  it('are for those who know the secret', async () => {
    const { url } = await aReplica('h1', new PlainStore())
    const status = (authorization?: string): Promise<number> =>
      upgradeStatus(url, peerPath, authorization === undefined ? {} : { authorization })

    expect(await status()).toBe(401)
    expect(await status('Bearer ')).toBe(401)
    expect(await status(`Bearer ${secret.slice(1)}`)).toBe(401)
    expect(await status(`Basic ${secret}`)).toBe(401)
  })

  it('are refused by a replica to one with another secret, which asks on', async () => {
    const store = new PlainStore()
    const h1 = await aReplica('h1', store, { secret: 'another' })
    const h2 = await aReplica('h2', store)
    await waitUntil('it has asked twice', () => h2.asked() >= 2)
    expect([h1.peers.linked(), h2.peers.linked()]).toEqual([[], []])
  })

  it('come again after one of the two has started anew elsewhere', async () => {
    const { h1, h2, store } = await aPair()
    await h2.close()
    await waitUntil('the link is gone', () => h1.peers.linked().length === 0)
    expect(h1.ended).toEqual(['h2: closed'])
    const again = await aReplica('h2', store)
    await linked(h1, again)
    again.hypervisor.answer = () => answer
    expect(await h1.peers.forward('h2', envelope, 10_000)).toEqual(answer)
  })

  it('are refused by a replica that goes, so that its listener can be closed', async () => {
    const { h2 } = await aPair()
    await h2.peers.close()

    expect(await upgradeStatus(h2.url, peerPath, { authorization: `Bearer ${secret}` })).toBe(503)
  })

  it('are not dialled to a replica that is gone', async () => {
    const store = new PlainStore()
    const h2 = await aReplica('h2', store)
    store.apply([remove('replicas', 'h2')])
    const h1 = await aReplica('h1', store)
    const h3 = await aReplica('h3', store)
    await waitUntil('the other link is there', () => h1.peers.linked().length === 1)
    expect(h1.peers.linked()).toEqual(['h3'])
    expect(h2.asked()).toBe(0)
    expect(h3.asked()).toBe(2) // h2 is alive and dials, whatever its record says
  })

  it('are dialled again after a while, not at once, when the other hangs up', async () => {
    const store = new PlainStore()
    const clock = new FakeClock()
    const h1 = await aReplica('h1', store, { linkClock: clock })
    const rude = await listening()
    opened.push(rude)
    const sockets = new WebSocketServer({ server: rude.server })
    let asked = 0
    sockets.on('connection', socket => {
      asked++
      socket.terminate()
    })
    store.apply([put('replicas', 'h2', { schema: 1, id: 'h2', url: rude.url, incarnation: 'h2-1' })])
    await waitUntil('it has hung up', () => h1.ended.length === 1)
    await fetch(rude.url) // comes after whatever was dialled
    expect(asked).toBe(1)
    clock.advance(500)
    await waitUntil('it is dialled again', () => asked === 2)
  })

  it('that are on their way when a replica goes are not kept', async () => {
    const store = new PlainStore()
    const h2 = await aReplica('h2', store)
    const h1 = await aReplica('h1', store)
    await h1.peers.close()
    await waitUntil('it was asked for a link', () => h2.asked() === 1)
    const raw = await aRawPeer(h2, 'h0') // comes after it
    await raw.hear('peer')
    await waitUntil('only the later one is linked', () => h2.peers.linked().join() === 'h0')
    expect(h1.peers.linked()).toEqual([])
  })

  it('say in the log, once, why they cannot be made', async () => {
    const store = new PlainStore()
    const h1 = await aReplica('h1', store, { secret: 'another' })
    const h2 = await aReplica('h2', store)
    await waitUntil('it has asked three times', () => h2.asked() >= 3)
    expect(h1.log.notes.filter(note => note.level === 'warn')).toMatchObject([
      { fields: { replica: 'h2', reason: expect.stringContaining('401') } },
    ])
  })

  it('do not fail with the one replica whose url is none', async () => {
    const store = new PlainStore()
    store.apply([put('replicas', 'h2', { schema: 1, id: 'h2', url: 'h2.example:1', incarnation: 'h2-1' })])
    const h1 = await aReplica('h1', store)
    const h3 = await aReplica('h3', store)
    await waitUntil('the others are linked', () => h3.peers.linked().length === 1)
    expect(h1.log.notes.filter(note => note.level === 'warn')).toMatchObject([{ fields: { replica: 'h2' } }])
  })

  it('cannot be had without a secret', async () => {
    await expect(aReplica('h1', new PlainStore(), { secret: '' })).rejects.toMatchObject({ code: 'misconfigured' })
  })

  it('end when the other says nothing for a second', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await aRawPeer(h1)
    await waitUntil('it is linked', () => h1.peers.linked().length === 1)
    await raw.hear('alive')
    await raw.end()
    expect(h1.ended).toEqual(['h0: silent'])
    expect(h1.peers.linked()).toEqual([])
  })

  it('end with a frame that is none, and not with a type that is not known', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await aRawPeer(h1)
    raw.socket.send(new Packr({ useRecords: false }).pack({ t: 'tomorrow' }))
    expect(await raw.hear('error')).toMatchObject({ about: 'tomorrow', message: 'unknown type' })
    raw.say({ t: 'cancel', r: 1 })
    expect(await raw.hear('error', 2)).toMatchObject({ about: 'cancel', message: 'not for a replica' })
    expect(h1.peers.linked()).toEqual(['h0'])

    raw.socket.send(Buffer.from([0xc1]))
    await raw.end()
    expect(h1.ended).toEqual([expect.stringMatching(/^h0: a frame that cannot be read/)])
  })

  it('begin with a name', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await RawPeer.open(h1.url, peerPath, secret)
    raw.say({ t: 'forward', r: 1, envelope, deadlineMs: 1000 })
    await raw.end()
    expect(h1.hypervisor.submitted).toEqual([])
    expect(h1.peers.linked()).toEqual([])
  })
})

describe('forwarding', () => {
  it('brings the whole envelope to the other replica and its answer back', async () => {
    const { h1, h2 } = await aPair()
    h2.hypervisor.answer = () => answer
    h1.hypervisor.answer = () => ({ ...answer, ids: ['the other way'] })

    expect(await h1.peers.forward('h2', envelope, 10_000)).toEqual(answer)
    expect(h2.hypervisor.submitted).toEqual([envelope])
    expect(await h2.peers.forward('h1', envelope, 10_000)).toMatchObject({ ids: ['the other way'] })
  })

  it('brings a refusal back as it was thrown', async () => {
    const { h1, h2 } = await aPair()
    const refusals = [
      new CloudError('no-room', 'no mothership can take it', {
        reasons: [{ mothership: 'm1', rule: 'enough-memory', reason: 'needs 128 MiB, has 64' }],
      }),
      new CloudError('busy', 'the queue is full', { retryAfterS: 1 }),
      new CloudError('bad-request', 'no', { errors: [{ path: '/id', message: 'is none' }] }),
    ]
    for (const refusal of refusals) {
      h2.hypervisor.answer = () => {
        throw refusal
      }
      const thrown: unknown = await h1.peers.forward('h2', envelope, 10_000).catch((error: unknown) => error)
      expect(thrown).toBeInstanceOf(CloudError)
      expect(thrown).toMatchObject({ code: refusal.code, message: refusal.message, details: refusal.details })
    }
  })

  it('says of a bug that it is one, and nothing more', async () => {
    const { h1, h2 } = await aPair()
    h2.hypervisor.answer = () => {
      throw new TypeError('the private key is undefined')
    }
    await expect(h1.peers.forward('h2', envelope, 10_000)).rejects.toMatchObject({
      code: 'internal',
      message: 'the leader failed at it',
    })
    expect(h2.log.said('a forwarded command failed')).toBe(true)
  })

  it('carries answers of several MiB: a bulk call may be refused a thousand times, each with its reasons', async () => {
    const { h1, h2 } = await aPair()
    const reasons = Array.from({ length: 100 }, (_, i) => ({
      mothership: `m${i}`,
      rule: 'enough-memory',
      reason: 'needs 128 MiB, has 64',
    }))
    const large: Answer = { ...answer, refused: Array.from({ length: 1_000 }, () => ({ reasons })) }
    h2.hypervisor.answer = () => large
    expect(await h1.peers.forward('h2', envelope, 10_000)).toEqual(large)
    expect(h1.ended).toEqual([])
  })

  it('is refused with no-leader by one that does not lead, and where there is no link', async () => {
    const { h1, h2 } = await aPair()
    h2.hypervisor.leader = 'h3'
    h2.hypervisor.answer = () => {
      throw new CloudError('no-leader', 'replica h2 does not lead')
    }
    await expect(h1.peers.forward('h2', envelope, 10_000)).rejects.toMatchObject({ code: 'no-leader' })
    await expect(h1.peers.forward('h3', envelope, 10_000)).rejects.toMatchObject({ code: 'no-leader' })
  })

  it('tells who leads when asked by the one that does not', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    h1.hypervisor.leader = 'h3'
    h1.hypervisor.answer = () => {
      throw new CloudError('no-leader', 'replica h1 does not lead')
    }
    const raw = await aRawPeer(h1)
    raw.say({ t: 'forward', r: 9, envelope, deadlineMs: 1000 })
    expect(await raw.hear('not-leader')).toEqual({ t: 'not-leader', r: 9, who: 'h3' })
  })

  it('matches answers with questions, in whatever order they come', async () => {
    const { h1, h2 } = await aPair()
    const release: (() => void)[] = []
    h2.hypervisor.answer = async ({ requestId }) => {
      await new Promise<void>(resolve => release.push(resolve))
      return { ...answer, ids: [requestId] }
    }
    const ids = ['a', 'b', 'c', 'd']
    const asked = ids.map(requestId => h1.peers.forward('h2', { ...envelope, requestId }, 10_000))
    await waitUntil('all have come', () => release.length === ids.length)
    for (const each of release.reverse()) each()

    expect((await Promise.all(asked)).map(each => each.ids[0])).toEqual(ids)
  })

  it('is a timeout when the answer does not come in time, and a late one is for nobody', async () => {
    const { h1, h2 } = await aPair()
    let release!: () => void
    const held = new Promise<void>(resolve => (release = resolve))
    h2.hypervisor.answer = () => held.then(() => answer)
    await expect(h1.peers.forward('h2', envelope, 50)).rejects.toMatchObject({ code: 'timeout' })
    release()
    h2.hypervisor.answer = () => ({ ...answer, ids: ['the next'] })
    expect(await h1.peers.forward('h2', envelope, 10_000)).toMatchObject({ ids: ['the next'] })
  })

  it('is a timeout at once, its outcome unknown, when the link closes first', async () => {
    const { h1, h2 } = await aPair()
    h2.hypervisor.answer = () => new Promise(() => undefined)
    const asked = h1.peers.forward('h2', envelope, 1_000_000)
    await waitUntil('it has come', () => h2.hypervisor.submitted.length === 1)
    const refused = expect(asked).rejects.toMatchObject({ code: 'timeout', message: /closed before it answered/ })
    await h2.close()
    await refused
  })

  it.each<[string, unknown]>([
    ['nothing', null],
    ['text', 'stop news.1'],
    ['no request id', { ...envelope, requestId: undefined }],
    ['an empty request id', { ...envelope, requestId: '' }],
    ['a request id too long', { ...envelope, requestId: 'x'.repeat(513) }],
    ['no actor', { ...envelope, actor: undefined }],
    ['a role that there is not', { ...envelope, actor: { role: 'god', subject: 'ann' } }],
    ['no operation', { ...envelope, command: { body: {} } }],
    ['an operation that there is not', { ...envelope, command: { op: 'destroy', body: {} } }],
    ['an operation by an inherited name', { ...envelope, command: { op: 'constructor', body: {} } }],
    ['a wrong body', { ...envelope, command: { op: 'stop-instance', body: { instance: '../turn' } } }],
    ['a body that is none', { ...envelope, command: { op: 'stop-instance', body: null } }],
  ])('refuses an envelope with %s before the leader sees it', async (_name, wrong) => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await aRawPeer(h1)
    raw.say({ t: 'forward', r: 3, envelope: wrong, deadlineMs: 1000 })

    expect(await raw.hear('problem')).toMatchObject({ r: 3, code: 'bad-request' })
    expect(h1.hypervisor.submitted).toEqual([])
  })

  it('takes a problem with a code that it does not know for internal', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await aRawPeer(h1)
    await waitUntil('it is linked', () => h1.peers.linked().length === 1)
    const asked = h1.peers.forward('h0', envelope, 10_000)
    const { r } = await raw.hear('forward')
    raw.say({ t: 'problem', r, code: 'toString', message: 'of tomorrow' })
    await expect(asked).rejects.toMatchObject({ code: 'internal', message: 'of tomorrow', details: {} })
  })
})

describe('a command without a link to the leader', () => {
  /** h1 leads; h2 is linked with both others, between which there is no link. */
  async function aDetour() {
    const h1 = await aReplica('h1', new PlainStore())
    const h2 = await aReplica('h2', new PlainStore())
    const h3 = await aReplica('h3', new PlainStore())
    const record = (to: Replica, id: string) => put('replicas', id, { schema: 1, id, url: to.url, incarnation: '1' })
    h1.hypervisor.store.apply([record(h2, 'h2')])
    h2.hypervisor.store.apply([record(h3, 'h3')])
    await waitUntil('two links are there', () => h2.peers.linked().length === 2)
    return { h1, h2, h3 }
  }

  it('goes by way of another replica, which passes it on', async () => {
    const { h1, h2, h3 } = await aDetour()
    h1.hypervisor.answer = () => answer
    h2.hypervisor.answer = each => h2.peers.forward('h1', each, 5_000)
    expect(await h3.peers.forward('h1', envelope, 10_000)).toEqual(answer)
    expect([h2.hypervisor.relayed, h1.hypervisor.relayed]).toEqual([[envelope], []])
  })

  it('is not passed on by one that was asked as the leader', async () => {
    const { h2, h3 } = await aDetour()
    h2.hypervisor.answer = () => answer
    await h3.peers.forward('h2', envelope, 10_000)
    expect(h2.hypervisor.relayed).toEqual([])
  })
})

describe('a fresh map elsewhere', () => {
  it('is known while the other says so with its signs of life', async () => {
    const { h1, h2 } = await aPair()
    await waitUntil('it is known', () => h1.peers.someFresh())
    h2.hypervisor.store.staleForMs = () => 1_400
    await waitUntil('it is not any more', () => !h1.peers.someFresh())
    await h2.close()
    expect(h1.peers.someFresh()).toBe(false)
  })
})

describe('a dead replica', () => {
  it('is one that a majority has lost, for as long as this one has', async () => {
    const store = new PlainStore()
    const h1 = await aReplica('h1', store)
    const h2 = await aReplica('h2', store)
    const h3 = await aReplica('h3', store)
    await linked(h1, h2, h3)
    expect(h1.peers.lostForMs('h3')).toBeUndefined()
    await h3.close()
    await waitUntil('it is dead to h1', () => h1.peers.lostForMs('h3') !== undefined)
    await waitUntil('it is dead to h2', () => h2.peers.lostForMs('h3') !== undefined)
    const again = await aReplica('h3', store)
    await linked(h1, h2, again)
    expect(h1.peers.lostForMs('h3')).toBeUndefined()
  })

  it('is not one to which another still has a link', async () => {
    const store = new PlainStore()
    const h1 = await aReplica('h1', store)
    await aReplica('h2', store)
    const raw = await aRawPeer(h1, 'h0')
    await waitUntil('both are linked', () => h1.peers.linked().length === 2)
    store.apply([put('replicas', 'h0', { schema: 1, id: 'h0', url: 'http://h0.example:1', incarnation: 'h0-1' })])
    const other = await aRawPeer(h1, 'h2')
    other.say({ t: 'alive', linked: ['h0', 'h1'] })
    await waitUntil('the other speaks', () => h1.ended.length === 0 && h1.peers.linked().length === 2)
    raw.socket.terminate()
    await waitUntil('its link is gone', () => !h1.peers.linked().includes('h0'))
    expect(h1.peers.lostForMs('h0')).toBeUndefined()
    other.say({ t: 'alive', linked: ['h1'] })
    await waitUntil('it is dead', () => h1.peers.lostForMs('h0') !== undefined)
  })
})

describe('a leader', () => {
  const leader = { schema: 1, replica: 'h3', incarnation: 'h3-1', url: 'http://h3.example:1' } as const

  it('is heard by who has a link to that very process', async () => {
    const { h1 } = await aPair()
    await waitUntil('it has said who it is', () => h1.peers.hears({ replica: 'h2', incarnation: 'h2-1' }))
    expect(h1.peers.hears({ replica: 'h2', incarnation: 'h2-0' })).toBe(false)
    expect(h1.peers.hears({ replica: 'h3', incarnation: 'h3-1' })).toBe(false)
  })

  it('is called gone by a peer that has lost sight of it too', async () => {
    const { h1, h2 } = await aPair()
    h2.hypervisor.gone.add(7)
    expect(await h1.peers.agrees('h2', leader, 7)).toBe(true)
    expect(await h1.peers.agrees('h2', leader, 8)).toBe(false)
    expect(await h1.peers.agrees('h3', leader, 7)).toBe(false)
  })

  it('is not called gone by a peer that closes instead of answering, or says nothing', async () => {
    const clock = new FakeClock()
    const h1 = await aReplica('h1', new PlainStore(), { linkClock: clock })
    const raw = await aRawPeer(h1)
    await waitUntil('it is linked', () => h1.peers.linked().length === 1)
    const silent = h1.peers.agrees('h0', leader, 7)
    await raw.hear('suspect')
    clock.advance(600)
    expect(await silent).toBe(false)

    const closed = h1.peers.agrees('h0', leader, 7)
    expect(await raw.hear('suspect', 2)).toMatchObject({ replica: 'h3', incarnation: 'h3-1', term: 7 })
    raw.socket.terminate()
    expect(await closed).toBe(false)
  })

  it('that etcd does not hear is taken at its word', async () => {
    const { h1, h2 } = await aPair()
    h1.peers.yield(7)
    await waitUntil('it is asked to end the term', () => h2.hypervisor.ended.length > 0)
    expect(h2.hypervisor.ended).toEqual([7])
  })

  it('tells when links come and go', async () => {
    const { h1, h2 } = await aPair()
    let told = 0
    const unsubscribe = h1.peers.onLinks(() => void told++)
    await h2.close()
    await waitUntil('it was told', () => told > 0)
    unsubscribe()
  })
})

describe('loads', () => {
  const m1: NodeRef = { kind: 'mothership', id: 'm1' }
  const components = {
    'news/1.0.0': { calls: 9, errors: 1, timeouts: 0, restarts: 0, cpu: 1, ram: 2, bandwidth: 3, latency: [1, 2] },
  }

  it('are relayed with their ages, dated by the clock of whoever hears them, and not passed on', async () => {
    const store = new PlainStore()
    const h1 = await aReplica('h1', store, { startMs: 5_000 })
    const h2 = await aReplica('h2', store, { startMs: 77_000_000 })
    const h3 = await aReplica('h3', store, { startMs: 900 })
    await linked(h1, h2, h3)
    h1.hypervisor.loads.note({ node: m1, cpu: 100, ram: 200, bandwidth: 300, components })
    h1.clock.advance(600)

    const known = (replica: Replica): boolean => replica.hypervisor.loads.latest(m1) !== undefined
    await waitUntil('it is relayed', () => known(h2) && known(h3))
    const filtered = { cpu: 100, ram: 200, bandwidth: 300 }
    const sample = { ...filtered, source: 'report', filtered }
    expect(h2.hypervisor.loads.latest(m1)).toEqual({ ...sample, atMs: 77_000_000 - 600 })
    expect(h3.hypervisor.loads.latest(m1)).toEqual({ ...sample, atMs: 900 - 600 })
    expect(h2.hypervisor.loads.statistics('news/1.0.0').get('m1')).toEqual(components['news/1.0.0'])
    expect(h2.hypervisor.loads.ownSince(0)).toEqual([])
  })

  it('that a replica hears itself stay when an older one is relayed', async () => {
    const h1 = await aReplica('h1', new PlainStore())
    const raw = await aRawPeer(h1)
    h1.hypervisor.loads.note({ node: m1, cpu: 1, ram: 1, bandwidth: 1, components: {} })
    raw.say({ t: 'loads', nodes: [{ ...m1, cpu: 9, ram: 9, bandwidth: 9, ageMs: 100 }] })
    raw.say({ t: 'cancel', r: 1 })
    await raw.hear('error') // it is answered after what came before it
    expect(h1.hypervisor.loads.latest(m1)).toMatchObject({ cpu: 1 })
  })
})
