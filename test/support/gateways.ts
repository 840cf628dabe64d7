/** Gateways on real listeners, behind the real REST, over fake hypervisors; and nodes that connect to them. */
import { createApi } from '../../src/api/server.js'
import type { NodeRef } from '../../src/cloud/ids.js'
import { put } from '../../src/cloud/records.js'
import { attachGateway, type Gateway } from '../../src/gateway/gateway.js'
import { wantedFor } from '../../src/hypervisor/wanted.js'
import { WeightBook } from '../../src/hypervisor/weights.js'
import { type MessageOf, nodePath } from '../../src/protocol/messages.js'
import { NodeSession, type NodeSessionOptions, type WantedState } from '../../src/sdk/node-session.js'
import { FakeClock } from './fake-clock.js'
import { aToken, FakeHypervisor, FakeLog } from './fake-hypervisor.js'
import type { PlainStore } from './plain-store.js'
import { type Listening, RawPeer } from './sockets.js'

export interface GatewayReplica extends Listening {
  readonly hypervisor: FakeHypervisor
  readonly store: PlainStore
  readonly gateway: Gateway
  /** The gateway's; nodes keep real time. */
  readonly clock: FakeClock
  readonly log: FakeLog
  /** Another replica has a fresher map, or none has. */
  elsewhere(fresher: boolean): void
}

const opened: { close(): Promise<unknown> }[] = []

/** After each test. */
export async function closeAll(): Promise<void> {
  for (const each of opened.splice(0).reverse()) await each.close()
}

export async function aReplica(id = 'h1', sharedStore?: PlainStore): Promise<GatewayReplica> {
  const clock = new FakeClock()
  const log = new FakeLog()
  const hypervisor = new FakeHypervisor(id, sharedStore, clock)
  const { store } = hypervisor
  const chance = { next: () => 0, id: (length: number) => String(++ids).padStart(length, '0') }
  const metrics = { contentType: 'text/plain', metrics: () => Promise.resolve('') }
  const rest = { software: '0.0.0', privateMetrics: false, metrics, onRequest: () => undefined }
  const api = createApi({ ...rest, hypervisor, clock, chance, log, polls: () => gateway.polls })
  await api.ready()
  const url = await api.listen({ host: '127.0.0.1', port: 0 })
  const listener = { server: api.server, url, close: () => closeNow(api) }
  store.apply([put('replicas', id, { schema: 1, id, url: listener.url, incarnation: `${id}-1` })])
  let ids = 0
  let fresherElsewhere = false
  const book = new WeightBook(store, hypervisor.loads, clock)
  const gateway = attachGateway({
    server: listener.server,
    hypervisor,
    wanted: node => wantedFor(store.map, node, (who, toWhom) => `ticket of ${who.id} for ${toWhom.id}`),
    fresherElsewhere: () => fresherElsewhere,
    weights: () => book.weights(),
    loads: hypervisor.loads,
    applied: hypervisor.applied,
    clock,
    chance,
    log,
  })
  opened.push({
    close: async () => {
      // What closing waits for must not wait for a test to move the clock.
      const hurry = setInterval(() => clock.advance(100), 5)
      await gateway.close()
      clearInterval(hurry)
      await listener.close()
    },
  })
  const elsewhere = (fresher: boolean): void => void (fresherElsewhere = fresher)
  return { ...listener, hypervisor, store, gateway, clock, log, elsewhere }
}

async function closeNow(api: ReturnType<typeof createApi>): Promise<void> {
  const closed = api.close()
  api.server.closeAllConnections()
  await closed
}

export const mothership = (id: string): NodeRef => ({ kind: 'mothership', id })
export const rainServer = (id: string): NodeRef => ({ kind: 'rainserver', id })

export function aHello(node: NodeRef, more: Partial<MessageOf<'hello'>> = {}): MessageOf<'hello'> {
  const about = {
    mothership: { address: `ws://${node.id}.example:1`, capacity: { cpu: 1000, ram: 1024, bandwidth: 1000 } },
    rainserver: { address: `http://${node.id}.example:1`, urls: ['/*'] },
    balancer: { address: `http://${node.id}.example:1` },
  }[node.kind]
  return { t: 'hello', kind: node.kind, id: node.id, ...about, ...more }
}

/** A websocket with the node's credential, before its hello. */
export async function aSocket(replica: GatewayReplica, node: NodeRef): Promise<RawPeer> {
  const peer = await RawPeer.open(replica.url, nodePath, aToken(replica.store, node))
  opened.push({ close: () => Promise.resolve(peer.socket.terminate()) })
  return peer
}

/** A node with a session, whose end is in the test's hands. */
export async function aRawNode(
  replica: GatewayReplica,
  node: NodeRef,
  more: Partial<MessageOf<'hello'>> = {},
): Promise<RawPeer> {
  const peer = await aSocket(replica, node)
  peer.say(aHello(node, more))
  await peer.hear('welcome')
  return peer
}

export interface TestNode {
  readonly session: NodeSession
  readonly states: WantedState[]
  readonly log: FakeLog
}

/** A node as motherships and rain servers are one: by the sdk. Begins at once, and never waits before it tries again. */
export function aNode(
  replicas: readonly GatewayReplica[],
  node: NodeRef,
  more: Partial<NodeSessionOptions> = {},
): TestNode {
  const states: WantedState[] = []
  const log = new FakeLog()
  const { t: _t, kind: _kind, id: _id, ...hello } = aHello(node)
  const session = new NodeSession({
    node,
    hypervisors: replicas.map(each => each.url),
    token: aToken(replicas[0]!.store, node),
    hello: () => hello,
    onWanted: state => {
      states.push(state)
      return Promise.resolve([])
    },
    log,
    random: () => 0,
    ...more,
  })
  session.start()
  opened.push({ close: () => session.stop() })
  return { session, states, log }
}
