/** A mothership as rain servers see it: links over real websockets, and answers that a test makes up. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import WebSocket, { WebSocketServer } from 'ws'
import { decode, encode } from '../../src/protocol/codec.js'
import {
  frameBytesMax,
  type Message,
  type MessageOf,
  renderPath,
  type ViewRequest,
  type WantedWire,
} from '../../src/protocol/messages.js'

type Render = MessageOf<'render'>
type Call = MessageOf<'call'>
type Child = Partial<ViewRequest> & { readonly component: string }
type Shown = Partial<MessageOf<'fragment'>>

/** What a view comes to: undefined for silence. */
export type Outcome = Shown | { readonly status: number; readonly reason: string } | undefined
export type View = (asked: Render) => Outcome | Promise<Outcome>

/** A fragment whose html has a `§` where each child goes in. */
export function shown(html: string, children: readonly Child[] = [], more: Shown = {}): Shown {
  const parts = html.split('§')
  let at = 0
  const placed = children.map((child, index) => {
    at += parts[index]!.length
    return { id: `v${index}`, view: 'index', context: {}, ...child, at }
  })
  return { html: parts.join(''), children: placed, ...more }
}

export class FakeMothership {
  readonly asked: Render[] = []
  readonly calls: Call[] = []
  readonly cancelled: number[] = []
  /** Types of all frames that came. */
  readonly frames: string[] = []
  /** Whether it is of a release that takes `renders`; said to each link that is opened. */
  takesRenders = true
  /** Authorization of each link that was opened, in order. */
  readonly tickets: string[] = []
  /** By `instance/view`. What is not here fails with 404. */
  readonly views = new Map<string, View>()
  onCall: (call: Call) => Partial<MessageOf<'answer'>> | { failed: number } = () => ({ status: 404, headers: {} })
  readonly #server: Server = createServer()
  readonly #sockets = new WebSocketServer({ server: this.#server, path: renderPath, maxPayload: frameBytesMax })
  #port = 0

  private constructor(readonly id: string) {
    this.#sockets.on('connection', (socket, request) => {
      this.tickets.push(request.headers.authorization ?? '')
      socket.on('error', () => undefined)
      if (this.takesRenders) socket.send(encode({ t: 'takes', renders: true }))
      socket.on('message', data => this.#onFrame(socket, data as Buffer))
    })
  }

  static async start(id: string): Promise<FakeMothership> {
    const mothership = new FakeMothership(id)
    await mothership.listen()
    return mothership
  }

  /** Again at the same port, after `close`. */
  listen(): Promise<void> {
    return new Promise(resolve =>
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#port = (this.#server.address() as AddressInfo).port
        resolve()
      }),
    )
  }

  wire(ticket = `ticket-for-${this.id}`): WantedWire {
    return { mothership: this.id, address: `ws://127.0.0.1:${this.#port}`, ticket }
  }

  /** Links that are open. */
  get links(): ReadonlySet<WebSocket> {
    return this.#sockets.clients
  }

  /** Forgets what was asked, and every view. */
  forget(): void {
    for (const list of [this.asked, this.calls, this.cancelled, this.frames]) list.length = 0
    this.views.clear()
    this.onCall = () => ({ status: 404, headers: {} })
  }

  askedFor(instance: string, view = 'index'): Render[] {
    return this.asked.filter(each => each.instance === instance && each.view === view)
  }

  cut(): void {
    for (const socket of this.links) socket.terminate()
  }

  say(message: Message): void {
    for (const socket of this.links) socket.send(encode(message))
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #onFrame(socket: WebSocket, frame: Buffer): void {
    const decoded = decode(frame)
    if (decoded.kind !== 'message') throw new Error(`a rain server sent what is not of the protocol: ${decoded.kind}`)
    const { message } = decoded
    this.frames.push(message.t)
    if (message.t === 'renders') {
      const { list, t: _t, ...visit } = message
      for (const each of list) void this.#onRender(socket, { t: 'render', ...each, ...visit })
    } else if (message.t === 'render') void this.#onRender(socket, message)
    else if (message.t === 'cancel') this.cancelled.push(message.r)
    else if (message.t === 'call') this.#answer(socket, message)
  }

  async #onRender(socket: WebSocket, asked: Render): Promise<void> {
    this.asked.push(asked)
    const { r, instance, context } = asked
    const view = this.views.get(`${instance}/${asked.view}`)
    const outcome = view ? await view(asked) : { status: 404, reason: 'no such view in this test' }
    if (!outcome || socket.readyState !== WebSocket.OPEN) return
    if ('status' in outcome) return socket.send(encode({ t: 'failed', r, ...outcome }))
    const empty = { html: '', css: [], js: [], context, children: [] }
    socket.send(encode({ t: 'fragment', r, instance, mothership: this.id, ...empty, ...outcome }))
  }

  #answer(socket: WebSocket, call: Call): void {
    this.calls.push(call)
    const { r } = call
    const answer = this.onCall(call)
    if ('failed' in answer) socket.send(encode({ t: 'failed', r, status: answer.failed, reason: 'as the test wants' }))
    else socket.send(encode({ t: 'answer', r, status: 200, headers: {}, ...answer }))
  }
}
