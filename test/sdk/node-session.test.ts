import { Packr } from 'msgpackr'
import { afterEach, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { put, remove } from '../../src/cloud/records.js'
import { digestOf } from '../../src/hypervisor/actors.js'
import { decode, encode } from '../../src/protocol/codec.js'
import { type Message, nodePath, replicaFrameBytesMax } from '../../src/protocol/messages.js'
import { NodeSession, type NodeSessionOptions, type WantedState } from '../../src/sdk/node-session.js'
import { waitUntil } from '../support/etcd.js'
import { FakeLog } from '../support/fake-hypervisor.js'
import { aNode, aReplica, closeAll, type GatewayReplica, mothership, type TestNode } from '../support/gateways.js'
import { aComponent, anInstance } from '../support/records.js'
import { type Listening, listening } from '../support/sockets.js'

afterEach(closeAll)

const m1 = mothership('m1')

const running = (instance: string) => ({ instance, epoch: 1, generation: 0, phase: 'running' as const })

/** Changes what is wanted of m1 and lets the gateways' time pass. */
function instances(replicas: readonly GatewayReplica[], ...ids: readonly string[]): void {
  const { store } = replicas[0]!
  store.apply([
    put('components', 'news/1.0.0', aComponent('news')),
    ...ids.map(id => put('instances', id, anInstance(id, ['m1']))),
  ])
  for (const { clock } of replicas) clock.advance(20)
}

const live = (node: TestNode): Promise<void> => waitUntil('the session is live', () => node.session.status === 'live')

const keysOf = (state: WantedState | undefined): string[] => [...(state?.entries.keys() ?? [])]

const isWanted = (node: TestNode, id: string): Promise<void> =>
  waitUntil(`${id} is wanted`, () => keysOf(node.states.at(-1)).includes(`instances/${id}`))

describe('a node’s session', () => {
  it('is live once the replica welcomes it, and hands on what is wanted', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1)
    await live(node)
    instances([h1], 'news.1')
    await isWanted(node, 'news.1')

    expect(node.states.at(-1)!.order).toEqual({ era: 1, revision: h1.store.map.order.revision })
    expect(node.session.replicas).toEqual([h1.url])
  })

  it('takes a state of more than 1 MiB: a rain server may need to know of very many copies', async () => {
    const h1 = await aReplica()
    const publicKey = 'x'.repeat(3_000_000)
    h1.store.apply([put('keys', '', { schema: 1, keys: [{ id: 'k-1', privateKey: '', publicKey }] })])
    const node = aNode([h1], m1)
    await waitUntil('it is there', () => node.states.length > 0)

    expect(node.states[0]!.entries.get('keys')).toEqual({ keys: [{ id: 'k-1', publicKey }] })
    expect(node.session.status).toBe('live')
  })

  it('stays, without it, when a state is larger than any frame may be', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1)
    await live(node)
    const keys = (length: number): void => {
      const key = { id: 'k-1', privateKey: '', publicKey: 'x'.repeat(length) }
      h1.store.apply([put('keys', '', { schema: 1, keys: [key] })])
      h1.clock.advance(20)
    }
    keys(replicaFrameBytesMax)
    expect(h1.log.said('a wanted state could not be sent')).toBe(true)
    keys(10)
    await waitUntil('the next one is there', () =>
      JSON.stringify([...node.states.at(-1)!.entries]).includes('x'.repeat(10)),
    )
    expect(node.log.notes.filter(note => note.level !== 'info')).toEqual([])
  })

  it('refuses a state older than what it applied in an earlier life, until the era is a later one (S10)', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1, { initialOrder: { era: 1, revision: 1_000 } })
    await waitUntil('the refusal is heard', () => h1.log.said('a node refused what is wanted'))
    expect(h1.log.notes.find(note => note.level === 'warn')!.fields).toMatchObject({
      refused: [{ key: '', reason: 'older than 1.1000, which is applied here' }],
    })
    expect(node.states).toEqual([])

    h1.store.apply([put('era', '', { schema: 1, era: 2 })])
    instances([h1], 'news.1')
    await isWanted(node, 'news.1')
    expect(node.states.at(-1)!.order.era).toBe(2)
  })

  it('moves to another replica when its own goes, and never loses its place in the map', async () => {
    const h1 = await aReplica('h1')
    const h2 = await aReplica('h2', h1.store)
    const node = aNode([h1, h2], m1)
    await live(node)
    const deleted: string[] = []
    h1.store.onChange(changes => {
      for (const change of changes) if (change.kind === 'sessions' && change.value === null) deleted.push(change.id)
    })
    expect(h1.gateway.sessions()).toBe(1)
    await h1.gateway.close()

    await waitUntil('the node is at the other one', () => h2.gateway.sessions() === 1)
    await live(node)
    h1.clock.advance(10_000)
    expect(h1.store.map.get('sessions', 'mothership/m1')!.value.replica).toBe('h2')
    expect(deleted).toEqual([])
    instances([h2], 'news.1')
    await isWanted(node, 'news.1')
  })

  it('learns of replicas from the one that it knows', async () => {
    const h1 = await aReplica('h1')
    const h2 = await aReplica('h2', h1.store)
    const node = aNode([h1], m1)
    await live(node)
    expect([...node.session.replicas].sort()).toEqual([h1.url, h2.url].sort())
    await h1.gateway.close()
    await waitUntil('the node is at the one that it was told of', () => h2.gateway.sessions() === 1)
  })

  it('tells in its next session what it observed without one: the newest word on each instance', async () => {
    const h1 = await aReplica()
    instances([h1], 'news.1', 'news.2')
    const node = aNode([h1], m1)
    node.session.observed([running('news.1'), { ...running('news.2'), phase: 'starting' }])
    node.session.observed([running('news.2')])
    await live(node)
    await waitUntil('it is reported', () => h1.hypervisor.reports.length > 0)
    node.session.observed([{ ...running('news.1'), phase: 'failed', reason: 'it fell' }])
    await waitUntil('it is reported at once', () => h1.hypervisor.reports.length > 1)

    expect(h1.hypervisor.reports.map(each => each.items)).toEqual([
      [running('news.1'), running('news.2')],
      [{ ...running('news.1'), phase: 'failed', reason: 'it fell' }],
    ])
  })

  it('tells what it could not apply, whether it says so or throws', async () => {
    const h1 = await aReplica()
    let fail = false
    const node = aNode([h1], m1, {
      onWanted: () => {
        if (fail) throw new Error('the disk is full')
        return Promise.resolve([{ key: 'keys', reason: 'cannot be read' }])
      },
    })
    const refusals = (): unknown[] =>
      h1.log.notes.filter(note => note.message === 'a node refused what is wanted').map(note => note.fields)
    await waitUntil('the first refusal is heard', () => refusals().length === 1)
    fail = true
    instances([h1], 'news.1')
    await waitUntil('the second refusal is heard', () => refusals().length === 2)

    expect(refusals()).toMatchObject([
      { refused: [{ key: 'keys', reason: 'cannot be read' }] },
      { refused: [{ key: '', reason: 'could not be applied' }] },
    ])
    expect(node.session.status).toBe('live')
    expect(JSON.stringify(refusals())).not.toContain('disk')
  })

  it('asks again and again when its credential is refused, and says so in the log', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1)
    await live(node)
    await node.session.stop()
    h1.store.apply([remove('tokens', digestOf('secret-of-mothership-m1'))])
    const stranger = aNode([h1], m1, { token: 'secret-of-nobody' })
    await waitUntil('it is refused twice', () => stranger.log.notes.length >= 2)
    expect(stranger.log.notes[0]).toMatchObject({
      level: 'warn',
      fields: { replica: h1.url, reason: 'it answered 401: is the credential of this node right?' },
    })
    expect(JSON.stringify(stranger.log.notes)).not.toContain('secret-of-nobody')

    h1.store.apply([put('tokens', digestOf('secret-of-nobody'), tokenOf('secret-of-nobody'))])
    await live(stranger)
  })

  it('tries on while no replica can be reached', async () => {
    const h1 = await aReplica('h1')
    const h2 = await aReplica('h2', h1.store)
    await h1.gateway.close()
    await h1.close()
    const node = aNode([h1, h2], m1)
    await live(node)
    expect(h2.gateway.sessions()).toBe(1)
  })

  it('ends when it is stopped, and is deleted 300 ms later', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1)
    await live(node)
    await node.session.stop()

    expect(node.session.status).toBe('stopped')
    await waitUntil('the gateway has seen the end', () => h1.gateway.sessions() === 0)
    h1.clock.advance(300)
    expect(h1.hypervisor.session(m1)).toBeUndefined()
  })

  it('can be stopped before it was ever live', async () => {
    const h1 = await aReplica()
    const node = aNode([h1], m1)
    await node.session.stop()
    expect(node.session.status).toBe('stopped')
    expect(node.states).toEqual([])
  })
})

/** A replica whose every word is the test's. */
class ScriptedReplica {
  readonly heard: Message[] = []
  socket!: WebSocket
  sessions = 0
  pings = 0
  /** Whether it says that it answers load reports. */
  answersLoads = false

  constructor(readonly listener: Listening) {
    const sockets = new WebSocketServer({ server: listener.server, path: nodePath })
    sockets.on('connection', socket => {
      this.socket = socket
      this.sessions++
      socket.on('ping', () => this.pings++)
      socket.on('message', data => {
        const decoded = decode(data as Buffer)
        if (decoded.kind === 'message') this.heard.push(decoded.message)
      })
      const replicas = [{ id: 'h1', url: listener.url }]
      const { answersLoads } = this
      const times = { staleForMs: 0, pingMs: 1000, reconnectWithinMs: 0 }
      this.say({ t: 'welcome', session: 1, replicas, o: [1, 1], ...times, answersLoads })
    })
  }

  say(message: Message): void {
    this.socket.send(encode(message))
  }

  wanted(
    revision: number,
    put: Record<string, unknown>,
    base: [number, number] | null = null,
    gone: string[] = [],
  ): void {
    this.say({ t: 'wanted', o: [1, revision], base, put, gone })
  }

  /** Returns when the node has dealt with everything said before. */
  async settled(): Promise<void> {
    const answered = new Promise(resolve => this.socket.once('pong', resolve))
    this.socket.ping()
    await answered
  }

  /** Order, and why not, of each state that the node has answered. */
  applied(): unknown[] {
    return this.heard.flatMap(each =>
      each.t === 'applied' ? [[each.o[1], each.refused?.[0]?.reason ?? 'applied']] : [],
    )
  }
}

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function scripted(
  more: Partial<NodeSessionOptions> = {},
  answersLoads = false,
): Promise<TestNode & { replica: ScriptedReplica }> {
  const listener = await listening()
  const replica = new ScriptedReplica(listener)
  replica.answersLoads = answersLoads
  const states: WantedState[] = []
  const log = new FakeLog()
  const session = new NodeSession({
    node: m1,
    hypervisors: [listener.url],
    token: 'any',
    hello: () => ({ address: 'ws://m1.example:1' }),
    onWanted: state => {
      states.push(state)
      return Promise.resolve([])
    },
    log,
    random: () => 0,
    ...more,
  })
  closing.push(async () => {
    await session.stop()
    await listener.close()
  })
  session.start()
  await waitUntil('the session is live', () => session.status === 'live')
  return { replica, session, states, log }
}

describe('a session that is stopped', () => {
  it('ends, though its welcome was on the way', async () => {
    const listener = await listening()
    const replica = new ScriptedReplica(listener)
    const session = new NodeSession({
      node: m1,
      hypervisors: [listener.url],
      token: 'any',
      hello: () => ({ address: 'ws://m1.example:1' }),
      onWanted: () => Promise.resolve([]),
      log: new FakeLog(),
    })
    session.start()
    await waitUntil('the welcome is sent', () => replica.sessions === 1)
    await session.stop()
    expect([session.status, replica.sessions]).toEqual(['stopped', 1])
    await listener.close()
  })
})

describe('a load report', () => {
  it.each([
    [true, 0],
    [false, 1],
  ])('brings a ping along unless it is answered like one (%s)', async (answersLoads, pings) => {
    const { replica, session } = await scripted({}, answersLoads)
    await replica.settled()
    const before = replica.pings
    session.load({ cpu: 1, ram: 1, bandwidth: { in: 0, out: 0 }, windowMs: 1000 })
    await waitUntil('it is heard', () => replica.heard.some(each => each.t === 'load'))
    await replica.settled()
    expect(replica.pings - before).toBe(pings)
  })
})

describe('what a replica says to a node', () => {
  it('is applied one state at a time, and of those that come meanwhile the newest only', async () => {
    const begun: number[] = []
    const release: (() => void)[] = []
    let atOnce = 0
    let atOnceMost = 0
    const { replica } = await scripted({
      onWanted: async ({ order }) => {
        begun.push(order.revision)
        atOnceMost = Math.max(atOnceMost, ++atOnce)
        await new Promise<void>(resolve => release.push(resolve))
        atOnce--
        return []
      },
    })
    for (const revision of [1, 2, 3, 4]) replica.wanted(revision, { n: revision })
    await replica.settled()
    release[0]!()
    await waitUntil('the newest is being applied', () => release.length === 2)
    release[1]!()
    await waitUntil('both are answered', () => replica.applied().length === 2)

    expect(begun).toEqual([1, 4])
    expect(atOnceMost).toBe(1)
    expect(replica.applied()).toEqual([
      [1, 'applied'],
      [4, 'applied'],
    ])
  })

  it('may be the difference to what is there; on another base the whole is asked for', async () => {
    const { replica, states } = await scripted()
    replica.wanted(5, { c: 3 }, [1, 4])
    replica.wanted(6, { a: 1, b: 2 })
    replica.wanted(8, { b: 3, c: 4 }, [1, 6], ['a'])
    replica.wanted(9, { d: 5 }, [1, 7])
    await waitUntil('all are answered', () => replica.applied().length === 4)
    await replica.settled()

    const last = states.at(-1)!
    expect(Object.fromEntries(last.entries)).toEqual({ b: 3, c: 4 })
    expect(last.order).toEqual({ era: 1, revision: 8 })
    const whole = 'the base is not what is here: send the whole'
    expect(replica.applied()).toContainEqual([5, whole])
    expect(replica.applied()).toContainEqual([9, whole])
  })

  it('is refused when it is older than what is there, and taken when it is the same', async () => {
    const { replica, states } = await scripted()
    replica.wanted(6, { a: 1 })
    replica.wanted(5, { a: 0 })
    replica.wanted(6, { a: 1 })
    await waitUntil('all are answered', () => replica.applied().length === 3)
    await replica.settled()

    expect(replica.applied()).toContainEqual([5, 'older than 1.6, which is applied here'])
    expect(states.every(state => state.entries.get('a') === 1)).toBe(true)
  })

  it('may name a replica by an url that is none, which is passed over', async () => {
    const { replica, session } = await scripted()
    const bad = ['h9.example:1', 'ftp://h9.example', '', 'http://'].map((url, i) => ({ id: `h${i}`, url }))
    replica.say({ t: 'replicas', replicas: bad })
    await replica.settled()
    expect(session.replicas).toEqual([])
    replica.say({ t: 'bye', code: 'going-away', reconnect: true })
    await waitUntil('it is back', () => replica.sessions === 2)
    replica.say({ t: 'replicas', replicas: [...bad, { id: 'h1', url: replica.listener.url }] })
    await replica.settled()
    expect(session.replicas).toEqual([replica.listener.url])
  })

  it('may be good-bye: a node comes back at once when it may, and waits when it is not wanted', async () => {
    const welcome = await scripted()
    welcome.replica.say({ t: 'bye', code: 'going-away', reconnect: true })
    await waitUntil('it is back', () => welcome.replica.sessions === 2)
    expect(welcome.log.notes.filter(note => note.level === 'warn')).toMatchObject([{ fields: { againInMs: 0 } }])

    const chased = await scripted()
    chased.replica.say({ t: 'bye', code: 'replaced', reconnect: false })
    await waitUntil('it has lost its session', () => chased.session.status === 'connecting')
    const { fields } = chased.log.notes.find(note => note.level === 'warn')!
    expect((fields as { againInMs: number }).againInMs).toBeGreaterThanOrEqual(5_000)
  })

  it('is answered when a node does not know or does not expect it, and does no harm when it is no frame', async () => {
    const { replica, session, log } = await scripted()
    replica.socket.send(new Packr({ useRecords: false }).pack({ t: 'tomorrow' }))
    replica.say({ t: 'cancel', r: 1 })
    replica.socket.send(Buffer.from([0xc1]))
    await waitUntil('it is answered', () => replica.heard.filter(each => each.t === 'error').length === 2)
    await replica.settled()

    expect(replica.heard.filter(each => each.t === 'error')).toEqual([
      { t: 'error', about: 'tomorrow', message: 'unknown type' },
      { t: 'error', about: 'cancel', message: 'not for a node' },
    ])
    expect(log.said('a frame of the replica cannot be read')).toBe(true)
    expect(session.status).toBe('live')
  })

  it('is where the replicas are now, and how to weigh rain servers', async () => {
    const hints: unknown[] = []
    const { replica, session } = await scripted({ onHint: weights => hints.push(weights) })
    replica.say({ t: 'replicas', replicas: [{ id: 'h9', url: 'http://h9.example:1' }] })
    replica.say({ t: 'hint', weights: { r1: 0.5 } })
    await replica.settled()

    expect(session.replicas).toEqual(['http://h9.example:1'])
    expect(hints).toEqual([{ r1: 0.5 }])
  })
})

function tokenOf(secret: string) {
  return {
    schema: 1,
    id: digestOf(secret),
    role: 'node' as const,
    subject: 'mothership/m1',
    createdAt: '2026-01-01T00:00:00.000Z',
    node: { kind: 'mothership' as const, id: 'm1' },
  }
}
