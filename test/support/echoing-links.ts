/**
 * What stands between rain servers and a mothership and says everything again that the mothership says: each frame twice
 * at once, and once more among later ones.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'

/** How many frames later the last echo comes. */
const laterBy = 16

export class EchoingLinks {
  readonly #server: Server = createServer()
  readonly #sockets = new WebSocketServer({ noServer: true, handleProtocols: ([first]) => first ?? false })
  /** Frames that were said once more than they should have been. */
  echoes = 0

  private constructor(private readonly target: string) {
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
  }

  static async start(target: string): Promise<EchoingLinks> {
    const links = new EchoingLinks(target)
    await new Promise<void>((resolve, reject) => {
      links.#server.once('error', reject)
      links.#server.listen(0, '127.0.0.1', resolve)
    })
    return links
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    for (const each of this.#sockets.clients) each.terminate()
    this.#sockets.close()
    await new Promise(resolve => this.#server.close(resolve))
  }

  /** The mothership is dialled first: what it refuses is refused. */
  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { authorization = '', 'sec-websocket-protocol': protocol = '' } = request.headers
    const there = new WebSocket(this.target + request.url, protocol, { headers: { authorization } })
    there.on('error', () => socket.destroy())
    socket.on('error', () => there.terminate())
    there.once('open', () => {
      this.#sockets.handleUpgrade(request, socket, head, here => this.#join(here, there))
    })
  }

  #join(here: WebSocket, there: WebSocket): void {
    const said: Buffer[] = []
    const say = (frame: Buffer): void => here.send(frame, { binary: true })
    here.on('message', (data: Buffer) => there.send(data, { binary: true }))
    there.on('message', (data: Buffer) => {
      say(data)
      said.push(data)
      const old = said.length > laterBy ? said.shift()! : data
      for (const frame of old === data ? [data] : [data, old]) {
        this.echoes++
        say(frame)
      }
    })
    for (const [one, other] of [
      [here, there],
      [there, here],
    ] as const) {
      one.on('error', () => other.terminate())
      one.on('close', () => other.terminate())
    }
  }
}
