/** Nodes of this process behind proxies and firewalls that break websockets, at gateways of this process. */
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { put } from '../../src/cloud/records.js'
import type { NodeSessionOptions } from '../../src/sdk/node-session.js'
import { waitUntil } from '../support/etcd.js'
import { aNode, aReplica, closeAll, type GatewayReplica, mothership, type TestNode } from '../support/gateways.js'
import { BufferingProxy, ConnectProxy, Firewall, type Handshake } from '../support/hostile-proxies.js'
import { aComponent, anInstance } from '../support/records.js'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await closeAll()
  for (const close of closing.splice(0)) await close()
})

const m1 = mothership('m1')
const running = (instance: string) => ({ instance, epoch: 1, generation: 0, phase: 'running' as const })

/** The gateway's time goes with the world's: its nodes are cut when they are silent. */
function keepTime({ clock }: GatewayReplica): void {
  let thenMs = performance.now()
  const timer = setInterval(() => {
    const nowMs = performance.now()
    clock.advance(nowMs - thenMs)
    thenMs = nowMs
  }, 10)
  closing.unshift(() => Promise.resolve(clearInterval(timer)))
}

async function buffered(handshake: Handshake): Promise<{ replica: GatewayReplica; proxy: BufferingProxy }> {
  const replica = await aReplica()
  keepTime(replica)
  const proxy = await BufferingProxy.start(replica.url, handshake)
  closing.push(() => proxy.stop())
  hideReplica(replica, proxy.url)
  return { replica, proxy }
}

async function firewalled(): Promise<{ replica: GatewayReplica; firewall: Firewall }> {
  const replica = await aReplica()
  keepTime(replica)
  const firewall = await Firewall.start(replica.url)
  closing.push(() => firewall.stop())
  hideReplica(replica, firewall.url)
  return { replica, firewall }
}

/** Nodes are told this url of it, so that they never find the direct one. */
const hideReplica = (replica: GatewayReplica, url: string): void =>
  void replica.store.apply([put('replicas', 'h1', { schema: 1, id: 'h1', url, incarnation: 'h1-1' })])

const nodeAt = (replica: GatewayReplica, url: string, more: Partial<NodeSessionOptions> = {}): TestNode =>
  aNode([{ ...replica, url }], m1, more)

const live = (node: TestNode, withinMs = 20_000): Promise<void> =>
  waitUntil('the session is live', () => node.session.status === 'live', withinMs)

function want(replica: GatewayReplica, id: string): void {
  replica.store.apply([
    put('components', 'news/1.0.0', aComponent('news')),
    put('instances', id, anInstance(id, ['m1'])),
  ])
}

/** Wanted state goes down and observations go up. */
async function works(replica: GatewayReplica, node: TestNode, id: string, withinMs = 20_000): Promise<void> {
  want(replica, id)
  await waitUntil(`${id} is wanted`, () => node.states.at(-1)?.entries.has(`instances/${id}`) === true, withinMs)
  node.session.observed([running(id)])
  await waitUntil(`${id} is observed`, () => observed(replica).includes(id), withinMs)
}

const observed = (replica: GatewayReplica): string[] =>
  replica.hypervisor.reports.flatMap(each => each.items.map(item => item.instance))

describe('a node whose websockets do not pass', () => {
  it.each<[string, Handshake]>([
    ['is stripped of its upgrade', 'strip'],
    ['is answered by a page', 200],
    ['is refused', 400],
    ['is refused as if it had no right', 403],
    ['ends at a bad gateway', 502],
  ])('polls at once when the handshake %s', async (_name, handshake) => {
    const { replica, proxy } = await buffered(handshake)
    const node = nodeAt(replica, proxy.url)
    await live(node, 10_000)

    expect(node.session.way).toBe('polling')
    await works(replica, node, 'news.1', 10_000)
    expect(replica.gateway.sessions()).toBe(1)
  })

  it('polls after 3 s when nobody answers the handshake', async () => {
    const { replica, proxy } = await buffered('hang')
    const node = nodeAt(replica, proxy.url)
    await live(node, 10_000)
    expect(node.session.way).toBe('polling')
    await works(replica, node, 'news.1', 10_000)
  })

  it('moves back to a websocket once these pass, and loses nothing on the way', async () => {
    const { replica, proxy } = await buffered(400)
    const firewall = await Firewall.start(proxy.url)
    closing.push(() => firewall.stop())
    hideReplica(replica, firewall.url)
    const statuses: string[] = []
    const node = nodeAt(replica, firewall.url, { onStatus: status => statuses.push(status) })
    await live(node, 10_000)
    expect(node.session.way).toBe('polling')
    firewall.target = new URL(replica.url)
    for (let i = 1; node.session.way === 'polling'; i++) {
      await works(replica, node, `news.${i}`)
      await waitUntil('a moment has passed', () => node.session.way === 'websocket', 300).catch(() => undefined)
    }
    await works(replica, node, 'news.after')

    expect(statuses).toEqual(['live'])
    expect(replica.gateway.sessions()).toBe(1)
    expect(replica.hypervisor.closed).toEqual([])
  })

  it('keeps its polls when a websocket is tried beside and is no good', async () => {
    const { replica, proxy } = await buffered(400)
    const node = nodeAt(replica, proxy.url)
    await live(node, 10_000)
    const before = replica.hypervisor.session(m1)
    await waitUntil('websockets were tried again', () => proxy.handshakes >= 2, 15_000)
    await works(replica, node, 'news.1', 10_000)
    expect(replica.hypervisor.session(m1)).toBe(before)
  })
})

describe('polls through a proxy that fails', () => {
  it.each(['doubled', 'request-lost', 'answer-lost', 'answer-cut', 'bad-gateway'] as const)(
    'lose no frame and double none when every third request is %s',
    async mishap => {
      const { replica, proxy } = await buffered(400)
      const node = nodeAt(replica, proxy.url)
      await live(node, 10_000)
      const session = replica.hypervisor.session(m1)
      let count = 0
      proxy.mishap = () => (++count % 3 === 0 ? mishap : 'none')
      const ids = Array.from({ length: 12 }, (_, i) => `news.${i + 1}`)
      for (const id of ids) await works(replica, node, id, 10_000)

      expect(observed(replica)).toEqual(ids)
      expect(replica.hypervisor.session(m1)).toBe(session)
      expect(node.log.notes.filter(note => /cannot be read|understand/.test(note.message))).toEqual([])
    },
  )

  it('lose no frame whatever goes wrong with which request', async () => {
    const { replica, proxy } = await buffered(400)
    const node = nodeAt(replica, proxy.url)
    await live(node, 10_000)
    const [mishaps] = fc.sample(
      fc.array(fc.constantFrom('none', 'none', 'doubled', 'request-lost', 'answer-lost', 'answer-cut', 'bad-gateway'), {
        minLength: 400,
        maxLength: 400,
      }),
      { numRuns: 1, seed: Number(process.hrtime.bigint() % 1_000_000n) },
    )
    proxy.mishap = () => (mishaps!.pop() ?? 'none') as ReturnType<BufferingProxy['mishap']>
    const ids = Array.from({ length: 10 }, (_, i) => `news.${i + 1}`)
    for (const id of ids) await works(replica, node, id, 10_000)
    expect([...new Set(observed(replica))]).toEqual(ids)
  })

  it('carry a state of more than 3 MiB', async () => {
    const { replica, proxy } = await buffered(400)
    const publicKey = 'x'.repeat(3_000_000)
    replica.store.apply([put('keys', '', { schema: 1, keys: [{ id: 'k-1', privateKey: '', publicKey }] })])
    const node = nodeAt(replica, proxy.url)
    await waitUntil('it is there', () => node.states.length > 0, 10_000)
    expect(node.states[0]!.entries.get('keys')).toEqual({ keys: [{ id: 'k-1', publicKey }] })
  })
})

describe('a firewall that forgets connections', () => {
  it('leaves alone a websocket, on which there is a ping every second', async () => {
    const { replica, firewall } = await firewalled()
    firewall.idleMs = 1_500
    const node = nodeAt(replica, firewall.url)
    await live(node)
    const session = replica.hypervisor.session(m1)
    const untilMs = performance.now() + 4_000
    await waitUntil('some time has passed', () => performance.now() > untilMs)
    expect([firewall.forgotten, replica.hypervisor.session(m1)]).toEqual([0, session])
    expect(node.session.way).toBe('websocket')
  })

  it('is noticed within two missed pings, and the node is back at once', async () => {
    const { replica, firewall } = await firewalled()
    const node = nodeAt(replica, firewall.url)
    await live(node)
    const session = replica.hypervisor.session(m1)
    firewall.forgetAll()
    const fromMs = performance.now()
    await waitUntil('there is another session', () => (replica.hypervisor.session(m1) ?? 0) > session!, 12_000)
    expect(performance.now() - fromMs).toBeLessThan(5_000)
    await works(replica, node, 'news.1')
    expect(node.session.way).toBe('websocket')
  })

  it('makes a node poll when it forgets two young websockets in a row, and not for ever', async () => {
    const { replica, firewall } = await firewalled()
    const node = nodeAt(replica, firewall.url)
    for (let i = 0; i < 2; i++) {
      await live(node)
      const session = replica.hypervisor.session(m1)!
      firewall.forgetAll()
      await waitUntil('there is another session', () => (replica.hypervisor.session(m1) ?? 0) > session, 12_000)
    }
    await live(node)
    expect(node.session.way).toBe('polling')
    await works(replica, node, 'news.1')
    await waitUntil('it is back at a websocket', () => node.session.way === 'websocket', 20_000)
    await works(replica, node, 'news.2')
  }, 40_000)

  it('drops a held poll without a word: what is to be heard is there soon, in the same session', async () => {
    const { replica, proxy } = await buffered(400)
    const firewall = await Firewall.start(proxy.url)
    closing.push(() => firewall.stop())
    hideReplica(replica, firewall.url)
    firewall.idleMs = 1_500
    const node = nodeAt(replica, firewall.url)
    await live(node, 10_000)
    const session = replica.hypervisor.session(m1)
    await waitUntil('the held poll is forgotten', () => firewall.forgotten > 0)
    await works(replica, node, 'news.1', 10_000)
    expect(replica.hypervisor.session(m1)).toBe(session)
  })

  it.each(['requests', 'replies'] as const)('is noticed when it swallows %s only, and when it heals', async way => {
    const { replica, firewall } = await firewalled()
    const node = nodeAt(replica, firewall.url)
    await live(node)
    firewall.cut(way)
    await waitUntil('it is noticed', () => node.session.status === 'connecting', 10_000)
    want(replica, 'news.1')
    firewall.heal()
    await live(node, 15_000)
    await works(replica, node, 'news.2', 10_000)
    expect(node.states.at(-1)!.entries.has('instances/news.1')).toBe(true)
  })

  it('that resets connections in the middle of frames costs sessions, and no word', async () => {
    const { replica, firewall } = await firewalled()
    let count = 0
    firewall.resetAfter = () => (count++ < 6 ? 700 + count * 130 : Number.POSITIVE_INFINITY)
    const node = nodeAt(replica, firewall.url)
    for (let i = 1; i <= 8; i++) await works(replica, node, `news.${i}`)
    expect(firewall.resets).toBeGreaterThan(2)
    expect([...new Set(observed(replica))].sort()).toEqual(Array.from({ length: 8 }, (_, i) => `news.${i + 1}`))
  })
})

describe('a proxy that opens tunnels to port 443 only', () => {
  const hidden = 'http://h1.cloud.example:443'

  it.each<[string, Partial<NodeSessionOptions['network']>, string]>([
    ['a websocket', {}, 'websocket'],
    ['polls', { pollHoldMs: 1_000 }, 'polling'],
  ])('carries a session by %s', async (_name, network, way) => {
    const replica = await aReplica()
    keepTime(replica)
    let target = replica.url
    if (way === 'polling') {
      const inner = await BufferingProxy.start(replica.url, 'strip')
      closing.push(() => inner.stop())
      target = inner.url
    }
    const proxy = await ConnectProxy.start(new Map([['h1.cloud.example', new URL(target)]]), {
      credential: 'node:secret',
    })
    closing.push(() => proxy.stop())
    hideReplica(replica, hidden)
    const settings = { http: proxy.url, except: [] }
    const node = nodeAt(replica, hidden, { network: { ...network, proxy: settings } })
    await live(node, 10_000)

    await works(replica, node, 'news.1', 10_000)
    expect(node.session.way).toBe(way)
    expect(new Set(proxy.asked)).toEqual(new Set(['h1.cloud.example:443']))
  })

  it('says in the log why it does not', async () => {
    const replica = await aReplica()
    const proxy = await ConnectProxy.start(new Map())
    closing.push(() => proxy.stop())
    const node = nodeAt(replica, 'http://h1.cloud.example:7001', {
      network: { proxy: { http: proxy.url, except: [] } },
    })
    await waitUntil('it has failed', () => node.log.notes.length > 0)
    expect(node.log.notes[0]).toMatchObject({
      level: 'warn',
      fields: { reason: expect.stringMatching(/^the proxy .* answered 403 to CONNECT h1\.cloud\.example:7001$/) },
    })
  })
})
