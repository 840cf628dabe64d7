/**
 * Links between replicas: one authenticated websocket per pair, dialled by the one with the lower id, used both ways:
 * commands to the leader, loads of each other's nodes, signs of life.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import type { Answer, Envelope } from '../cloud/commands.js'
import { CloudError, type Code, codes, type Details } from '../cloud/errors.js'
import { byId } from '../cloud/ids.js'
import type { ReplicaRecord } from '../cloud/records.js'
import type { AppliedBook } from '../hypervisor/applied.js'
import type { Hypervisor } from '../hypervisor/hypervisor.js'
import type { LoadBook } from '../hypervisor/loads.js'
import type { Chance, Clock, Log, Peers } from '../hypervisor/ports.js'
import { decode } from '../protocol/codec.js'
import { type Message, type MessageOf, peerPath, replicaFrameBytesMax, subprotocol } from '../protocol/messages.js'
import { readEnvelope } from './envelope.js'
import { Link } from './link.js'

export interface PeersOptions {
  readonly server: Server
  readonly hypervisor: Hypervisor
  readonly self: ReplicaRecord
  readonly secret: string
  readonly loads: LoadBook
  readonly applied: AppliedBook
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  /** A link to this replica closed, for whatever reason. */
  readonly onClosed?: (replica: string, reason: string) => void
}

type Relayed = NonNullable<MessageOf<'loads'>['applied']>[number]

interface Pending {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: CloudError) => void
  readonly replica: string
  readonly cancel: () => void
}

const againMinMs = 50
const helloWithinMs = 2_000
const checkEveryMs = 500
const loadsEveryMs = 1_000
const relayAfterMs = 10
const pendingMax = 20_000

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

export function attachPeers(options: PeersOptions): Peers & { close(): Promise<void>; linked(): readonly string[] } {
  if (options.secret === '') throw new CloudError('misconfigured', 'the replicas need a secret that they share')
  return new PeerLinks(options)
}

class PeerLinks implements Peers {
  readonly #links = new Map<string, Link>()
  /** Whom not to dial now: on its way, or just failed. */
  readonly #dialling = new Set<string>()
  /** Why the last attempt failed, by replica: told once. */
  readonly #failures = new Map<string, string>()
  readonly #pending = new Map<number, Pending>()
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: replicaFrameBytesMax,
    perMessageDeflate: false,
  })
  readonly #unsubscribe: () => void
  readonly #unlisten: () => void
  #relaying = false
  #next = 1
  #closed = false
  #cancelTimers: (() => void)[] = []
  #relayedAtMs = 0

  constructor(private readonly options: PeersOptions) {
    options.server.on('upgrade', this.#onUpgrade)
    this.#unsubscribe = options.hypervisor.maps.onChange(changes => {
      if (changes.some(each => each.kind === 'replicas')) this.#follow()
    })
    this.#every(checkEveryMs, () => this.#follow())
    this.#every(loadsEveryMs, () => this.#relayLoads())
    this.#unlisten = options.applied.onChange(() => this.#relaySoon())
    this.#follow()
  }

  linked(): readonly string[] {
    return [...this.#links.keys()].sort(byId)
  }

  forward(replica: string, envelope: Envelope, deadlineMs: number): Promise<Answer> {
    const link = this.#links.get(replica)
    if (!link || this.#pending.size >= pendingMax) {
      return Promise.reject(new CloudError('no-leader', `there is no link to ${replica}, which leads`))
    }
    const r = this.#next++
    return new Promise((resolve, reject) => {
      const cancel = this.options.clock.after(deadlineMs, () =>
        this.#settle(r, each => each.reject(new CloudError('timeout', `${replica} did not answer in time`))),
      )
      this.#pending.set(r, { resolve, reject, replica, cancel })
      if (!link.send({ t: 'forward', r, envelope, deadlineMs })) {
        this.#settle(r, each => each.reject(new CloudError('no-leader', `the link to ${replica} is closed`)))
      }
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#unsubscribe()
    this.#unlisten()
    for (const cancel of this.#cancelTimers) cancel()
    // Who comes now is refused until the listener is closed: a socket that nobody answers would keep that open.
    for (const link of this.#links.values()) link.close('this replica goes')
    this.#sockets.close()
  }

  #every(ms: number, run: () => void): void {
    this.#later(ms, () => {
      run()
      this.#every(ms, run)
    })
  }

  #later(ms: number, run: () => void): void {
    const cancel = this.options.clock.after(ms, () => {
      this.#cancelTimers = this.#cancelTimers.filter(each => each !== cancel)
      if (!this.#closed) run()
    })
    this.#cancelTimers.push(cancel)
  }

  /** Dials who has a higher id and no link yet. */
  #follow(): void {
    if (this.#closed) return
    const { hypervisor, self } = this.options
    const { map } = hypervisor.maps
    for (const [id, { value }] of map.all('replicas')) {
      if (byId(self.id, id) < 0 && !this.#links.has(id) && !this.#dialling.has(id)) this.#dial(value)
    }
  }

  #dial({ id, url }: ReplicaRecord): void {
    this.#dialling.add(id)
    const socket = this.#open(id, url)
    if (!socket) return
    const failed = (error: Error): void => this.#onFailed(id, error.message)
    socket.once('error', failed)
    socket.once('open', () => {
      socket.off('error', failed)
      this.#dialling.delete(id)
      this.#failures.delete(id)
      this.#adopt(id, socket)
    })
  }

  #open(id: string, url: string): WebSocket | undefined {
    try {
      return new WebSocket(url.replace(/^http/, 'ws') + peerPath, subprotocol, {
        headers: { authorization: `Bearer ${this.options.secret}` },
        maxPayload: replicaFrameBytesMax,
        perMessageDeflate: false,
        handshakeTimeout: helloWithinMs,
      })
    } catch (error) {
      this.#onFailed(id, (error as Error).message) // the other replica was given an url that is none
      return undefined
    }
  }

  #onFailed(id: string, reason: string): void {
    if (this.#failures.get(id) !== reason) this.options.log.warn({ replica: id, reason }, 'no link: dialling on')
    this.#failures.set(id, reason)
    this.#dialLater(id)
  }

  /** Not at once: one that hangs up would be dialled as fast as a handshake goes. */
  #dialLater(id: string): void {
    this.#dialling.add(id)
    this.#later(againMinMs * (1 + this.options.chance.next()), () => {
      this.#dialling.delete(id)
      this.#follow()
    })
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.url?.split('?')[0] !== peerPath) return
    const said = /^Bearer (\S{1,4096})$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (this.#closed || !timingSafeEqual(digest(said), digest(this.options.secret))) {
      socket.on('error', () => socket.destroy())
      const status = this.#closed ? '503 Service Unavailable' : '401 Unauthorized'
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
      return
    }
    this.#sockets.handleUpgrade(request, socket, head, websocket => this.#greet(websocket))
  }

  /** The dialled side learns from the first message who is there. */
  #greet(socket: WebSocket): void {
    const cancel = this.options.clock.after(helloWithinMs, () => socket.terminate())
    socket.once('error', () => socket.terminate())
    socket.once('close', cancel)
    socket.once('message', data => {
      cancel()
      const decoded = decode(data as Buffer)
      if (decoded.kind === 'message' && decoded.message.t === 'peer') this.#adopt(decoded.message.id, socket)
      else socket.terminate()
    })
  }

  #adopt(id: string, socket: WebSocket): void {
    const { clock, self, log } = this.options
    if (this.#closed) return socket.terminate()
    this.#links.get(id)?.close('a newer link')
    const link: Link = new Link(socket, clock, {
      onMessage: message => this.#onMessage(id, link, message),
      onClosed: reason => this.#onClosed(id, link, reason),
    })
    this.#links.set(id, link)
    link.send({ t: 'peer', id: self.id, url: self.url, incarnation: self.incarnation })
    log.info({ replica: id }, 'linked')
  }

  #onClosed(id: string, link: Link, reason: string): void {
    if (this.#links.get(id) !== link) return
    this.#links.delete(id)
    this.options.log.info({ replica: id, reason }, 'link closed')
    for (const [r, pending] of [...this.#pending]) {
      if (pending.replica !== id) continue
      const error = new CloudError('timeout', `the link to ${id} closed before it answered`)
      this.#settle(r, each => each.reject(error))
    }
    this.options.onClosed?.(id, reason)
    this.#dialLater(id)
  }

  #onMessage(id: string, link: Link, message: Message): void {
    switch (message.t) {
      case 'alive':
      case 'peer':
      case 'error':
        return
      case 'forward':
        return void this.#onForward(link, message)
      case 'done':
        return this.#settle(message.r, each => each.resolve(message.answer as Answer))
      case 'not-leader':
        return this.#settle(message.r, each => each.reject(new CloudError('no-leader', `${id} does not lead`)))
      case 'problem':
        return this.#settle(message.r, each => each.reject(problemOf(message)))
      case 'loads':
        return this.#onLoads(message)
      default:
        link.send({ t: 'error', about: message.t, message: 'not for a replica' })
    }
  }

  async #onForward(link: Link, { r, envelope }: MessageOf<'forward'>): Promise<void> {
    try {
      const answer = await this.options.hypervisor.accept(readEnvelope(envelope))
      link.send({ t: 'done', r, answer })
    } catch (error) {
      if (error instanceof CloudError && error.code === 'no-leader') {
        const who = this.options.hypervisor.status().leader
        return void link.send({ t: 'not-leader', r, who })
      }
      if (!(error instanceof CloudError)) this.options.log.error({ err: error }, 'a forwarded command failed')
      const { code, message, details } =
        error instanceof CloudError ? error : new CloudError('internal', 'the leader failed at it')
      link.send({ t: 'problem', r, code, message, details })
    }
  }

  #settle(r: number, tell: (pending: Pending) => void): void {
    const pending = this.#pending.get(r)
    if (!pending) return
    this.#pending.delete(r)
    pending.cancel()
    tell(pending)
  }

  #relayLoads(): void {
    const reports = this.options.loads.ownSince(this.#relayedAtMs)
    this.#relayedAtMs = this.options.clock.nowMs()
    if (reports.length === 0) return
    const nodes = reports.map(({ node, cpu, ram, bandwidth, components, ageMs }) => ({
      ...node,
      cpu,
      ram,
      bandwidth,
      components,
      ageMs,
    }))
    for (const link of this.#links.values()) link.send({ t: 'loads', nodes })
  }

  /** What nodes applied is waited for, so it does not wait for the next turn of the loads. */
  #relaySoon(): void {
    if (this.#relaying) return
    this.#relaying = true
    this.#later(relayAfterMs, () => {
      this.#relaying = false
      const own = this.options.applied.takeOwn()
      if (own.length === 0) return
      const applied = own.map(
        ({ node, session, order }): Relayed => ({
          ...node,
          session,
          o: [order.era, order.revision],
        }),
      )
      for (const link of this.#links.values()) link.send({ t: 'loads', nodes: [], applied })
    })
  }

  #onLoads({ nodes, applied = [] }: MessageOf<'loads'>): void {
    const reports = applied.map(({ kind, id, session, o: [era, revision] }) => ({
      node: { kind, id },
      session,
      order: { era, revision },
    }))
    if (reports.length > 0) this.options.applied.noteRelayed(reports)
    for (const { kind, id, cpu, ram, bandwidth, components, ageMs } of nodes) {
      const known = (components ?? {}) as Parameters<LoadBook['note']>[0]['components']
      this.options.loads.noteRelayed({ node: { kind, id }, cpu, ram, bandwidth, components: known }, ageMs)
    }
  }
}

function problemOf(message: MessageOf<'problem'>): CloudError {
  const code = Object.hasOwn(codes, message.code) ? (message.code as Code) : 'internal'
  return new CloudError(code, message.message, (message.details ?? {}) as Details)
}
