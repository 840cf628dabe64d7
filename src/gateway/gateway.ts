/**
 * The replica's side of nodes' sessions: authenticated before the upgrade (or with each poll, where websockets do not
 * pass), one session per node (N2), wanted states sent as a whole whenever they change, reports passed on. A node is
 * told only what concerns it and may speak only of itself (N1).
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { type NodeRef, nodeName } from '../cloud/ids.js'
import type { Applied } from '../cloud/map.js'
import { actorOf, digestOf } from '../hypervisor/actors.js'
import type { Polls } from '../hypervisor/polls.js'
import { wantedKinds } from '../hypervisor/wanted.js'
import { frameBytesMax, nodePath, subprotocol } from '../protocol/messages.js'
import type { GatewayOptions } from './options.js'
import { PollBook } from './polls.js'
import { Session } from './session.js'
import { NodeSocket, type Wire } from './wire.js'

export interface Gateway {
  /** Nodes with a session here. */
  sessions(): number
  /** For those whose websockets do not pass. */
  readonly polls: Polls
  /** Tells every node to go elsewhere and leaves their sessions in etcd to the replica that takes them. */
  close(): Promise<void>
}

const sessionsMax = 20_000
const coalesceMs = 20
/** Working out what is wanted may take one part in so many of the time: in a large and lively cloud, nodes wait a little. */
const pushShare = 10
/** A node that closed has so long to be back before its session is deleted (N3). */
const backWithinMs = 300

const lookEveryMs = 500
/** Of one node, not over yet: more than one while it moves, or when its opening was doubled on the way. */
const sessionsOfNodeMax = 8
/** A map that is older than this would mislead: nodes go to a replica with a fresher one, if there is any (N6). */
const staleMaxMs = 2_000

export function attachGateway(options: GatewayOptions): Gateway {
  const { server, hypervisor, clock, log } = options
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: frameBytesMax,
    perMessageDeflate: false,
    WebSocket: NodeSocket,
    handleProtocols: protocols => (protocols.has(subprotocol) ? subprotocol : false),
  })
  const sessions = new Map<string, Session>()
  /** Open or not yet, each with the digest of the credential that it came in by. */
  const begun = new Map<Session, string>()
  /** How many of these each node has. */
  const countOf = new Map<string, number>()
  let closed = false
  let cancelPush: (() => void) | undefined
  let pushTookMs = 0
  /** A stop waits until rain servers have it. */
  let attest = false

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.url?.split('?')[0] !== nodePath) return
    const bearer = bearerOf(request)
    const actor = actorOf(hypervisor.maps.map, bearer, clock.wallMs())
    if (closed) return refuseUpgrade(socket, 503, 'this replica is going away')
    if (!actor) return refuseUpgrade(socket, 401, 'no valid credential')
    const { node } = actor
    if (actor.role !== 'node' || !node) return refuseUpgrade(socket, 403, 'not the credential of a node')
    if (isFull(node)) return refuseUpgrade(socket, 503, 'too many sessions')
    sockets.handleUpgrade(request, socket, head, websocket => begin(websocket, node, digestOf(bearer)))
  }

  const isFull = (node: NodeRef): boolean =>
    begun.size >= sessionsMax || (countOf.get(nodeName(node)) ?? 0) >= sessionsOfNodeMax

  const begin = (wire: Wire, node: NodeRef, credential: string): void => {
    const session = new Session(wire, node, ports)
    const name = nodeName(node)
    begun.set(session, credential)
    countOf.set(name, (countOf.get(name) ?? 0) + 1)
    session.begin()
  }

  /** Of two that were opened at a time the one with the higher number has the key, whichever is told first (N2). */
  const onOpen = (session: Session): void => {
    const name = nodeName(session.node)
    const other = sessions.get(name)
    if (other && other.number > session.number) return session.replace()
    other?.replace()
    sessions.set(name, session)
    session.push()
  }

  const onEnd = (session: Session): void => {
    const name = nodeName(session.node)
    if (begun.delete(session)) uncount(name)
    if ((sessions.get(name) ?? session) !== session) return
    sessions.delete(name)
    if (session.number > 0 && !closed) clock.after(backWithinMs, () => void forget(session))
  }

  const uncount = (name: string): void => {
    const left = (countOf.get(name) ?? 1) - 1
    if (left === 0) countOf.delete(name)
    else countOf.set(name, left)
  }

  /** Unless it is back, here or elsewhere: the number would be another one then. */
  const forget = async (session: Session): Promise<void> => {
    if (sessions.has(nodeName(session.node)) || closed) return
    try {
      await hypervisor.presence.closeSession(session.node, session.number)
    } catch (error) {
      log.warn({ err: error, node: nodeName(session.node) }, 'a session is left to the lease')
    }
  }

  const onChanges = (changes: readonly Applied[]): void => {
    for (const change of changes) {
      if (change.kind === 'sessions') onSessionChange(change)
      else if (change.kind === 'tokens' && change.value === null) onRevoked(change.id)
      else if (change.kind === 'stops') attest = true
    }
    if (!cancelPush && changes.some(each => wantedKinds.has(each.kind))) {
      cancelPush = clock.after(Math.max(coalesceMs, pushTookMs * (pushShare - 1)), push)
    }
  }

  const push = (): void => {
    cancelPush = undefined
    const fromMs = clock.nowMs()
    const stops = attest
    attest = false
    for (const session of sessions.values()) session.push(stops && session.node.kind === 'rainserver')
    pushTookMs = clock.nowMs() - fromMs
  }

  const onRevoked = (digest: string): void => {
    for (const [session, credential] of begun) if (credential === digest) session.revoke()
  }

  /** Another replica has the node now, or this one put the session again on a new lease. */
  const onSessionChange = (change: Applied): void => {
    const session = sessions.get(change.id)
    if (!session || change.kind !== 'sessions' || change.modified <= session.number) return
    if (change.value?.replica === hypervisor.id) session.renumber(change.modified)
    else if (change.value) session.replace()
  }

  /** They leave their sessions behind: the replica that takes them puts its own in their place. */
  const sendElsewhere = (): void => {
    const staleMs = hypervisor.maps.staleForMs()
    if (staleMs > staleMaxMs && begun.size > 0 && options.fresherElsewhere()) {
      log.warn({ nodes: begun.size, staleForMs: Math.round(staleMs) }, 'sending the nodes to a fresher replica')
      for (const session of begun.keys()) session.leave('stale')
    }
  }

  /** Balancers go on with what they were told last when nobody tells them more. */
  const hint = (): void => {
    const balancers = [...sessions.values()].filter(each => each.node.kind === 'balancer')
    if (balancers.length === 0) return
    const weights = options.weights()
    for (const each of balancers) each.hint(weights)
  }

  /** One timer for all of them. */
  const look = (): void => {
    const nowMs = clock.nowMs()
    // Whoever stood still itself has not read what others said meanwhile.
    const lateMs = nowMs - lookDueMs
    lookDueMs = nowMs + lookEveryMs
    for (const session of begun.keys()) session.look(nowMs, lateMs > lookEveryMs / 2 ? lateMs : 0)
    sendElsewhere()
    hint()
    cancelLook = clock.after(lookEveryMs, look)
  }
  let lookDueMs = clock.nowMs() + lookEveryMs
  let cancelLook = clock.after(lookEveryMs, look)
  const ports = { ...options, onOpen, onEnd }
  const polls = new PollBook({
    clock,
    chance: options.chance,
    mayBegin: node => {
      if (closed) return 'this replica is going away'
      return isFull(node) ? 'too many sessions' : undefined
    },
    begin,
  })

  const unsubscribe = hypervisor.maps.onChange(onChanges)
  server.on('upgrade', onUpgrade)
  return {
    sessions: () => sessions.size,
    polls,
    close: async () => {
      closed = true
      unsubscribe()
      cancelPush?.()
      cancelLook()
      // Who comes now is refused until the listener is closed: a socket that nobody answers would keep that open.
      await Promise.all([...begun.keys()].map(session => session.goodbye()))
      sockets.close()
    },
  }
}

const bearerOf = (request: IncomingMessage): string =>
  /^Bearer (\S{1,512})$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''

const statusTexts: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  503: 'Service Unavailable',
}

function refuseUpgrade(socket: Duplex, status: number, message: string): void {
  socket.on('error', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${statusTexts[status] ?? ''}\r\nContent-Type: text/plain\r\nConnection: close\r\n` +
      `Content-Length: ${message.length + 1}\r\n\r\n${message}\n`,
    () => socket.destroy(),
  )
}
