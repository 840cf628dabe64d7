/**
 * A replica for two local nodes, a rain server and a mothership: they are the same programs as in a cloud, and this
 * tells them what to do, and gives the package that is being written. It knows nothing else.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import WebSocket, { WebSocketServer } from 'ws'
import { decode, encode } from '../../protocol/codec.js'
import { type Message, type MessageOf, nodePath, replicaFrameBytesMax, subprotocol } from '../../protocol/messages.js'
import type { Entries } from './overlay.js'

export type Observed = MessageOf<'observed'>['items'][number]
type Kind = 'rainserver' | 'mothership'

export interface RelayOptions {
  /** The credential of both. */
  readonly token: string
  readonly onObserved: (items: readonly Observed[]) => void
}

export class Relay {
  readonly #server: Server = createServer((request, response) => this.#onRequest(request, response))
  readonly #sockets = new WebSocketServer({
    server: this.#server,
    path: nodePath,
    maxPayload: replicaFrameBytesMax,
    perMessageDeflate: false,
    handleProtocols: protocols => (protocols.has(subprotocol) ? subprotocol : false),
    verifyClient: ({ req }: { req: IncomingMessage }) => this.#isOurs(req),
  })
  readonly #nodes = new Map<WebSocket, Kind>()
  readonly #wanted = new Map<Kind, Entries>()
  #package: { readonly digest: string; readonly bytes: Uint8Array } | undefined
  #revision = 0

  constructor(private readonly options: RelayOptions) {}

  async listen(): Promise<void> {
    this.#sockets.on('connection', socket => {
      socket.on('message', data => this.#onFrame(socket, data as Buffer))
      socket.on('close', () => this.#nodes.delete(socket))
      socket.on('error', () => socket.terminate())
    })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(0, '127.0.0.1', resolve)
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  serve(digest: string, bytes: Uint8Array): void {
    this.#package = { digest, bytes }
  }

  /** The whole of it, now and in every later session. */
  want(kind: Kind, entries: Entries): void {
    this.#wanted.set(kind, entries)
    this.#revision++
    for (const [socket, each] of this.#nodes) if (each === kind) this.#push(socket, kind)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #isOurs({ headers }: IncomingMessage): boolean {
    return headers.authorization === `Bearer ${this.options.token}`
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const digest = /^\/packages\/(.+)$/.exec(decodeURIComponent(request.url ?? ''))?.[1]
    const found = this.#isOurs(request) && digest === this.#package?.digest
    response.writeHead(found ? 200 : 404).end(found ? this.#package?.bytes : undefined)
  }

  #onFrame(socket: WebSocket, frame: Buffer): void {
    const decoded = decode(frame)
    if (decoded.kind !== 'message') return
    const { message } = decoded
    if (message.t === 'observed') this.options.onObserved(message.items)
    else if (message.t === 'hello' && message.kind !== 'balancer') {
      this.#nodes.set(socket, message.kind)
      this.#send(socket, {
        t: 'welcome',
        session: this.#nodes.size,
        replicas: [{ id: 'dev', url: this.url }],
        o: [1, this.#revision],
        staleForMs: 0,
        pingMs: 1_000,
        reconnectWithinMs: 0,
      })
      this.options.onObserved(message.runs ?? [])
      this.#push(socket, message.kind)
    }
  }

  #push(socket: WebSocket, kind: Kind): void {
    const put = this.#wanted.get(kind)
    if (put) this.#send(socket, { t: 'wanted', o: [1, this.#revision], base: null, put: { ...put }, gone: [] })
  }

  #send(socket: WebSocket, message: Message): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(encode(message))
  }
}
