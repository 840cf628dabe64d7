import { afterEach, describe, expect, it } from 'vitest'
import { put, remove } from '../../src/cloud/records.js'
import { digestOf } from '../../src/hypervisor/actors.js'
import { decode, encode } from '../../src/protocol/codec.js'
import { frameBytesMax, type Message, type MessageOf, type MessageType } from '../../src/protocol/messages.js'
import { type Batch, decodeBatch, encodeBatch, pollPath } from '../../src/protocol/poll.js'
import { waitUntil } from '../support/etcd.js'
import { aToken } from '../support/fake-hypervisor.js'
import { aHello, aRawNode, aReplica, closeAll, type GatewayReplica, mothership } from '../support/gateways.js'
import { aComponent, anInstance } from '../support/records.js'

afterEach(closeAll)

const m1 = mothership('m1')
const running = (instance: string) => ({ instance, epoch: 1, generation: 0, phase: 'running' as const })

interface Said {
  readonly status: number
  readonly batch: Batch | undefined
  readonly messages: readonly Message[]
  readonly text: string
}

/** A node that polls by hand. */
class Poller {
  connection = ''
  readonly heard: Message[] = []
  #said = 0
  #arrived = 0

  constructor(
    private readonly replica: GatewayReplica,
    private readonly token: string,
    private readonly id = 'm1',
  ) {}

  async post(query: string, body: Uint8Array = new Uint8Array(0)): Promise<Response> {
    return fetch(`${this.replica.url}${pollPath(this.id)}${query}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}` },
      body,
    })
  }

  async open(): Promise<number> {
    const answer = await this.post('')
    if (answer.status === 201) this.connection = ((await answer.json()) as { connection: string }).connection
    return answer.status
  }

  async batch(query: string, batch: Batch): Promise<Said> {
    const answer = await this.post(`?connection=${this.connection}&${query}`, encodeBatch(batch))
    const bytes = Buffer.from(await answer.arrayBuffer())
    const given = answer.status === 200 ? decodeBatch(bytes) : undefined
    const messages = (given?.frames ?? []).map(frame => {
      const decoded = decode(frame)
      if (decoded.kind !== 'message') throw new Error('a frame that is none')
      return decoded.message
    })
    return { status: answer.status, batch: given, messages, text: bytes.toString() }
  }

  /** Answered at once. */
  async say(...messages: readonly Message[]): Promise<Said> {
    const said = await this.batch('hold=0ms', this.next(...messages))
    if (said.status === 200) this.#said += messages.length
    return said
  }

  next(...messages: readonly Message[]): Batch {
    return { first: this.#said, arrived: this.#arrived, frames: messages.map(encode) }
  }

  async hold(): Promise<Said> {
    const said = await this.batch('hold=20s', this.next())
    this.#arrived += said.messages.length
    this.heard.push(...said.messages)
    return said
  }

  /** Held when this returns: it goes past the network. */
  async holdNow(): Promise<Message[]> {
    const body = encodeBatch(this.next())
    const call = { node: m1, connection: this.connection, holdMs: 20_000, last: false, whenOver: () => () => undefined }
    const batch = decodeBatch(await this.replica.gateway.polls.poll({ ...call, body }))
    this.#arrived += batch!.frames.length
    return batch!.frames.map(frame => (decode(frame) as { message: Message }).message)
  }

  async hear<T extends MessageType>(type: T): Promise<MessageOf<T>> {
    for (;;) {
      const found = this.heard.find((each): each is Extract<Message, MessageOf<T>> => each.t === type)
      if (found) return found
      const { status, text } = await this.hold()
      if (status !== 200) throw new Error(`${status}: ${text}`)
    }
  }
}

async function aPoller(replica: GatewayReplica, hello = true): Promise<Poller> {
  const poller = new Poller(replica, aToken(replica.store, m1))
  expect(await poller.open()).toBe(201)
  if (!hello) return poller
  await poller.say(aHello(m1))
  await poller.hear('welcome')
  return poller
}

describe('a session by polls', () => {
  it('is a session like any other: a number, a welcome, wanted state, reports', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica)
    const { session } = await node.hear('welcome')
    expect(session).toBe(replica.hypervisor.session(m1))
    expect((await node.hear('wanted')).base).toBeNull()
    await node.say({ t: 'load', cpu: 1, ram: 2, bandwidth: { in: 1, out: 2 }, windowMs: 1000 })
    expect(replica.hypervisor.loads.latest(m1)).toMatchObject({ cpu: 1, ram: 2, bandwidth: 3 })
    expect(replica.gateway.sessions()).toBe(1)
  })

  it('asks who polls, each time, and for whom', async () => {
    const replica = await aReplica()
    const operator = aToken(replica.store)
    const other = aToken(replica.store, mothership('m2'))
    expect(await new Poller(replica, 'wrong').open()).toBe(401)
    expect(await new Poller(replica, operator).open()).toBe(403)
    expect(await new Poller(replica, other).open()).toBe(403)

    const node = await aPoller(replica)
    const stranger = new Poller(replica, other, 'm2')
    stranger.connection = node.connection
    expect((await stranger.say({ t: 'observed', items: [running('news.1')] })).status).toBe(404)
    expect((await node.say()).status).toBe(200)
  })

  it('is answered with what is not to be kept', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica)
    const opened = await new Poller(replica, aToken(replica.store, m1)).post('')
    const polled = await node.post(`?connection=${node.connection}&hold=0ms`)
    expect([opened, polled].map(each => each.headers.get('cache-control'))).toEqual(['no-store', 'no-store'])
  })

  it('and a websocket of the same node end each other (N2)', async () => {
    const replica = await aReplica()
    const polls = await aPoller(replica)
    const websocket = await aRawNode(replica, m1)
    expect(await polls.hear('bye')).toMatchObject({ code: 'replaced', reconnect: false })
    expect(replica.hypervisor.session(m1)).toBe((await websocket.hear('welcome')).session)

    const again = await aPoller(replica)
    expect(await websocket.hear('bye')).toMatchObject({ code: 'replaced', reconnect: false })
    expect(replica.hypervisor.session(m1)).toBe((await again.hear('welcome')).session)
    expect(replica.gateway.sessions()).toBe(1)
  })

  it('that is over is not brought back by anything that was sent before, nor does it take the session', async () => {
    const replica = await aReplica()
    const old = await aPoller(replica, false)
    const hello = old.next(aHello(m1))
    await old.say(aHello(m1))
    await old.hear('welcome')
    const now = await aPoller(replica)
    await old.hear('bye')
    await old.say()
    const number = replica.hypervisor.session(m1)

    const late = await old.batch('hold=0ms', hello)
    expect([late.status, late.text]).toEqual([404, expect.stringMatching(/closed \(1000\)/)])
    expect(replica.hypervisor.session(m1)).toBe(number)
    expect((await now.say()).status).toBe(200)
  })

  it('hears a frame once only, however often it is sent', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica)
    replica.store.apply([
      put('components', 'news/1.0.0', aComponent('news')),
      put('instances', 'news.1', anInstance('news.1', ['m1'])),
    ])
    const batch = node.next({ t: 'observed', items: [running('news.1')] })
    for (let i = 0; i < 3; i++) expect((await node.batch('hold=0ms', batch)).batch).toMatchObject({ arrived: 2 })
    expect(replica.hypervisor.reports).toHaveLength(1)
  })

  it('says a frame again until it is known to have arrived', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica, false)
    await node.say(aHello(m1))
    await waitUntil('it is open', () => replica.gateway.sessions() === 1)
    const first = await node.batch('hold=20s', node.next())
    const second = await node.batch('hold=20s', node.next())
    expect(first.messages[0]).toMatchObject({ t: 'welcome' })
    expect(second.messages).toEqual(first.messages)
  })

  it('is held for as long as is asked, while there is nothing to say; a second request releases the first', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica)
    await node.hear('wanted')
    let answered = 0
    const held = node.batch('hold=2s', node.next()).finally(() => answered++)
    await node.say()
    expect(answered).toBe(0)
    const again = node.batch('hold=2s', node.next())
    expect((await held).messages).toEqual([])
    await waitUntil('it is released', async () => {
      replica.clock.advance(100)
      await node.say()
      return Promise.race([again.then(() => true), new Promise<false>(resolve => setTimeout(resolve, 5, false))])
    })
  })

  it('ends after 2.5 s without a poll, with its credential, and with the replica', async () => {
    const silent = await aReplica()
    await aPoller(silent)
    silent.clock.advance(3_500)
    expect(silent.gateway.sessions()).toBe(0)

    const revoked = await aReplica()
    const node = await aPoller(revoked)
    await node.hear('wanted')
    const held = node.holdNow()
    revoked.store.apply([remove('tokens', digestOf('secret-of-mothership-m1'))])
    expect(await held).toMatchObject([{ t: 'bye', code: 'revoked', reconnect: false }])
    expect((await node.say()).status).toBe(401)

    const leaving = await aReplica()
    const other = await aPoller(leaving)
    await other.hear('wanted')
    const bye = other.holdNow()
    const closing = leaving.gateway.close()
    expect(await bye).toMatchObject([{ t: 'bye', code: 'going-away', reconnect: true }])
    await other.say()
    await closing
    expect(leaving.hypervisor.session(m1)).toBeGreaterThan(0)
    expect(await new Poller(leaving, aToken(leaving.store, m1)).open()).toBe(503)
  })

  it('is refused what is no batch, or too large; and ends at what no honest node sends', async () => {
    const replica = await aReplica()
    const node = await aPoller(replica)
    const query = `?connection=${node.connection}&hold=0ms`
    expect((await node.post(query, Buffer.from('<html>'))).status).toBe(400)
    expect((await node.post(query, Buffer.alloc(frameBytesMax + 65 * 1024))).status).toBe(413)
    expect((await node.post(query)).status).toBe(200)
    const gap = { ...node.next({ t: 'observed', items: [] }), first: 7 }
    await node.batch('hold=0ms', gap)
    expect((await node.say()).text).toMatch(/frames are missing/)

    const liar = await aPoller(replica)
    await liar.batch('hold=0ms', { ...liar.next(), arrived: 99 })
    expect((await liar.say()).text).toMatch(/never sent/)
  })

  it('is one of eight at most of a node, said hello or not', async () => {
    const replica = await aReplica()
    const statuses: number[] = []
    for (let i = 0; i < 10; i++) statuses.push(await new Poller(replica, aToken(replica.store, m1)).open())
    expect(statuses).toEqual([...Array.from({ length: 8 }, () => 201), 503, 503])
    for (let i = 0; i < 12; i++) replica.clock.advance(500)
    expect(await new Poller(replica, aToken(replica.store, m1)).open()).toBe(201)
  })
})
