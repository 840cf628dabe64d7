/** The mothership's side of links from rain servers: a ticket opens one, then requests and answers are multiplexed on it. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import { nodeName } from '../cloud/ids.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { decode, encode, encodeSeveral, severalBytes } from '../protocol/codec.js'
import { frameBytesMax, type Message, type MessageOf, renderPath, subprotocol } from '../protocol/messages.js'
import { checkTicket, type TicketKey } from '../protocol/ticket.js'
import { Gathered } from '../sdk/gathered.js'
import { Together } from '../sdk/together.js'
import type { Failed } from './component-process.js'
import { Credit, type WaitingAnswer } from './credit.js'
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

/** In one frame. */
const answersMax = 32

interface LinkState {
  readonly socket: WebSocket
  readonly underWay: Set<number>
  readonly credit: Credit
  readonly sockets: LinkSockets
  /** Answers that are there together go in one frame, where the rain server takes that. */
  readonly answers: Together<WaitingAnswer>
  several: boolean
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
    const answers = new Together<WaitingAnswer>(setImmediate, answersMax, list => this.#pass(socket, credit, list))
    const underWay = new Set<number>()
    const link = {
      socket,
      sockets,
      credit,
      answers,
      underWay,
      several: false,
      wrongFrames: 0,
      heardAtMs: clock.nowMs(),
    }
    this.#send(socket, { t: 'takes', renders: true })
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
        this.#onMessage(link, decoded.message, (data as Buffer).byteLength)
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

  #onMessage(link: LinkState, message: Message, bytesIn: number): void {
    const { socket, underWay, sockets, credit } = link
    switch (message.t) {
      case 'credit':
        link.several ||= message.several === true
        return credit.grant(message.bytes)
      case 'cancel':
        sockets.end(message.r)
        credit.drop(message.r)
        return void underWay.delete(message.r)
      case 'socket':
      case 'socket-data':
      case 'socket-close':
        return void sockets.onMessage(message)
      case 'render':
      case 'call':
        return void this.#onRequest(link, message, bytesIn)
      case 'renders': {
        const { list, t: _t, ...visit } = message
        for (const each of list) {
          void this.#onRequest(link, { t: 'render', ...each, ...visit }, Math.round(bytesIn / list.length))
        }
        return
      }
      case 'error':
        return
      default:
        this.#send(socket, { t: 'error', about: message.t, message: 'not for a mothership' })
    }
  }

  async #onRequest(link: LinkState, message: MessageOf<'render'> | MessageOf<'call'>, bytesIn: number): Promise<void> {
    const { underWay } = link
    const { r } = message
    if (underWay.size >= underWayMax) {
      this.#send(link.socket, { t: 'failed', r, status: 503, reason: 'too many requests on this link' })
      return
    }
    underWay.add(r)
    const answer = await this.#answerTo(message)
    // Cancelled meanwhile: nobody waits for it.
    const bytesOut = underWay.delete(r) ? this.#sendAnswer(link, r, answer) : 0
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
  #sendAnswer({ socket, credit, answers, several }: LinkState, r: number, answer: Message): number {
    let frame = encode(answer)
    if (frame.byteLength > frameBytesMax) {
      const reason = `a fragment of ${frame.byteLength} bytes does not fit into a frame`
      frame = encode({ t: 'failed', r, status: 500, reason })
    }
    // What says that it failed is short, and is to be heard in any case.
    if (answer.t === 'failed') this.#sendFrame(socket, frame)
    else if (several) answers.add({ r, frame })
    else this.#offer(socket, credit, { r, frame })
    return frame.byteLength
  }

  /** As few frames as they fit into; when there is no credit, one for each: then some may be given up before they go. */
  #pass(socket: WebSocket, credit: Credit, list: readonly WaitingAnswer[]): void {
    let [together, bytes]: [WaitingAnswer[], number] = [[], severalBytes]
    const flush = (): void => {
      if (together.length < 2 || !credit.flows) for (const each of together) this.#offer(socket, credit, each)
      else this.#offer(socket, credit, { r: together[0]!.r, frame: encodeSeveral(together.map(each => each.frame)) })
      together = []
      bytes = severalBytes
    }
    for (const answer of list) {
      const { byteLength } = answer.frame
      if (bytes + byteLength > frameBytesMax) flush()
      together.push(answer)
      bytes += byteLength
    }
    flush()
  }

  #offer(socket: WebSocket, credit: Credit, answer: WaitingAnswer): void {
    if (credit.offer(answer)) return
    const reason = 'the rain server does not take what it asks for'
    this.#sendFrame(socket, encode({ t: 'failed', r: answer.r, status: 503, reason }))
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
