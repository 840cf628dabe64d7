/**
 * RAIN's websocket handlers: each file below `server/websockets/` has a `channel` and a function `handle`, which gets
 * every socket that is opened to that channel.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ComponentSocket } from './component-socket.js'
import type { FromWorker, SocketCall } from './ipc.js'
import { loadModule } from './modules.js'

type Handle = (socket: ComponentSocket) => unknown

export interface WebsocketsPorts {
  say(message: FromWorker): void
  /** Puts on the socket what RAIN has there, and runs code of the component on its behalf. */
  dress(socket: ComponentSocket, call: SocketCall): (code: () => unknown) => Promise<unknown>
  broken(channel: string, event: string, error: unknown): void
}

const socketsMax = 1_000

export class Websockets {
  readonly #sockets = new Map<number, { readonly channel: string; readonly socket: ComponentSocket }>()

  private constructor(
    private readonly handlers: ReadonlyMap<string, readonly Handle[]>,
    private readonly ports: WebsocketsPorts,
  ) {}

  /** Throws for a file that handles no channel. */
  static async load(directory: string, ports: WebsocketsPorts): Promise<Websockets> {
    const root = join(directory, 'server/websockets')
    const names = existsSync(root) ? readdirSync(root, { recursive: true, encoding: 'utf8' }).sort() : []
    const handlers = new Map<string, Handle[]>()
    for (const name of names.filter(each => each.endsWith('.js'))) {
      const loaded = await loadModule(join(root, name))
      const { channel, handle } = (typeof loaded['default'] === 'object' ? loaded['default'] : loaded) as {
        channel?: unknown
        handle?: unknown
      }
      if (typeof channel !== 'string' || typeof handle !== 'function') {
        throw new Error(`server/websockets/${name}: has to export a "channel" and a function "handle"`)
      }
      const key = nameOf(channel)
      handlers.set(key, [...(handlers.get(key) ?? []), handle as Handle])
    }
    return new Websockets(handlers, ports)
  }

  has(channel: string): boolean {
    return this.handlers.has(nameOf(channel))
  }

  get full(): boolean {
    return this.#sockets.size >= socketsMax
  }

  /** The socket is open as soon as this returns: what the handlers say goes after that word. */
  open(n: number, call: SocketCall): void {
    const channel = nameOf(call.channel)
    const socket: ComponentSocket = new ComponentSocket(String(n), {
      say: text => this.ports.say({ k: 'say', n, text }),
      close: (code, reason) => this.#close(n, code, reason),
      run: code => run(code),
      broken: (event, error) => this.ports.broken(channel, event, error),
      all: () => [...this.#sockets.values()].filter(each => each.channel === channel).map(each => each.socket),
    })
    const run = this.ports.dress(socket, call)
    this.#sockets.set(n, { channel, socket })
    this.ports.say({ k: 'opened', n })
    for (const handle of this.handlers.get(channel) ?? []) {
      run(() => handle(socket)).catch(error => this.ports.broken(channel, 'connect', error))
    }
  }

  hear(n: number, text: string): void {
    this.#sockets.get(n)?.socket.heard(text)
  }

  /** The browser is gone. */
  end(n: number): void {
    const found = this.#sockets.get(n)
    this.#sockets.delete(n)
    found?.socket.closed('the connection ended')
  }

  #close(n: number, code: number, reason: string): void {
    if (!this.#sockets.has(n)) return
    this.ports.say({ k: 'closed', n, code, reason })
    this.end(n)
  }
}

/** RAIN's channels may begin with a slash. */
const nameOf = (channel: string): string => channel.replace(/^\//, '')
