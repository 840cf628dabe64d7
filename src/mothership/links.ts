/** The mothership's side of links from rain servers: a ticket opens one, then requests and answers are multiplexed on it. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import { nodeName } from '../cloud/ids.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { decode, encode } from '../protocol/codec.js'
import { frameBytesMax, type Message, type MessageOf, renderPath, subprotocol } from '../protocol/messages.js'
import { checkTicket, type TicketKey } from '../protocol/ticket.js'
import { Gathered } from '../sdk/gathered.js'
import type { Failed } from './component-process.js'
import { Credit } from './credit.js'
import { LinkSockets } from './link-sockets.js'
import type { OpenSocket, SocketEvents } from './process-sockets.js'
import { refuseUpgrade } from './refusal.js'

export interface RenderLinksOptions {
  readonly id: string
  readonly clock: Clock
  readonly log: Log
  readonly keys: () => readonly TicketKey[]
  /** Other websockets on the same listener, by path. */
  readonly upgrades?: Readonly<Record<string, (request: IncomingMessage, socket: Duplex, head: Buffer) => void>>
  onRender(message: MessageOf<'render'>): Promise<MessageOf<'fragment'> | MessageOf<'failed'>>
  onCall(message: MessageOf<'call'>): Promise<MessageOf<'answer'> | MessageOf<'failed'>>
  /** None: components have no websockets over these links. */
  onSocket?(message: MessageOf<'socket'>, events: SocketEvents): Promise<OpenSocket | Failed>
  /** Bytes of a request, and of what was sent for it. */
  onTraffic(message: MessageOf<'render'> | MessageOf<'call'>, bytesIn: number, bytesOut: number): void
}

const linksMax = 10_000
const underWayMax = 1_000
const bufferedMax = 16 * 1024 * 1024
/** Above this, sockets of components are closed rather than that pages suffer. */
const socketsBufferedMax = 4 * 1024 * 1024
const wrongFramesMax = 10
const silentMaxMs = 10_000
const checkEveryMs = 2_500

interface LinkState {
  readonly underWay: Set<number>
  readonly credit: Credit
  readonly sockets: LinkSockets
}

export class RenderLinks {
  readonly #server: Server = createServer((_request, response) => {
    response.writeHead(426, { connection: 'close' }).end('a websocket is expected here\n')
  })
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: frameBytesMax,
    perMessageDeflate: false,
    handleProtocols: protocols => (protocols.has(subprotocol) ? subprotocol : false),
  })
  bytesIn = 0
  bytesOut = 0

  constructor(private readonly options: RenderLinksOptions) {
    this.#server.headersTimeout = 10_000
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
  }

  listen({ host, port }: { host: string; port: number }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        const address = this.#server.address()
        resolve(typeof address === 'object' && address ? address.port : port)
      })
    })
  }

  get count(): number {
    return this.#sockets.clients.size
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) {
      this.#send(socket, { t: 'bye', code: 'going-away', reconnect: true })
      socket.close(1001)
      this.options.clock.after(500, () => socket.terminate())
    }
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
    this.#sockets.close()
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { id, keys, clock, log, upgrades = {} } = this.options
    const path = request.url?.split('?')[0] ?? ''
    if (Object.hasOwn(upgrades, path)) return upgrades[path]!(request, socket, head)
    const ticket = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
    const check = checkTicket(ticket, keys(), nodeName({ kind: 'mothership', id }), clock.wallMs())
    const known = path === renderPath
    if (!known || check.kind === 'refused' || this.count >= linksMax) {
      if (check.kind === 'refused') log.warn({ reason: check.reason }, 'a link was refused')
      const status = !known
        ? '404 Not Found'
        : check.kind === 'refused'
          ? '401 Unauthorized'
          : '503 Service Unavailable'
      return refuseUpgrade(socket, status)
    }
    const { who } = check.claims
    const gathered = new Gathered(socket as Socket, run => setImmediate(run))
    this.#sockets.handleUpgrade(request, socket, head, websocket => this.#serve(websocket, who, gathered))
  }

  #serve(socket: WebSocket, who: string, gathered: Gathered): void {
    const { log, clock } = this.options
    const sockets = new LinkSockets({
      open: (message, events) => this.#openSocket(message, events),
      send: message => void this.#send(socket, message),
      overloaded: () => socket.bufferedAmount > socketsBufferedMax,
    })
    socket.once('close', () => sockets.endAll())
    const credit = new Credit(frame => {
      gathered.begin()
      this.#sendFrame(socket, frame)
    })
    const link = { sockets, credit, underWay: new Set<number>(), wrongFrames: 0, heardAtMs: clock.nowMs() }
    const heard = (): void => {
      link.heardAtMs = clock.nowMs()
    }
    log.info({ who }, 'linked')
    socket.on('ping', heard)
    socket.on('error', error => log.info({ who, reason: error.message }, 'a link failed'))
    socket.on('message', data => {
      heard()
      this.bytesIn += (data as Buffer).byteLength
      const decoded = decode(data as Buffer)
      if (decoded.kind === 'message') {
        void this.#onMessage(socket, decoded.message, (data as Buffer).byteLength, link)
      } else if (decoded.kind === 'unknown') {
        this.#send(socket, { t: 'error', about: decoded.type, message: 'unknown type' })
      } else {
        this.#send(socket, { t: 'error', message: decoded.reason })
        if (++link.wrongFrames >= wrongFramesMax) socket.close(1008)
      }
    })
    const watch = (): void => {
      if (socket.readyState === WebSocket.CLOSED) return
      if (clock.nowMs() - link.heardAtMs > silentMaxMs) socket.terminate()
      else clock.after(checkEveryMs, watch)
    }
    watch()
  }

  async #onMessage(socket: WebSocket, message: Message, bytesIn: number, link: LinkState): Promise<void> {
    const { underWay, sockets, credit } = link
    if (message.t === 'credit') return credit.grant(message.bytes)
    if (message.t === 'cancel') {
      sockets.end(message.r)
      credit.drop(message.r)
      return void underWay.delete(message.r)
    }
    if (message.t === 'socket' || message.t === 'socket-data' || message.t === 'socket-close') {
      return sockets.onMessage(message)
    }
    if (message.t !== 'render' && message.t !== 'call') {
      if (message.t !== 'error') this.#send(socket, { t: 'error', about: message.t, message: 'not for a mothership' })
      return
    }
    const { r } = message
    if (underWay.size >= underWayMax) {
      this.#send(socket, { t: 'failed', r, status: 503, reason: 'too many requests on this link' })
      return
    }
    underWay.add(r)
    const answer = await this.#answerTo(message)
    // Cancelled meanwhile: nobody waits for it.
    const bytesOut = underWay.delete(r) ? this.#sendAnswer(socket, credit, r, answer) : 0
    this.options.onTraffic(message, bytesIn, bytesOut)
  }

  async #openSocket(message: MessageOf<'socket'>, events: SocketEvents): Promise<OpenSocket | Failed> {
    try {
      const opened = await this.options.onSocket?.(message, events)
      return opened ?? { kind: 'failed', status: 404, reason: 'there are no websockets here' }
    } catch (error) {
      this.options.log.error({ err: error }, 'a socket could not be opened')
      return { kind: 'failed', status: 500, reason: 'the mothership could not open it' }
    }
  }

  async #answerTo(message: MessageOf<'render'> | MessageOf<'call'>): Promise<Message> {
    const { onRender, onCall, log } = this.options
    try {
      return message.t === 'render' ? await onRender(message) : await onCall(message)
    } catch (error) {
      log.error({ err: error, about: message.t }, 'a request could not be answered')
      return { t: 'failed', r: message.r, status: 500, reason: 'the mothership could not answer' }
    }
  }

  /** Returns how many bytes go, now or as soon as there is credit. */
  #sendAnswer(socket: WebSocket, credit: Credit, r: number, answer: Message): number {
    let frame = encode(answer)
    if (frame.byteLength > frameBytesMax) {
      const reason = `a fragment of ${frame.byteLength} bytes does not fit into a frame`
      frame = encode({ t: 'failed', r, status: 500, reason })
    }
    // What says that it failed is short, and is to be heard in any case.
    if (answer.t === 'failed') this.#sendFrame(socket, frame)
    else if (!credit.offer({ r, frame })) {
      frame = encode({ t: 'failed', r, status: 503, reason: 'the rain server does not take what it asks for' })
      this.#sendFrame(socket, frame)
    }
    return frame.byteLength
  }

  #send(socket: WebSocket, message: Message): void {
    this.#sendFrame(socket, encode(message))
  }

  #sendFrame(socket: WebSocket, frame: Uint8Array): void {
    if (socket.readyState !== WebSocket.OPEN) return
    if (socket.bufferedAmount > bufferedMax) return socket.terminate()
    this.bytesOut += frame.byteLength
    socket.send(frame)
  }
}
