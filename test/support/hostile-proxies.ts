/** What stands between a node and the cloud where a network is hostile: HTTP proxies and firewalls that do what real ones do. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { connect, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net'

const loopback = '127.0.0.1'

async function listen(server: Server | TcpServer, host = loopback): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  return (server.address() as { port: number }).port
}

/** How a websocket's handshake fares: its header is stripped, it is answered with a status, or never. */
export type Handshake = 'strip' | 'hang' | number

/** An HTTP/1.1 proxy in front of a replica that keeps each request, and each answer, until it has it whole. */
export class BufferingProxy {
  readonly #server: Server
  #port = 0
  handshakes = 0
  requests = 0
  /** Asked for each request that is no handshake: what goes wrong with it. */
  mishap: () => 'none' | 'doubled' | 'request-lost' | 'answer-lost' | 'answer-cut' | 'bad-gateway' = () => 'none'

  private constructor(
    private readonly target: URL,
    public handshake: Handshake,
  ) {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (asked, answer) => void this.#onRequest(asked, answer))
    // Without a listener for upgrades, a handshake comes as a request like any other.
  }

  static async start(target: string, handshake: Handshake = 'strip'): Promise<BufferingProxy> {
    const proxy = new BufferingProxy(new URL(target), handshake)
    proxy.#port = await listen(proxy.#server)
    return proxy
  }

  get url(): string {
    return `http://${loopback}:${this.#port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  async #onRequest(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const body = await wholeOf(asked).catch(() => undefined)
    if (body === undefined) return
    if (asked.headers.upgrade !== undefined || asked.url?.endsWith('/session')) {
      this.handshakes++
      if (this.handshake === 'hang') return
      if (this.handshake !== 'strip') return void answer.writeHead(this.handshake).end('<html>no</html>')
    } else this.requests++
    await this.#pass(asked, body, answer, this.mishap()).catch(() => answer.writeHead(502).end())
  }

  async #pass(asked: IncomingMessage, body: Buffer, answer: ServerResponse, mishap: string): Promise<void> {
    if (mishap === 'request-lost') return void answer.socket?.resetAndDestroy()
    if (mishap === 'bad-gateway') return void answer.writeHead(502).end('<html>bad gateway</html>')
    const twin = mishap === 'doubled' ? this.#ask(asked, body).catch(() => undefined) : undefined
    const { status, headers, content } = await this.#ask(asked, body)
    await twin
    if (mishap === 'answer-lost') return void answer.socket?.resetAndDestroy()
    answer.writeHead(status, { ...headers, 'content-length': content.byteLength })
    if (mishap !== 'answer-cut') return void answer.end(content)
    answer.write(content.subarray(0, content.byteLength / 2), () => answer.socket?.resetAndDestroy())
  }

  async #ask(asked: IncomingMessage, body: Buffer): Promise<{ status: number; headers: object; content: Buffer }> {
    const { connection: _c, upgrade: _u, 'transfer-encoding': _t, ...headers } = asked.headers
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const { hostname: host, port } = this.target
      request({ host, port, method: asked.method, path: asked.url, headers }, resolve).on('error', reject).end(body)
    })
    const { connection: _k, 'transfer-encoding': _e, 'keep-alive': _a, ...kept } = response.headers
    return { status: response.statusCode ?? 0, headers: kept, content: await wholeOf(response) }
  }
}

async function wholeOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

interface Flow {
  readonly client: Socket
  readonly server: Socket
  dropped: boolean
  replied: number
  timer: NodeJS.Timeout | undefined
}

type Way = 'requests' | 'replies'

/** A firewall on the path of TCP: it forgets connections without telling anybody, or resets them. */
export class Firewall {
  readonly #server: TcpServer
  readonly #flows = new Set<Flow>()
  #port = 0
  #cutWays = new Set<Way>()
  /** A connection that was idle for so long is forgotten: what comes then goes nowhere. */
  idleMs = Number.POSITIVE_INFINITY
  /** Asked for each new connection: after so many bytes of replies it is reset. */
  resetAfter: () => number = () => Number.POSITIVE_INFINITY
  forgotten = 0
  resets = 0

  /** `target`: of connections from now on. */
  private constructor(public target: URL) {
    this.#server = createTcpServer(client => this.#onConnection(client))
  }

  static async start(target: string): Promise<Firewall> {
    const firewall = new Firewall(new URL(target))
    firewall.#port = await listen(firewall.#server)
    return firewall
  }

  get url(): string {
    return `http://${loopback}:${this.#port}`
  }

  get flows(): number {
    return this.#flows.size
  }

  /** From now on what goes that way is swallowed, on old connections and new ones. */
  cut(way: Way): void {
    this.#cutWays.add(way)
  }

  heal(): void {
    this.#cutWays.clear()
  }

  /** Ends every connection; new ones are welcome. */
  cutAll(): void {
    for (const flow of [...this.#flows]) this.#end(flow)
  }

  /** Every connection that there is, and nobody is told. */
  forgetAll(): void {
    for (const flow of this.#flows) this.#forget(flow)
  }

  async stop(): Promise<void> {
    for (const flow of [...this.#flows]) this.#end(flow)
    await new Promise(resolve => this.#server.close(resolve))
  }

  #onConnection(client: Socket): void {
    const server = connect(Number(this.target.port), this.target.hostname)
    const flow: Flow = { client, server, dropped: false, replied: 0, timer: undefined }
    const limit = this.resetAfter()
    this.#flows.add(flow)
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.#end(flow))
      socket.on('close', () => this.#end(flow))
    }
    client.on('data', bytes => this.#pass(flow, 'requests', bytes))
    server.on('data', bytes => {
      flow.replied += bytes.byteLength
      this.#pass(flow, 'replies', flow.replied > limit ? bytes.subarray(0, bytes.byteLength / 2) : bytes)
      if (flow.replied > limit) this.#reset(flow)
    })
    this.#touch(flow)
  }

  #pass(flow: Flow, way: Way, bytes: Buffer): void {
    if (flow.dropped || this.#cutWays.has(way)) return
    this.#touch(flow)
    if (way === 'requests') flow.server.write(bytes)
    else flow.client.write(bytes)
  }

  #touch(flow: Flow): void {
    clearTimeout(flow.timer)
    if (Number.isFinite(this.idleMs)) flow.timer = setTimeout(() => this.#forget(flow), this.idleMs)
  }

  #forget(flow: Flow): void {
    if (!flow.dropped) this.forgotten++
    flow.dropped = true
  }

  #reset(flow: Flow): void {
    this.resets++
    this.#flows.delete(flow)
    clearTimeout(flow.timer)
    // What passed of the last bytes is to arrive first.
    setImmediate(() => {
      flow.client.resetAndDestroy()
      flow.server.resetAndDestroy()
    })
  }

  /** The end of one side is told to the other, unless the connection was forgotten. */
  #end(flow: Flow): void {
    clearTimeout(flow.timer)
    if (!this.#flows.delete(flow)) return
    flow.server.destroy()
    flow.client.destroy()
  }
}

export interface TunnelOptions {
  /** To listen on. */
  readonly host?: string
  /** `user:password` */
  readonly credential?: string
}

/** A proxy that opens tunnels to port 443 only, for names that nobody else knows. */
export class ConnectProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #port = 0
  /** `host:port` of each tunnel that was asked for. */
  readonly asked: string[] = []

  private constructor(
    /** Where the hosts really are. */
    private readonly hosts: ReadonlyMap<string, URL>,
    private readonly options: TunnelOptions,
  ) {
    this.#server = createServer((_asked, answer) => answer.writeHead(405).end())
    this.#server.on('connect', (asked: IncomingMessage, socket: Socket) => this.#onConnect(asked, socket))
  }

  static async start(hosts: ReadonlyMap<string, URL>, options: TunnelOptions = {}): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(hosts, options)
    proxy.#port = await listen(proxy.#server, options.host)
    return proxy
  }

  get url(): string {
    const { credential, host = loopback } = this.options
    return `http://${credential === undefined ? '' : `${credential}@`}${host}:${this.#port}`
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #onConnect(asked: IncomingMessage, client: Socket): void {
    client.on('error', () => client.destroy())
    this.asked.push(asked.url ?? '')
    const [host = '', port] = (asked.url ?? '').split(':')
    const { credential } = this.options
    const wanted = credential === undefined ? undefined : `Basic ${Buffer.from(credential).toString('base64')}`
    const status = asked.headers['proxy-authorization'] === wanted ? this.#statusFor(host, Number(port)) : 407
    if (status !== 200) return void client.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
    const target = this.hosts.get(host)!
    const server = connect(Number(target.port), target.hostname, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(server)
      server.pipe(client)
    })
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }

  #statusFor(host: string, port: number): number {
    if (port !== 443) return 403
    return this.hosts.has(host) ? 200 : 502
  }
}
