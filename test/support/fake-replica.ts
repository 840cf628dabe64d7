/** A replica as its nodes see it: sessions over real websockets, packages over real HTTP, and nothing behind them. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import WebSocket, { WebSocketServer } from 'ws'
import { digestOfPackage } from '../../src/cloud/component/archive.js'
import { decode, encode } from '../../src/protocol/codec.js'
import { type Message, type MessageOf, nodePath } from '../../src/protocol/messages.js'

type Observed = MessageOf<'observed'>['items'][number]

export class FakeReplica {
  /** What is answered for a digest: bytes, right or wrong ones. */
  readonly packages = new Map<string, Uint8Array>()
  /** Digests that were asked for, in order. */
  readonly fetched: string[] = []
  readonly credentials = new Set<string>()
  readonly hellos: MessageOf<'hello'>[] = []
  readonly applied: MessageOf<'applied'>[] = []
  readonly loads: MessageOf<'load'>[] = []
  /** Everything that was observed, in order. */
  readonly observed: Observed[] = []
  readonly #server: Server = createServer((request, response) => this.#onRequest(request, response))
  readonly #sockets = new WebSocketServer({ server: this.#server, path: nodePath })
  #revision = 0
  #entries: Readonly<Record<string, unknown>> | undefined

  static async start(): Promise<FakeReplica> {
    const replica = new FakeReplica()
    replica.#sockets.on('connection', (socket, request) => {
      replica.credentials.add(request.headers.authorization ?? '')
      socket.on('message', data => replica.#onFrame(socket, data as Buffer))
      socket.on('error', () => undefined)
    })
    await new Promise<void>(resolve => replica.#server.listen(0, '127.0.0.1', resolve))
    return replica
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Serves the package and returns its digest. */
  has(bytes: Uint8Array): string {
    const digest = digestOfPackage(bytes)
    this.packages.set(digest, bytes)
    return digest
  }

  /** The whole wanted state, now and for every later session; returns its revision. */
  want(entries: Readonly<Record<string, unknown>>): number {
    this.#revision++
    this.#entries = entries
    for (const socket of this.#sockets.clients) this.#push(socket)
    return this.#revision
  }

  /** The last word on an instance. */
  last(instance: string): Observed | undefined {
    return this.observed.findLast(each => each.instance === instance)
  }

  /** Phases of an instance so far, in order. */
  phases(instance: string): string[] {
    return this.observed.filter(each => each.instance === instance).map(each => each.phase)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const digest = /^\/packages\/(.+)$/.exec(decodeURIComponent(request.url ?? ''))?.[1]
    this.credentials.add(request.headers.authorization ?? '')
    if (digest !== undefined) this.fetched.push(digest)
    const bytes = digest === undefined ? undefined : this.packages.get(digest)
    response.writeHead(bytes ? 200 : 404).end(bytes)
  }

  #push(socket: WebSocket): void {
    if (!this.#entries || socket.readyState !== WebSocket.OPEN) return
    this.#send(socket, { t: 'wanted', o: [1, this.#revision], base: null, put: { ...this.#entries }, gone: [] })
  }

  #onFrame(socket: WebSocket, frame: Buffer): void {
    const decoded = decode(frame)
    if (decoded.kind !== 'message') throw new Error(`a node sent what is not of the protocol: ${decoded.kind}`)
    const { message } = decoded
    if (message.t === 'hello') this.#onHello(socket, message)
    else if (message.t === 'applied') this.applied.push(message)
    else if (message.t === 'observed') this.observed.push(...message.items)
    else if (message.t === 'load') this.loads.push(message)
  }

  #onHello(socket: WebSocket, hello: MessageOf<'hello'>): void {
    this.hellos.push(hello)
    this.observed.push(...(hello.runs ?? []))
    const o: [number, number] = [1, this.#revision]
    const replicas = [{ id: 'h1', url: this.url }]
    this.#send(socket, {
      t: 'welcome',
      session: this.hellos.length,
      replicas,
      o,
      staleForMs: 0,
      pingMs: 1000,
      reconnectWithinMs: 0,
    })
    this.#push(socket)
  }

  #send(socket: WebSocket, message: Message): void {
    socket.send(encode(message))
  }
}
