/**
 * The links of a mothership with those that have copies of the same instances: one for each pair, dialled by the one
 * with the lower id, opened with a ticket of the hypervisor's (N1). What cannot be sent is lost: copies send again what
 * the other one lacks.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import { byId, nodeName } from '../../cloud/ids.js'
import type { Chance, Clock, Log } from '../../hypervisor/ports.js'
import { copiesPath, subprotocol, type WantedPeer } from '../../protocol/messages.js'
import { checkTicket, type TicketKey } from '../../protocol/ticket.js'
import { Backoff } from '../../sdk/backoff.js'
import { type ProxySettings, through } from '../../sdk/proxy.js'
import { refuseUpgrade } from '../refusal.js'
import type { Carried } from './carried.js'
import { CopyLink } from './copy-link.js'
import { copyFrameBytesMax } from './copy-wire.js'

export interface CopyLinksOptions {
  readonly self: string
  readonly clock: Clock
  readonly chance: Pick<Chance, 'next'>
  readonly log: Log
  readonly keys: () => readonly TicketKey[]
  /** That others are dialled through; absent: directly. */
  readonly proxy?: ProxySettings
  onLink(mothership: string, up: boolean): void
  onCarried(from: string, instance: string, carried: Carried): void
}

interface Peer {
  wanted: WantedPeer
  readonly backoff: Backoff
  /** Under way, before it is a link. */
  socket: WebSocket | undefined
  cancelRetry: (() => void) | undefined
  /** Why it could not be dialled: told once. */
  failure: string | undefined
}

const openWithinMs = 2_000
/** A link that held so long was a good one. */
const goodAfterMs = 1_000
const retryMs = [50, 1_000] as const

const sockets = {
  maxPayload: copyFrameBytesMax,
  perMessageDeflate: false,
} as const

export class CopyLinks {
  readonly #peers = new Map<string, Peer>()
  readonly #links = new Map<string, CopyLink>()
  readonly #server = new WebSocketServer({
    ...sockets,
    noServer: true,
    handleProtocols: protocols => (protocols.has(subprotocol) ? subprotocol : false),
  })
  #closed = false

  constructor(private readonly options: CopyLinksOptions) {}

  /** All that are wanted: `peers/` of the wanted state. Only those with a higher id are dialled. */
  apply(peers: Iterable<WantedPeer>): void {
    const wanted = new Map([...peers].map(each => [each.mothership, each]))
    for (const [id, peer] of this.#peers) {
      const { address } = wanted.get(id) ?? {}
      if (address === peer.wanted.address) continue
      this.#peers.delete(id)
      peer.cancelRetry?.()
      peer.socket?.terminate()
      this.#links.get(id)?.close(address === undefined ? 'no copies in common' : 'moved')
    }
    for (const [id, each] of wanted) {
      const peer = this.#peers.get(id)
      if (peer) peer.wanted = each
      else if (byId(this.options.self, id) < 0) this.#add(each)
    }
  }

  /** Of the mothership's listener: a request for `copiesPath`. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { self, keys, clock, log } = this.options
    const ticket = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
    const check = checkTicket(ticket, keys(), nodeName({ kind: 'mothership', id: self }), clock.wallMs())
    const who = check.kind === 'good' ? /^mothership\/(.+)$/.exec(check.claims.who)?.[1] : undefined
    if (who === undefined || byId(who, self) >= 0) {
      const reason = check.kind === 'refused' ? check.reason : `of ${check.claims.who}`
      log.warn({ reason }, 'a link between copies was refused')
      return refuseUpgrade(socket, check.kind === 'refused' ? '401 Unauthorized' : '403 Forbidden')
    }
    if (this.#closed) return refuseUpgrade(socket, '503 Service Unavailable')
    this.#server.handleUpgrade(request, socket, head, websocket => this.#up(who, websocket))
  }

  send(to: string, instance: string, carried: Carried): void {
    this.#links.get(to)?.send(instance, carried)
  }

  close(): void {
    this.#closed = true
    for (const peer of this.#peers.values()) {
      peer.cancelRetry?.()
      peer.socket?.terminate()
    }
    for (const link of this.#links.values()) link.close('this mothership goes')
    this.#server.close()
  }

  #add(wanted: WantedPeer): void {
    const backoff = new Backoff(...retryMs, () => this.options.chance.next())
    const peer: Peer = { wanted, backoff, socket: undefined, cancelRetry: undefined, failure: undefined }
    this.#peers.set(wanted.mothership, peer)
    this.#dial(peer)
  }

  #dial(peer: Peer): void {
    const { address, ticket, mothership } = peer.wanted
    const socket = new WebSocket(address + copiesPath, subprotocol, {
      ...sockets,
      headers: { authorization: `Bearer ${ticket}` },
      handshakeTimeout: openWithinMs,
      ...through(address, this.options.proxy, openWithinMs),
    })
    peer.socket = socket
    let openedAtMs: number | undefined
    let reason = 'closed'
    socket.on('error', error => {
      reason = error.message
    })
    socket.on('open', () => {
      openedAtMs = this.options.clock.nowMs()
      peer.failure = undefined
      this.#up(mothership, socket)
    })
    socket.on('close', () => {
      if (openedAtMs === undefined) this.#tell(peer, reason)
      else if (this.options.clock.nowMs() - openedAtMs >= goodAfterMs) peer.backoff.reset()
      if (this.#closed || this.#peers.get(mothership) !== peer) return
      peer.cancelRetry = this.options.clock.after(peer.backoff.nextMs(), () => this.#dial(peer))
    })
  }

  #tell(peer: Peer, reason: string): void {
    if (peer.failure !== reason && !this.#closed) {
      const { mothership } = peer.wanted
      this.options.log.warn({ mothership, reason }, 'no link between copies: dialling on')
    }
    peer.failure = reason
  }

  /** Of two links with one mothership the newer one counts: the older one is dead and does not know it. */
  #up(mothership: string, socket: WebSocket): void {
    const { clock, log, onLink, onCarried } = this.options
    this.#links.get(mothership)?.close('a newer link')
    const link: CopyLink = new CopyLink(socket, clock, {
      onCarried: (instance, carried) => onCarried(mothership, instance, carried),
      onClosed: reason => {
        this.#links.delete(mothership)
        log.info({ mothership, reason }, 'a link between copies is closed')
        onLink(mothership, false)
      },
    })
    this.#links.set(mothership, link)
    log.info({ mothership }, 'copies are linked')
    onLink(mothership, true)
  }
}
