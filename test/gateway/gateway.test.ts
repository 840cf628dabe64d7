import { Packr } from 'msgpackr'
import { afterEach, describe, expect, it } from 'vitest'
import { CloudError } from '../../src/cloud/errors.js'
import type { NodeRef } from '../../src/cloud/ids.js'
import { defaultSettings, put, remove } from '../../src/cloud/records.js'
import { digestOf } from '../../src/hypervisor/actors.js'
import { frameBytesMax, nodePath } from '../../src/protocol/messages.js'
import { waitUntil } from '../support/etcd.js'
import { aToken } from '../support/fake-hypervisor.js'
import {
  aHello,
  aRawNode,
  aReplica,
  aSocket,
  closeAll,
  type GatewayReplica,
  mothership,
  rainServer,
} from '../support/gateways.js'
import { aComponent, anInstance, aRainServer } from '../support/records.js'
import { type RawPeer, upgradeStatus } from '../support/sockets.js'

afterEach(closeAll)

const m1 = mothership('m1')
const packr = new Packr({ useRecords: false })

const withInstances = (replica: GatewayReplica, on: string, ...ids: readonly string[]): void => {
  replica.store.apply([
    put('components', 'news/1.0.0', aComponent('news')),
    ...ids.map(id => put('instances', id, anInstance(id, [on]))),
  ])
}

const running = (instance: string) => ({ instance, epoch: 1, generation: 0, phase: 'running' as const })

/** Everything that the peer said before is dealt with when this returns: the answer to an unknown type comes after it. */
async function settled(peer: RawPeer): Promise<void> {
  const before = peer.all('error').length
  peer.socket.send(packr.pack({ t: 'are-you-there' }))
  await peer.hear('error', before + 1)
}

/** Lets the gateway's time pass for a node that pings as it should. */
async function passPinging(replica: GatewayReplica, peer: RawPeer, ms: number): Promise<void> {
  for (let passed = 0; passed < ms && peer.closed === undefined; passed += 500) {
    replica.clock.advance(500)
    let answered = false
    peer.socket.once('pong', () => (answered = true))
    peer.socket.ping()
    await waitUntil('the ping is answered', () => answered || peer.closed !== undefined)
  }
}

describe('before the upgrade, the gateway', () => {
  it('refuses who has no valid credential', async () => {
    const { url, store } = await aReplica()
    const secret = aToken(store, m1)
    const expired = aToken(store, mothership('m2'), { expires: '2020-01-01T00:00:00.000Z' })
    const status = (authorization?: string): Promise<number> =>
      upgradeStatus(url, nodePath, authorization === undefined ? {} : { authorization })

    expect(await status()).toBe(401)
    expect(await status('Bearer wrong')).toBe(401)
    expect(await status(`Basic ${secret}`)).toBe(401)
    expect(await status(`Bearer ${digestOf(secret)}`)).toBe(401)
    expect(await status(`Bearer ${expired}`)).toBe(401)
    expect(await status(`Bearer ${secret}`)).toBe(101)

    store.apply([remove('tokens', digestOf(secret))])
    expect(await status(`Bearer ${secret}`)).toBe(401)
  })

  it('refuses a credential that is no node’s', async () => {
    const { url, store } = await aReplica()
    const authorization = `Bearer ${aToken(store)}`
    expect(await upgradeStatus(url, nodePath, { authorization })).toBe(403)
  })
})

describe('a session', () => {
  it('begins with an announcement through the leader, a number and a welcome', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1, { metrics: 'http://m1.example:2/metrics', software: '0.1.0' })

    expect(replica.hypervisor.submitted).toMatchObject([
      {
        fresh: true,
        actor: { role: 'node', subject: 'mothership/m1', node: m1 },
        command: { op: 'announce-mothership', body: { id: 'm1', address: 'ws://m1.example:1' } },
      },
    ])
    const { value, modified } = replica.store.map.get('sessions', 'mothership/m1')!
    expect(value).toMatchObject({ replica: 'h1', metrics: 'http://m1.example:2/metrics', software: '0.1.0' })
    const welcome = await node.hear('welcome')
    expect(welcome).toMatchObject({ session: modified, replicas: [{ id: 'h1', url: replica.url }], staleForMs: 0 })
    expect(replica.gateway.sessions()).toBe(1)
  })

  it.each<[string, NodeRef]>([
    ['another id', mothership('m2')],
    ['another kind', rainServer('m1')],
    ['another kind that needs no announcement', { kind: 'balancer', id: 'm1' }],
  ])('is refused to who says hello as %s (N1)', async (_name, other) => {
    const replica = await aReplica()
    const peer = await aSocket(replica, m1)
    peer.say(aHello(other))

    expect(await peer.hear('bye')).toMatchObject({ code: 'forbidden', reconnect: false })
    expect((await peer.end()).code).toBe(1008)
    expect(replica.hypervisor.submitted).toEqual([])
    expect(replica.store.map.count('sessions')).toBe(0)
  })

  it('is over for one who said hello as another, whatever follows', async () => {
    const replica = await aReplica()
    const peer = await aSocket(replica, m1)
    peer.say(aHello(mothership('m2')))
    peer.say(aHello(m1))

    expect((await peer.end()).code).toBe(1008)
    expect(replica.hypervisor.submitted).toEqual([])
    expect(peer.all('bye')).toHaveLength(1)
  })

  it('is not waited for by pings alone: hello comes within 5 s', async () => {
    const replica = await aReplica()
    const peer = await aSocket(replica, m1)
    await passPinging(replica, peer, 5_000)
    await settled(peer)
    await passPinging(replica, peer, 1_000)
    expect((await peer.end()).code).toBe(1006)
  })

  it('hears nothing before hello', async () => {
    const replica = await aReplica()
    const peer = await aSocket(replica, m1)
    withInstances(replica, 'm1', 'news.1')
    peer.say({ t: 'observed', items: [running('news.1')] })

    expect(await peer.hear('error')).toMatchObject({ message: 'observed before hello' })
    expect(replica.hypervisor.reports).toEqual([])
  })

  it('is told to try again when the leader or the store does not take it', async () => {
    const replica = await aReplica()
    replica.hypervisor.answer = () => {
      throw new CloudError('no-leader', 'no replica leads at the moment')
    }
    const peer = await aSocket(replica, m1)
    peer.say(aHello(m1))

    expect(await peer.hear('bye')).toMatchObject({ code: 'not-now', reconnect: true, reason: /no replica leads/ })
    expect((await peer.end()).code).toBe(1013)
    expect(replica.gateway.sessions()).toBe(0)
  })

  it('keeps what comes while it is being opened for afterwards', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    let release!: () => void
    const held = new Promise<void>(resolve => (release = resolve))
    replica.hypervisor.afterOpen = () => held
    const peer = await aSocket(replica, m1)
    peer.say(aHello(m1))
    peer.say({ t: 'observed', items: [running('news.1')] })
    await waitUntil('the session is written', () => replica.hypervisor.session(m1) !== undefined)
    await settled(peer)
    expect(replica.hypervisor.reports).toEqual([])
    release()

    const { session } = await peer.hear('welcome')
    await settled(peer)
    expect(replica.hypervisor.reports).toEqual([{ mothership: 'm1', session, items: [running('news.1')] }])
  })

  it('belongs to one websocket: a second one replaces the first (N2)', async () => {
    const replica = await aReplica()
    const first = await aRawNode(replica, m1)
    const second = await aRawNode(replica, m1)

    expect(await first.hear('bye')).toMatchObject({ code: 'replaced', reconnect: false })
    await first.end()
    replica.clock.advance(1_000)
    expect(replica.gateway.sessions()).toBe(1)
    expect(replica.hypervisor.closed).toEqual([])
    expect(replica.hypervisor.session(m1)).toBe((await second.hear('welcome')).session)
  })

  it('is the later one of two, whichever the store answers first (N2)', async () => {
    const replica = await aReplica()
    const release: (() => void)[] = []
    replica.hypervisor.afterOpen = () => new Promise(resolve => release.push(resolve))
    const first = await aSocket(replica, m1)
    first.say(aHello(m1))
    await waitUntil('the first is written', () => release.length === 1)
    const second = await aSocket(replica, m1)
    second.say(aHello(m1))
    await waitUntil('the second is written', () => release.length === 2)

    release[1]!()
    const { session } = await second.hear('welcome')
    release[0]!()
    expect(await first.hear('bye')).toMatchObject({ code: 'replaced', reconnect: false })
    await first.end()
    await settled(second)
    expect(second.closed).toBeUndefined()
    expect(replica.gateway.sessions()).toBe(1)
    replica.clock.advance(1_000)
    expect(replica.hypervisor.session(m1)).toBe(session)
  })

  it('ends when the node opens one at another replica, which stays', async () => {
    const h1 = await aReplica('h1')
    const h2 = await aReplica('h2', h1.store)
    const first = await aRawNode(h1, m1)
    const second = await aRawNode(h2, m1)

    expect(await first.hear('bye')).toMatchObject({ code: 'replaced', reconnect: false })
    await waitUntil('the first replica has forgotten it', () => h1.gateway.sessions() === 0)
    h1.clock.advance(1_000)
    expect(h1.hypervisor.session(m1)).toBe((await second.hear('welcome')).session)
    expect(h2.gateway.sessions()).toBe(1)
  })

  it('goes on under its new number when this replica put it again on a new lease', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const node = await aRawNode(replica, m1)
    const { value } = replica.store.map.get('sessions', 'mothership/m1')!
    const renumbered = replica.store.apply([put('sessions', 'mothership/m1', value)])
    node.say({ t: 'observed', items: [running('news.1')] })
    await settled(node)

    expect(replica.hypervisor.reports).toMatchObject([{ session: renumbered }])
    expect(node.closed).toBeUndefined()
  })

  it('says again under its new number what it had reported under the old one', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1', 'news.2')
    const node = await aRawNode(replica, m1, { runs: [running('news.1'), running('news.2')] })
    await node.hear('welcome')
    await settled(node)
    replica.hypervisor.reports.length = 0
    replica.store.apply([remove('instances', 'news.2')])
    const { value } = replica.store.map.get('sessions', 'mothership/m1')!
    const renumbered = replica.store.apply([put('sessions', 'mothership/m1', value)])

    expect(replica.hypervisor.reports).toEqual([{ mothership: 'm1', session: renumbered, items: [running('news.1')] }])
  })

  it('is deleted 300 ms after its end, not sooner (N3)', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    node.socket.terminate()
    await waitUntil('the gateway has seen the end', () => replica.gateway.sessions() === 0)

    replica.clock.advance(299)
    expect(replica.hypervisor.session(m1)).toBeDefined()
    replica.clock.advance(1)
    expect(replica.hypervisor.session(m1)).toBeUndefined()
  })

  it('is not deleted when the node is back within 300 ms', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    node.socket.terminate()
    await waitUntil('the gateway has seen the end', () => replica.gateway.sessions() === 0)
    replica.clock.advance(200)
    const again = await aRawNode(replica, m1)
    replica.clock.advance(1_000)

    expect(replica.hypervisor.closed).toEqual([])
    expect(replica.hypervisor.session(m1)).toBe((await again.hear('welcome')).session)
  })

  it('is not deleted when the node is back at another replica', async () => {
    const h1 = await aReplica('h1')
    const h2 = await aReplica('h2', h1.store)
    const node = await aRawNode(h1, m1)
    const { session } = await node.hear('welcome')
    node.socket.terminate()
    await waitUntil('the gateway has seen the end', () => h1.gateway.sessions() === 0)
    const again = await aRawNode(h2, m1)
    h1.clock.advance(300)

    expect(h1.hypervisor.closed).toEqual([session])
    expect(h1.hypervisor.session(m1)).toBe((await again.hear('welcome')).session)
  })

  it('ends with a node’s bye', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    node.say({ t: 'bye', code: 'stopping', reconnect: false })

    expect((await node.end()).code).toBe(1000)
    await waitUntil('the gateway has seen the end', () => replica.gateway.sessions() === 0)
    replica.clock.advance(300)
    expect(replica.hypervisor.session(m1)).toBeUndefined()
  })

  it('ends when its credential is revoked, and no other’s does', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    const other = await aRawNode(replica, mothership('m2'))
    const opening = await aSocket(replica, m1)
    const credential = digestOf('secret-of-mothership-m1')
    const { value } = replica.store.map.get('tokens', credential)!
    replica.store.apply([put('tokens', credential, { ...value, subject: 'renamed' })])
    await settled(node)
    replica.store.apply([remove('tokens', credential)])

    expect(await node.hear('bye')).toMatchObject({ code: 'revoked', reconnect: false })
    expect((await node.end()).code).toBe(1008)
    expect((await opening.end()).code).toBe(1008)
    await settled(other)
    expect(other.closed).toBeUndefined()
    await waitUntil('the gateway has seen the end', () => replica.gateway.sessions() === 1)
    replica.clock.advance(300)
    expect(replica.hypervisor.session(m1)).toBeUndefined()
  })

  it('is cut after 2.5 s of silence, and lives while the node pings', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    await passPinging(replica, node, 10_000)
    expect(replica.gateway.sessions()).toBe(1)

    replica.clock.advance(2_500)
    await settled(node)
    replica.clock.advance(3_000)
    expect((await node.end()).code).toBe(1006)
  })

  it('is not cut for what the replica did not hear while it stood still itself', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    replica.clock.standStill(6_000)
    await passPinging(replica, node, 5_000)
    expect(replica.gateway.sessions()).toBe(1)
    // Silence counts from then on.
    replica.clock.advance(3_000)
    expect((await node.end()).code).toBe(1006)
  })

  it('ends everywhere when the replica goes, and stays in the map for the next replica', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    const { session } = await node.hear('welcome')
    const closing = replica.gateway.close()

    expect(await node.hear('bye')).toMatchObject({ code: 'going-away', reconnect: true })
    expect((await node.end()).code).toBe(1001)
    await closing
    replica.clock.advance(10_000)
    expect(replica.hypervisor.session(m1)).toBe(session)
    expect(replica.hypervisor.closed).toEqual([])
  })

  it('is refused while the replica goes, so that its listener can be closed', async () => {
    const replica = await aReplica()
    replica.server.on('upgrade', () => undefined) // the links have a listener too
    const headers = { authorization: `Bearer ${aToken(replica.store, m1)}` }
    await replica.gateway.close()

    expect(await upgradeStatus(replica.url, nodePath, headers)).toBe(503)
  })

  it('is sent elsewhere too when the replica goes while it is being opened', async () => {
    const replica = await aReplica()
    let release!: () => void
    const held = new Promise<void>(resolve => (release = resolve))
    replica.hypervisor.afterOpen = () => held
    const silent = await aSocket(replica, mothership('m2'))
    const peer = await aSocket(replica, m1)
    peer.say(aHello(m1))
    await waitUntil('the session is written', () => replica.hypervisor.session(m1) !== undefined)
    const closing = replica.gateway.close()

    expect(await silent.hear('bye')).toMatchObject({ code: 'going-away', reconnect: true })
    expect(await peer.hear('bye')).toMatchObject({ code: 'going-away', reconnect: true })
    await closing
    const number = replica.hypervisor.session(m1)
    release()
    await new Promise(setImmediate) // everything that waited for it has gone on by then
    replica.clock.advance(1_000)
    expect(replica.gateway.sessions()).toBe(0)
    expect(replica.hypervisor.session(m1)).toBe(number)
    expect(replica.hypervisor.closed).toEqual([])
  })

  it('that its node gave up while it was being opened is deleted 300 ms later', async () => {
    const replica = await aReplica()
    let release!: () => void
    const held = new Promise<void>(resolve => (release = resolve))
    replica.hypervisor.afterOpen = () => held
    const peer = await aSocket(replica, m1)
    peer.say(aHello(m1))
    await waitUntil('the session is written', () => replica.hypervisor.session(m1) !== undefined)
    peer.say({ t: 'bye', code: 'stopping', reconnect: false })
    await peer.end()
    release()
    await new Promise(setImmediate) // everything that waited for it has gone on by then
    replica.clock.advance(299)
    expect(replica.hypervisor.session(m1)).toBeDefined()
    replica.clock.advance(1)
    expect(replica.hypervisor.session(m1)).toBeUndefined()
  })
})

describe('what is wanted', () => {
  it('comes whole, with its order, when the session begins', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    withInstances(replica, 'm2', 'news.2')
    const node = await aRawNode(replica, m1)
    const wanted = await node.hear('wanted')

    expect(wanted).toMatchObject({ base: null, gone: [], o: [1, replica.store.map.order.revision] })
    expect(Object.keys(wanted.put)).toEqual(['instances/news.1', 'keys'])
    expect(wanted.put['instances/news.1']).toMatchObject({ component: 'news', role: 'primary', epoch: 1 })
  })

  it('comes again, whole, once for all that changed within 20 ms, and only when it is another', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const node = await aRawNode(replica, m1)
    await node.hear('wanted')

    withInstances(replica, 'm2', 'news.2') // not for this node
    replica.clock.advance(20)
    withInstances(replica, 'm1', 'news.3')
    replica.clock.advance(19)
    replica.store.apply([remove('instances', 'news.1')])
    withInstances(replica, 'm1', 'news.4')
    replica.clock.advance(1)
    const second = await node.hear('wanted', 2)

    expect(Object.keys(second.put)).toEqual(['instances/news.3', 'instances/news.4', 'keys'])
    expect(second).toMatchObject({ base: null, o: [1, replica.store.map.order.revision] })
    replica.store.apply([remove('instances', 'news.3')])
    replica.clock.advance(20)
    const third = await node.hear('wanted', 3)
    expect(Object.keys(third.put)).toEqual(['instances/news.4', 'keys'])
    expect(node.all('wanted')).toHaveLength(3)
  })

  it('reaches a node that read slowly once it reads again, without another change', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const node = await aRawNode(replica, m1)
    await node.hear('wanted')
    node.socket.pause()
    const keys = (n: number, length: number): void => {
      const key = { id: `k-${n}`, privateKey: 'x', publicKey: 'y'.repeat(length) }
      replica.store.apply([put('keys', '', { schema: 1, keys: [key] })])
      replica.clock.advance(20)
    }
    // Far more than the 4 MiB that the gateway keeps for it, and the kernel's buffers beside them.
    for (let n = 0; n < 40; n++) keys(n, 900_000)
    keys(40, 10)
    expect(node.closed).toBeUndefined()
    node.socket.resume()

    const last = { keys: [{ id: 'k-40', publicKey: 'y'.repeat(10) }] }
    await waitUntil('the last state is there', async () => {
      await passPinging(replica, node, 500)
      return (
        node.all('wanted').at(-1)?.put['keys'] !== undefined &&
        node.all('wanted').at(-1)!.o[1] === replica.store.map.order.revision
      )
    })
    expect(node.all('wanted').at(-1)!.put['keys']).toEqual(last)
    expect(node.all('wanted').length).toBeLessThan(40)
  })

  it('is sent again to a node that refused all of it, once the map has moved on', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const node = await aRawNode(replica, m1)
    const first = await node.hear('wanted')
    node.say({ t: 'applied', o: first.o, refused: [{ key: '', reason: 'older than what is applied here' }] })
    await passPinging(replica, node, 10_000)
    expect(node.all('wanted')).toHaveLength(1)

    withInstances(replica, 'm2', 'news.2') // not for this node: the state is the same, its order is not
    await passPinging(replica, node, 1_000)
    const second = await node.hear('wanted', 2)
    expect(second.put).toEqual(first.put)
    expect(second.o[1]).toBeGreaterThan(first.o[1])
    node.say({ t: 'applied', o: second.o })
    withInstances(replica, 'm2', 'news.3')
    await passPinging(replica, node, 10_000)
    expect(node.all('wanted')).toHaveLength(2)
  })

  it('is not sent whole again for one entry that a node refused', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const node = await aRawNode(replica, m1)
    const first = await node.hear('wanted')
    node.say({ t: 'applied', o: first.o, refused: [{ key: 'instances/news.1', reason: 'its package is missing' }] })
    withInstances(replica, 'm2', 'news.2')
    await passPinging(replica, node, 10_000)
    expect(node.all('wanted')).toHaveLength(1)
  })

  it('tells each node what concerns it', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const server = await aRawNode(replica, rainServer('r1'))
    const { put: put1 } = await server.hear('wanted')
    expect(Object.keys(put1)).toEqual(['server', 'components/news/1.0.0'])

    const balancer = await aRawNode(replica, { kind: 'balancer', id: 'b1' })
    const { put: put2 } = await balancer.hear('wanted')
    expect(Object.keys(put2)).toEqual(['rainservers/r1', 'replicas/h1'])
  })

  it('is known to stand at a stop, where that leaves it as it is: nothing is sent, and a stop need not wait', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1', 'news.2')
    const server = await aRawNode(replica, rainServer('r1'))
    const { o } = await server.hear('wanted')
    const stop = (instance: string): number => {
      replica.store.apply([put('stops', instance, { schema: 1, stage: 'unwire', since: '2026-01-01T00:00:00.000Z' })])
      replica.clock.advance(20)
      return replica.store.map.order.revision
    }
    const applied = (): number | undefined => {
      const number = replica.hypervisor.session(rainServer('r1'))!
      return replica.hypervisor.applied.latest(rainServer('r1'), number)?.revision
    }
    const first = stop('news.1')
    expect([first > o[1], applied()]).toEqual([true, undefined])
    server.say({ t: 'applied', o })
    await waitUntil('it has applied what it was sent, which stands', () => applied() === first)
    const second = stop('news.2')
    expect(applied()).toBe(second)
    expect(server.all('wanted')).toHaveLength(1)
  })
})

describe('what a node reports', () => {
  it('is noted of instances that exist, under its own name', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1', 'news.2')
    const node = await aRawNode(replica, m1, { runs: [running('news.1'), running('news.gone')] })
    const { session } = await node.hear('welcome')
    node.say({ t: 'observed', items: [running('ghost.1'), { ...running('news.2'), phase: 'failed', reason: 'no' }] })
    await settled(node)

    expect(replica.hypervisor.reports).toEqual([
      { mothership: 'm1', session, items: [running('news.1')] },
      { mothership: 'm1', session, items: [{ ...running('news.2'), phase: 'failed', reason: 'no' }] },
    ])
  })

  it('is noted of instances that the node knew before this replica, once that has caught up', async () => {
    const replica = await aReplica()
    const { era, revision } = replica.store.map.order
    const node = await aRawNode(replica, m1, { o: [era, revision + 10], runs: [running('news.1'), running('news.9')] })
    const { session } = await node.hear('welcome')
    node.say({ t: 'observed', items: [running('news.2')] })
    await settled(node)
    expect(replica.hypervisor.reports.flatMap(each => each.items)).toEqual([])
    replica.hypervisor.reports.length = 0

    withInstances(replica, 'm1', 'news.1', 'news.2')
    for (let change = 0; change < 10; change++) replica.store.apply([put('settings', '', defaultSettings)])
    replica.clock.advance(1_000)
    expect(replica.hypervisor.reports).toEqual([
      { mothership: 'm1', session, items: [running('news.1'), running('news.2')] },
    ])
  })

  it('is refused where it is not its to say: a rain server observes no instances', async () => {
    const replica = await aReplica()
    withInstances(replica, 'm1', 'news.1')
    const server = await aRawNode(replica, rainServer('r1'))
    server.say({ t: 'observed', items: [running('news.1')] })

    expect(await server.hear('error')).toMatchObject({ message: 'only a mothership observes instances' })
    expect(replica.hypervisor.reports).toEqual([])
  })

  it('is its load, noted for itself', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    // Answered like a ping.
    const answered = new Promise(resolve => node.socket.once('pong', resolve))
    node.say({ t: 'load', cpu: 100, ram: 200, bandwidth: { in: 3, out: 4 }, windowMs: 1000 })
    await answered

    expect(replica.hypervisor.loads.latest(m1)).toMatchObject({ cpu: 100, ram: 200, bandwidth: 7 })
  })

  it('is told back when it is for somebody else', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    node.say({ t: 'cancel', r: 1 })
    expect(await node.hear('error')).toMatchObject({ message: 'cancel is not for a replica' })
  })
})

describe('a replica whose map is old', () => {
  const old = (replica: GatewayReplica): void => {
    replica.store.staleForMs = () => 2_500
  }

  it('sends its nodes to a fresher one, and leaves them their sessions', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    old(replica)
    replica.elsewhere(true)
    replica.clock.advance(500)
    expect(await node.hear('bye')).toMatchObject({ code: 'stale', reconnect: true })
  })

  it('keeps them while no other is fresher', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    old(replica)
    replica.clock.advance(2_000)
    await settled(node)
    expect([node.all('bye'), replica.gateway.sessions()]).toEqual([[], 1])
  })

  it('is not one whose map is fresh, whatever the others have', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    replica.elsewhere(true)
    replica.clock.advance(2_000)
    await settled(node)
    expect([node.all('bye'), replica.gateway.sessions()]).toEqual([[], 1])
  })
})

describe('frames that are none', () => {
  it('are told back nine times; the tenth closes the session', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    const bad = [Buffer.from([0xc1]), Buffer.from('text'), packr.pack([1]), packr.pack({ t: 'load', cpu: -1 })]
    for (let i = 0; i < 9; i++) node.socket.send(bad[i % bad.length]!)
    await settled(node)
    expect(node.all('error')).toHaveLength(10)
    expect(replica.gateway.sessions()).toBe(1)

    node.socket.send(bad[0]!)
    expect(await node.hear('bye')).toMatchObject({ code: 'bad-frames', reconnect: false })
    expect((await node.end()).code).toBe(1008)
  })

  it('close the session at once when they are too large', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    node.socket.send(Buffer.alloc(frameBytesMax + 1))
    expect((await node.end()).code).toBe(1009)
  })

  it('are not those of a newer release: an unknown type is answered, and no harm to it', async () => {
    const replica = await aReplica()
    const node = await aRawNode(replica, m1)
    for (let i = 0; i < 30; i++) node.socket.send(packr.pack({ t: 'tomorrow', i }))

    await node.hear('error', 30)
    expect(node.all('error').every(each => each.about === 'tomorrow' && each.message === 'unknown type')).toBe(true)
    expect(node.closed).toBeUndefined()
  })
})

describe('hints', () => {
  const load = (id: string, cpu: number) => ({ node: rainServer(id), cpu, ram: 0, bandwidth: 0, components: {} })

  it('tell balancers, and nobody else, what rain servers weigh; when that changes, and now and then', async () => {
    const replica = await aReplica()
    for (const id of ['r1', 'r2']) replica.store.apply([put('rainservers', id, aRainServer(id))])
    const balancer = await aRawNode(replica, { kind: 'balancer', id: 'b1' })
    const other = await aRawNode(replica, m1)
    const pass = async (ms: number, ...cpus: readonly [number, number]): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 500) {
        replica.hypervisor.loads.note(load('r1', cpus[0]))
        replica.hypervisor.loads.note(load('r2', cpus[1]))
        await passPinging(replica, balancer, 500)
      }
      await settled(balancer)
    }
    await pass(9_000, 200, 600)
    expect(balancer.all('hint').map(each => each.weights)).toEqual([{ r1: 140, r2: 60 }])
    await pass(3_000, 200, 600)
    expect(balancer.all('hint')).toHaveLength(2)
    await pass(9_000, 400, 400)
    const told = balancer.all('hint').map(each => each.weights)
    expect(told.at(-1)).toEqual({ r1: expect.closeTo(100, -1.3), r2: expect.closeTo(100, -1.3) })
    expect(told.length).toBeLessThanOrEqual(7)
    expect(other.all('hint')).toEqual([])
  })
})
