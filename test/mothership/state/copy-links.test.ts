/** Links between the copies of two motherships: real sockets, a proxy that loses what the test says. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { Packr } from 'msgpackr'
import { afterEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import { systemChance, systemClock } from '../../../src/main/world.js'
import { RenderLinks } from '../../../src/mothership/links.js'
import type { Carried } from '../../../src/mothership/state/carried.js'
import { CopyLinks } from '../../../src/mothership/state/copy-links.js'
import { frameOf, openFrame, packMessage } from '../../../src/mothership/state/copy-wire.js'
import { copiesPath, subprotocol } from '../../../src/protocol/messages.js'
import { waitUntil } from '../../support/etcd.js'
import { ConnectProxy } from '../../support/hostile-proxies.js'
import { TestLog } from '../../support/logs.js'
import { TestProxy } from '../../support/proxy.js'
import { upgradeStatus } from '../../support/sockets.js'
import { aKey } from '../../support/tickets.js'

const key = aKey()
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A mothership as far as its copies are linked. */
class Linked {
  readonly log = new TestLog()
  readonly heard: { readonly from: string; readonly instance: string; readonly carried: Carried }[] = []
  readonly events: string[] = []
  readonly links: CopyLinks
  url = ''

  private constructor(
    readonly id: string,
    proxy: string | undefined,
  ) {
    this.links = new CopyLinks({
      self: id,
      clock: systemClock,
      chance: systemChance,
      log: this.log,
      keys: () => [key],
      ...(proxy === undefined ? {} : { proxy: { http: proxy, except: [] } }),
      onLink: (mothership, up) => void this.events.push(`${mothership} ${up ? 'up' : 'down'}`),
      onCarried: (from, instance, carried) => void this.heard.push({ from, instance, carried }),
    })
  }

  static async start(id: string, proxy?: string): Promise<Linked> {
    const linked = new Linked(id, proxy)
    const failed = async () => ({ t: 'failed', r: 0, status: 500, reason: '' }) as const
    const listener = new RenderLinks({
      id,
      clock: systemClock,
      log: linked.log,
      keys: () => [key],
      upgrades: { [copiesPath]: (...request) => linked.links.accept(...request) },
      onRender: failed,
      onCall: failed,
      onTraffic: () => undefined,
    })
    linked.url = `ws://127.0.0.1:${await listener.listen({ host: '127.0.0.1', port: 0 })}`
    closers.push(() => listener.close())
    closers.push(() => linked.links.close())
    return linked
  }

  dials(other: string, address: string, ticket = ticketOf(this.id, other)): void {
    this.links.apply([{ mothership: other, address, ticket }])
  }

  /** Why its links ended. */
  get reasons(): readonly string[] {
    const closed = this.log.entries.filter(each => each.message === 'a link between copies is closed')
    return closed.map(each => (each.fields as { reason: string }).reason)
  }

  get up(): boolean {
    return this.events.at(-1)?.endsWith('up') === true
  }

  async until(...events: readonly string[]): Promise<void> {
    await waitUntil(`${this.id}: ${events.join(', ')}; now ${this.events.join(', ')}`, () => {
      return events.every((each, index) => this.events[this.events.length - events.length + index] === each)
    })
  }
}

const ticketOf = (who: string, toWhom: string, more = {}): string =>
  key.ticket(toWhom, { who: `mothership/${who}`, ...more })

const beacon = (round: number): Carried => ({ k: 'copy', message: { k: 'beacon', epoch: 1, round } })
const roundsOf = ({ heard }: Linked): number[] =>
  heard.map(({ carried }) => (carried.k === 'copy' && carried.message.k === 'beacon' ? carried.message.round : -1))

/** Two that are linked, the first one through a proxy. */
async function pair(): Promise<{ a: Linked; b: Linked; proxy: TestProxy }> {
  const [a, b] = [await Linked.start('a'), await Linked.start('b')]
  const proxy = await TestProxy.start(b.url.replace('ws', 'http'))
  closers.push(() => proxy.stop())
  a.dials('b', proxy.url.replace('http', 'ws'))
  await Promise.all([a.until('b up'), b.until('a up')])
  return { a, b, proxy }
}

describe('a link between copies', () => {
  it('carries everything in order, both ways, for many instances', async () => {
    const { a, b } = await pair()
    for (let round = 0; round < 5_000; round++) {
      a.links.send('b', `i${round % 3}`, beacon(round))
      b.links.send('a', 'i', beacon(-round + 5_000))
      if (round % 500 === 0) await new Promise(setImmediate)
    }
    await waitUntil('all has come', () => a.heard.length === 5_000 && b.heard.length === 5_000)
    expect(roundsOf(b)).toEqual(Array.from({ length: 5_000 }, (_, round) => round))
    expect(roundsOf(a)).toEqual(Array.from({ length: 5_000 }, (_, round) => 5_000 - round))
    expect(b.heard[4]).toEqual({ from: 'a', instance: 'i1', carried: beacon(4) })
  })

  it('carries the largest messages that there are', async () => {
    const { a, b } = await pair()
    const state = 'ä'.repeat((4 * 1024 * 1024 - 200) / 2)
    a.links.send('b', 'i', beacon(1))
    a.links.send('b', 'i', { k: 'copy', message: { k: 'state', epoch: 1, at: { seq: 1, digest: 'x' }, state } })
    a.links.send('b', 'i', beacon(2))
    await waitUntil('all has come', () => b.heard.length === 3)
    expect(b.heard[1]?.carried).toMatchObject({ message: { k: 'state', state } })
  })

  it('carries documents as the JSON that they are', async () => {
    const { a, b } = await pair()
    const document: unknown = JSON.parse(
      '{"__proto__":{"x":1},"half":"\\ud800","list":[null,-0.5,1e300,9007199254740993]}',
    )
    const outcome = { kind: 'read', epoch: 1, seq: 2, document } as const
    a.links.send('b', 'i', { k: 'outcome', n: 1, outcome })
    a.links.send('b', 'i', { k: 'outcome', n: 2, outcome: { ...outcome, document: null } })
    await waitUntil('both have come', () => b.heard.length === 2)
    expect(JSON.stringify(b.heard[0]?.carried)).toBe(JSON.stringify({ k: 'outcome', n: 1, outcome }))
    expect(b.heard[1]?.carried).toMatchObject({ outcome: { document: null } })
  })

  it('is dialled again when it is cut, and nothing comes late', async () => {
    const { a, b, proxy } = await pair()
    for (let round = 1; round <= 5; round++) {
      proxy.hold('requests')
      a.links.send('b', 'i', beacon(round))
      await waitUntil('it is on its way', () => proxy.heldBytes('requests') > 0)
      proxy.cut()
      proxy.release()
      await Promise.all([a.until('b down', 'b up'), b.until('a down', 'a up')])
    }
    a.links.send('b', 'i', beacon(99))
    await waitUntil('the last one has come', () => b.heard.length > 0)
    expect(roundsOf(b)).toEqual([99])
  })

  it('goes through a proxy where there is one, and is dialled on while that refuses', async () => {
    const b = await Linked.start('b')
    const hosts = new Map<string, URL>()
    const proxy = await ConnectProxy.start(hosts)
    closers.push(() => proxy.stop())
    const a = await Linked.start('a', proxy.url)
    a.dials('b', 'ws://b.example:443')
    await waitUntil('it is refused', () => proxy.asked.length > 1)
    expect(a.events).toEqual([])
    const { reason } = a.log.entries.find(each => each.message.startsWith('no link'))!.fields as { reason: string }
    expect(reason).toMatch(/^the proxy 127\.0\.0\.1:\d+ answered 502 to CONNECT b\.example:443$/)
    hosts.set('b.example', new URL(b.url.replace('ws', 'http')))
    await Promise.all([a.until('b up'), b.until('a up')])
    expect(new Set(proxy.asked)).toEqual(new Set(['b.example:443']))
  })

  it('is not dialled as fast as it is refused, and the reason is told once', async () => {
    const { a, proxy } = await pair()
    proxy.refuse()
    await a.until('b down')
    await new Promise(resolve => setTimeout(resolve, 600))
    const told = a.log.said.filter(each => each === 'no link between copies: dialling on')
    expect(told.length).toBeLessThanOrEqual(2)
    proxy.accept()
    await a.until('b up')
  })

  it('is over at both ends after a second in which nothing passes, and comes back by itself', async () => {
    const { a, b, proxy } = await pair()
    proxy.stallOpen()
    await Promise.all([a.until('b down', 'b up'), b.until('a down', 'a up')])
    expect(a.reasons).toEqual(['silent'])
    expect(b.reasons).toEqual([expect.stringMatching(/^silent$|^a newer link$/)])
    a.links.send('b', 'i', beacon(1))
    await waitUntil('it has come', () => b.heard.length === 1)
  })

  it('stays while nothing is said', async () => {
    const { a, b } = await pair()
    await new Promise(resolve => setTimeout(resolve, 1_500))
    expect([a.events, b.events]).toEqual([['b up'], ['a up']])
  })

  it('is over when the other end does not take what is sent', async () => {
    const { a, b, proxy } = await pair()
    proxy.stallOpen()
    const body = 'x'.repeat(500_000)
    for (let n = 0; n < 200; n++) a.links.send('b', 'i', { k: 'propose', n, base: { digest: 'x', earliest: 0 }, body })
    expect(a.events, 'not while something is sent').toEqual(['b up'])
    await waitUntil('it is over', () => a.events.length > 1)
    expect(a.reasons).toEqual([expect.stringMatching(/^it does not take what is sent: \d+ bytes wait$/)])
    await a.until('b down', 'b up')
    await b.until('a down', 'a up')
    a.links.send('b', 'i', beacon(1))
    await waitUntil('the next link works', () => b.heard.length === 1)
  })

  it('is the newest one of a mothership', async () => {
    const { b } = await pair()
    const socket = new WebSocket(b.url + copiesPath, subprotocol, {
      headers: { authorization: `Bearer ${ticketOf('a', 'b')}` },
    })
    closers.push(() => socket.terminate())
    await b.until('a up', 'a down', 'a up')
  })

  it('ends when no copies are in common any more, and is dialled elsewhere when the other one has moved', async () => {
    const { a, b, proxy } = await pair()
    a.dials('b', b.url)
    await a.until('b down', 'b up')
    await waitUntil('the old connection is closed', () => proxy.connections === 0)
    a.links.apply([])
    await Promise.all([a.until('b down'), b.until('a down')])
    await new Promise(resolve => setTimeout(resolve, 300))
    expect([a.up, b.up]).toEqual([false, false])
  })

  it('is dialled by the one with the lower id only', async () => {
    const [a, b] = [await Linked.start('a'), await Linked.start('b')]
    b.dials('a', a.url)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect([a.events, b.events]).toEqual([[], []])
  })
})

describe('a link between copies is refused', () => {
  it.each<[string, string, number]>([
    ['without a ticket', '', 401],
    ['with something else', 'x.y.z', 401],
    ['with a ticket for another mothership', ticketOf('a', 'c'), 401],
    ['with one that has expired', ticketOf('a', 'b', { expires: Date.now() - 120_000 }), 401],
    ['with one that is not valid yet', ticketOf('a', 'b', { notBefore: Date.now() + 120_000 }), 401],
    ['with one of an unknown key', aKey('k2').ticket('b', { who: 'mothership/a' }), 401],
    ['with one of another key under the same name', aKey('k1').ticket('b', { who: 'mothership/a' }), 401],
    ['with that of a rain server', key.ticket('b'), 403],
    ['with that of a mothership that is to be dialled itself', ticketOf('c', 'b'), 403],
    ['with its own', ticketOf('b', 'b'), 403],
  ])('%s', async (_name, ticket, status) => {
    const b = await Linked.start('b')
    expect(await upgradeStatus(b.url, copiesPath, { authorization: `Bearer ${ticket}` })).toBe(status)
    expect(b.events).toEqual([])
  })

  it('by a mothership that goes', async () => {
    const b = await Linked.start('b')
    b.links.close()
    const headers = { authorization: `Bearer ${ticketOf('a', 'b')}` }
    expect(await upgradeStatus(b.url, copiesPath, headers)).toBe(503)
  })

  it('until there is a better ticket', async () => {
    const [a, b] = [await Linked.start('a'), await Linked.start('b')]
    a.dials('b', b.url, ticketOf('a', 'b', { expires: 0 }))
    await waitUntil('it is told', () => a.log.said.includes('no link between copies: dialling on'))
    a.dials('b', b.url)
    await Promise.all([a.until('b up'), b.until('a up')])
  })
})

describe('what is no message', () => {
  const packr = new Packr({ useRecords: false })
  const good = packMessage('i', beacon(1))
  it.each<[string, Uint8Array | string, RegExp]>([
    ['text', 'hello', /cannot be read/],
    ['nothing', Buffer.alloc(0), /cannot be read/],
    ['bytes', Buffer.from([0xc1, 0xff, 0x00]), /cannot be read/],
    ['half a frame', frameOf([good]).subarray(0, 20), /cannot be read/],
    ['no list', packr.pack({ instance: 'i' }), /wrong fields/],
    ['a list of something else', packr.pack([1]), /wrong fields/],
    ['a message of no kind', packr.pack([{ instance: 'i', carried: { k: 'x' } }]), /wrong fields/],
    ['no instance', packr.pack([{ instance: '', carried: beacon(1) }]), /wrong fields/],
    ['a number that is none', packr.pack([{ instance: 'i', carried: { k: 'read', n: -1 } }]), /wrong fields/],
    [
      'a document that is not JSON',
      packr.pack([{ instance: 'i', carried: { k: 'outcome', outcome: { document: 'ä{' } } }]),
      /cannot be read/,
    ],
    ['a good one before it', frameOf([good, packr.pack('x')]), /wrong fields/],
  ])('ends the link that carried it, with the reason, and reaches nobody: %s', async (_name, frame, reason) => {
    const b = await Linked.start('b')
    const socket = new WebSocket(b.url + copiesPath, subprotocol, {
      headers: { authorization: `Bearer ${ticketOf('a', 'b')}` },
    })
    await once(socket, 'open')
    socket.send(frame)
    const [code, said] = (await once(socket, 'close')) as [number, Buffer]
    expect(code).toBe(1008)
    expect(said.toString()).toMatch(reason)
    expect(b.heard).toEqual([])
    expect(b.events).toEqual(['a up', 'a down'])
  })

  it('ends the link when it is too large', async () => {
    const b = await Linked.start('b')
    const socket = new WebSocket(b.url + copiesPath, subprotocol, {
      headers: { authorization: `Bearer ${ticketOf('a', 'b')}` },
    })
    socket.on('error', () => undefined)
    await once(socket, 'open')
    socket.send(Buffer.alloc(4 * 1024 * 1024 + 1))
    const [code] = (await once(socket, 'close')) as [number]
    expect([1006, 1009]).toContain(code)
    await b.until('a up', 'a down')
  })

  it('does no harm when it is not even a websocket', async () => {
    const { a, b } = await pair()
    const socket = connect(Number(new URL(b.url).port), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write('GET /copies HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\0\0\0')
    socket.end()
    socket.resume()
    await once(socket, 'close')
    a.links.send('b', 'i', beacon(1))
    await waitUntil('the link is as it was', () => b.heard.length === 1)
  })

  it('is told from messages, whatever the bytes', () => {
    expect(openFrame(frameOf([]))).toEqual({ kind: 'good', messages: [] })
    expect(openFrame(frameOf([good]))).toMatchObject({ kind: 'good', messages: [{ instance: 'i' }] })
    const whole = frameOf([good, good])
    for (let at = 0; at < whole.byteLength; at++) {
      for (const value of [0, 0x7f, 0xc1, 0xdf, 0xff]) {
        const bytes = Buffer.from(whole)
        bytes[at] = value
        expect(['good', 'bad']).toContain(openFrame(bytes).kind)
      }
    }
  })
})
