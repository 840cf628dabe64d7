/** One multiplexed link to a mothership: kept open for as long as it is wired, asked with a deadline. */
import WebSocket from 'ws'
import type { Clock, Log } from '../hypervisor/ports.js'
import { type Decoded, decode, decodeList, encode } from '../protocol/codec.js'
import {
  type AskedView,
  frameBytesMax,
  linkCreditBytes,
  type Message,
  type MessageOf,
  renderPath,
  subprotocol,
  type Visit,
  type WantedWire,
} from '../protocol/messages.js'
import { Backoff } from '../sdk/backoff.js'
import { Gathered } from '../sdk/gathered.js'
import { type ProxySettings, through } from '../sdk/proxy.js'
import { type Answer, type Failed, failed, Requests } from './link-requests.js'
import { type LinkSocket, LinkSockets, type SocketEvents, type SocketRequest } from './link-sockets.js'

/** A view; `visit` is the same object for all views of a page. */
export interface RenderRequest extends Omit<AskedView, 'r'> {
  readonly visit: Visit
}
export type CallRequest = Omit<MessageOf<'call'>, 't' | 'r'>
/** A request that has been sent, unless it could not be. */
export interface UnderWay {
  /** Nobody waits for it any more. */
  cancel(): void
}
export type RenderAnswer = { readonly kind: 'fragment'; readonly fragment: MessageOf<'fragment'> } | Failed
export type CallAnswer = { readonly kind: 'answer'; readonly answer: MessageOf<'answer'> } | Failed

export type SocketAnswer = { readonly kind: 'open'; readonly socket: LinkSocket } | Failed

export interface LinkEvents {
  /** It is open, or tried, or lost. */
  onChange(): void
  onOpen(): void
}

const pingEveryMs = 1_000
/** So many pings without a word: counted, not timed, so that a rain server that stood still keeps its links. */
const pingsUnansweredMax = 2
/** Short, and tried again soon: after a cut the next page should be the newest. */
const openWithinMs = 1_500
const [againFirstMs, againMostMs] = [50, 500]
const underWayMax = 1_000
const bufferedMax = 4 * 1024 * 1024

const creditEvery = linkCreditBytes / 4
const nothingUnderWay: UnderWay = { cancel: () => undefined }

export class Link {
  #wire: WantedWire
  #socket: WebSocket | undefined
  #gathered: Gathered | undefined
  #open = false
  #tried = false
  #closed = false
  #pingsUnanswered = 0
  /** Bytes that came since the last credit. */
  #taken = 0
  readonly #requests: Requests
  readonly #sockets = new LinkSockets(message => this.#socket && this.#send(this.#socket, encode(message)))
  readonly #backoff: Backoff
  #cancelRetry: (() => void) | undefined
  bytesIn = 0
  bytesOut = 0

  constructor(
    wire: WantedWire,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly events: LinkEvents,
    private readonly proxy?: ProxySettings,
  ) {
    this.#wire = wire
    this.#requests = new Requests(clock, frame => this.#socket && this.#send(this.#socket, frame))
    this.#backoff = new Backoff(againFirstMs, againMostMs, Math.random)
    this.#connect()
  }

  get open(): boolean {
    return this.#open
  }

  /** Whether a connection was tried, with whatever result. */
  get tried(): boolean {
    return this.#tried
  }

  get underWay(): number {
    return this.#requests.size
  }

  /** A new ticket is used at the next connection; another address means a new one at once. */
  update(wire: WantedWire): void {
    const moved = wire.address !== this.#wire.address
    this.#wire = wire
    if (moved) this.#socket?.terminate()
  }

  /** `settle` is called once, unless it is cancelled: at once when it cannot be sent. */
  render({ visit, ...asked }: RenderRequest, settle: (answer: RenderAnswer) => void): UnderWay {
    const refusal = this.#refusal()
    if (refusal) {
      settle(refusal)
      return nothingUnderWay
    }
    const r = this.#requests.render(visit, asked, answer => {
      if (answer.kind === 'failed') settle(answer)
      else if (answer.message.t === 'fragment') settle({ kind: 'fragment', fragment: answer.message })
      else settle(failed(502, 'the mothership answered something else', false))
    })
    return { cancel: () => this.#requests.cancel(r) }
  }

  async call(request: CallRequest): Promise<CallAnswer> {
    const answer = await this.#ask(r => ({ t: 'call', r, ...request }), request.deadlineMs)
    if (answer.kind === 'failed') return answer
    if (answer.message.t === 'answer') return { kind: 'answer', answer: answer.message }
    return failed(502, 'the mothership answered something else', false)
  }

  async openSocket(request: SocketRequest, events: SocketEvents): Promise<SocketAnswer> {
    let number = 0
    const asked = (r: number): Message => {
      this.#sockets.expect((number = r), events)
      return { t: 'socket', r, ...request }
    }
    const answer = await this.#ask(asked, request.deadlineMs)
    if (answer.kind === 'message' && answer.message.t === 'socket-open') {
      return { kind: 'open', socket: this.#sockets.opened(number) }
    }
    this.#sockets.refused(number)
    return answer.kind === 'failed' ? answer : failed(502, 'the mothership answered something else', false)
  }

  /** `drain`: requests under way may end first, within their deadlines. */
  async close(drain: boolean): Promise<void> {
    this.#closed = true
    this.#cancelRetry?.()
    this.#sockets.lost('the wire is taken away')
    const untilMs = this.clock.nowMs() + (drain ? 3_000 : 0)
    while (this.#requests.size > 0 && this.clock.nowMs() < untilMs) {
      await new Promise<void>(resolve => this.clock.after(20, resolve))
    }
    this.#socket?.terminate()
    this.#lost('the wire was taken away')
    this.#requests.stop()
  }

  #ask(message: (r: number) => Message, deadlineMs: number): Promise<Answer> {
    return new Promise(resolve => {
      const refusal = this.#refusal()
      if (refusal) return resolve(refusal)
      const r = this.#requests.begin(deadlineMs, resolve)
      this.#requests.send(r, encode(message(r)))
    })
  }

  /** Why nothing can be asked now. */
  #refusal(): Failed | undefined {
    const { mothership } = this.#wire
    if (!this.#open || !this.#socket) return failed(503, `no link to ${mothership}`, true)
    if (this.#requests.size < underWayMax && this.#socket.bufferedAmount <= bufferedMax) return undefined
    return failed(503, `the link to ${mothership} is overloaded`, true)
  }

  #send(socket: WebSocket, frame: Uint8Array): void {
    if (socket.readyState !== WebSocket.OPEN) return
    this.bytesOut += frame.byteLength
    this.#gathered?.begin()
    socket.send(frame)
  }

  #connect(): void {
    if (this.#closed) return
    const { address, ticket, mothership } = this.#wire
    const socket = new WebSocket(address + renderPath, subprotocol, {
      headers: { authorization: `Bearer ${ticket}` },
      maxPayload: frameBytesMax * 2,
      perMessageDeflate: false,
      handshakeTimeout: openWithinMs,
      ...through(address, this.proxy, openWithinMs),
    })
    this.#socket = socket
    let reason = 'closed'
    socket.on('upgrade', ({ socket: connection }) => {
      this.#gathered = new Gathered(connection, run => process.nextTick(run))
    })
    socket.on('error', error => {
      reason = error.message
    })
    socket.on('open', () => {
      this.#open = true
      this.#tried = true
      this.#backoff.reset()
      this.#pingsUnanswered = 0
      this.#taken = 0
      this.#requests.takesRenders = false
      // From here on the mothership counts.
      this.#send(socket, encode({ t: 'credit', bytes: 0, several: true }))
      this.#ping(socket)
      this.log.info({ mothership }, 'linked')
      this.events.onOpen()
      this.events.onChange()
    })
    const heard = (): void => {
      this.#pingsUnanswered = 0
    }
    socket.on('pong', heard)
    socket.on('message', data => {
      heard()
      this.#onFrame(data as Buffer)
    })
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#lost(reason)
      if (!this.#closed) this.#cancelRetry = this.clock.after(this.#backoff.nextMs(), () => this.#connect())
    })
  }

  #ping(socket: WebSocket): void {
    if (this.#socket !== socket || !this.#open) return
    if (this.#pingsUnanswered >= pingsUnansweredMax) return socket.terminate()
    this.#pingsUnanswered++
    socket.ping()
    this.clock.after(pingEveryMs, () => this.#ping(socket))
  }

  #onFrame(frame: Buffer): void {
    this.bytesIn += frame.byteLength
    const decoded = decode(frame)
    if (decoded.kind === 'message' && decoded.message.t === 'several') {
      this.#take(frame.byteLength)
      for (const each of decodeList(decoded.message)) this.#onDecoded(each)
      return
    }
    if (decoded.kind === 'message' && (decoded.message.t === 'fragment' || decoded.message.t === 'answer')) {
      this.#take(frame.byteLength)
    }
    this.#onDecoded(decoded)
  }

  #onDecoded(decoded: Decoded): void {
    if (decoded.kind === 'message') return this.#onMessage(decoded.message)
    if (decoded.kind === 'invalid') this.log.warn({ reason: decoded.reason }, 'a frame of a mothership cannot be read')
  }

  #onMessage(message: Message): void {
    switch (message.t) {
      case 'fragment':
      case 'answer':
      case 'socket-open':
        return this.#requests.settle(message.r, { kind: 'message', message })
      case 'failed':
        return this.#requests.settle(message.r, failed(message.status, message.reason, false))
      case 'socket-data':
      case 'socket-session':
      case 'socket-close':
        return this.#sockets.onMessage(message)
      case 'takes':
        this.#requests.takesRenders = message.renders
        return
      case 'bye':
        // No more requests; what is under way may still be answered until the connection ends.
        this.#open = false
        this.log.info({ mothership: this.#wire.mothership, code: message.code }, 'a mothership says good-bye')
        this.#socket?.close(1000)
        this.events.onChange()
    }
  }

  /** What came has been taken out of the connection: as much may follow. */
  #take(bytes: number): void {
    this.#taken += bytes
    if (this.#taken < creditEvery || !this.#socket) return
    this.#send(this.#socket, encode({ t: 'credit', bytes: this.#taken }))
    this.#taken = 0
  }

  #lost(reason: string): void {
    const wasOpen = this.#open
    this.#open = false
    this.#tried = true
    this.#requests.failAll(`the link was lost (${reason})`)
    this.#sockets.lost('the link to the mothership was lost')
    if (wasOpen) this.log.info({ mothership: this.#wire.mothership, reason }, 'link lost')
    this.events.onChange()
  }
}
