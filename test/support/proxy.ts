/** A TCP proxy in front of a server, which loses what a test tells it to lose. */
import { connect, createServer, type Server, type Socket } from 'node:net'

type Side = 'requests' | 'replies'

interface Pair {
  readonly client: Socket
  readonly server: Socket
  readonly kept: Record<Side, Buffer[]>
}

export class TestProxy {
  readonly #pairs = new Set<Pair>()
  readonly #limits: number[] = []
  #refusing = false
  #delayMs = 0
  #held: Record<Side, boolean> = { requests: false, replies: false }

  private constructor(
    private readonly listener: Server,
    private readonly target: URL,
  ) {
    listener.on('connection', client => this.#onConnection(client))
  }

  static async start(target: string): Promise<TestProxy> {
    const listener = createServer()
    const proxy = new TestProxy(listener, new URL(target))
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject)
      listener.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.listener.address() as { port: number }).port}`
  }

  /** Ends all connections; whatever is held is lost with them. New ones are welcome. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#end(pair)
  }

  /** Ends all connections, and new ones at once. */
  refuse(): void {
    this.#refusing = true
    this.cut()
  }

  accept(): void {
    this.#refusing = false
  }

  /** What comes from now on is passed on so much later, each way. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** From now on nothing passes on the connections that are open, which stay so; new ones are served. */
  stallOpen(): void {
    for (const { client, server } of this.#pairs) {
      client.pause()
      server.pause()
    }
  }

  /** Keeps what comes from one side, or from both, until it is released or the connection is cut. */
  hold(...sides: readonly Side[]): void {
    for (const side of sides) this.#held[side] = true
  }

  heldBytes(side: Side): number {
    return [...this.#pairs].flatMap(pair => pair.kept[side]).reduce((sum, bytes) => sum + bytes.byteLength, 0)
  }

  release(): void {
    this.#held = { requests: false, replies: false }
    for (const { client, server, kept } of this.#pairs) {
      for (const bytes of kept.requests.splice(0)) server.write(bytes)
      for (const bytes of kept.replies.splice(0)) client.write(bytes)
    }
  }

  /** The first connection with so many bytes of replies is cut; then the next limit holds, for each one anew. */
  limitReplies(...bytes: readonly number[]): void {
    this.#limits.push(...bytes)
  }

  get limitsLeft(): number {
    return this.#limits.length
  }

  async stop(): Promise<void> {
    this.refuse()
    await new Promise(resolve => this.listener.close(resolve))
  }

  #onConnection(client: Socket): void {
    if (this.#refusing) {
      client.on('error', () => undefined)
      client.destroy()
      return
    }
    const pair: Pair = {
      client,
      server: connect(Number(this.target.port), this.target.hostname),
      kept: { requests: [], replies: [] },
    }
    this.#pairs.add(pair)
    for (const socket of [client, pair.server]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.#end(pair))
      socket.on('close', () => this.#end(pair))
    }
    client.on('data', bytes => this.#forward(pair, 'requests', bytes))
    this.#forwardReplies(pair)
  }

  #forwardReplies(pair: Pair): void {
    let count = 0
    pair.server.on('data', bytes => {
      const left = (this.#limits[0] ?? Number.POSITIVE_INFINITY) - count
      count += bytes.byteLength
      this.#forward(pair, 'replies', bytes.subarray(0, Math.max(0, left)))
      if (bytes.byteLength < left) return
      this.#limits.shift()
      // Ended rather than destroyed: what passed is to arrive.
      this.#end(pair, () => pair.client.end())
    })
  }

  #forward(pair: Pair, side: Side, bytes: Buffer): void {
    if (this.#held[side]) return void pair.kept[side].push(bytes)
    const to = side === 'requests' ? pair.server : pair.client
    if (this.#delayMs === 0) to.write(bytes)
    else setTimeout(() => to.write(bytes), this.#delayMs)
  }

  #end(pair: Pair, endClient: () => void = () => pair.client.destroy()): void {
    if (!this.#pairs.delete(pair)) return
    pair.server.destroy()
    endClient()
  }
}
