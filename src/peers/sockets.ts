/** Channels between replicas as websockets: the upgrade is authenticated by the secret that the replicas share. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import { CloudError } from '../cloud/errors.js'
import { peerPath, replicaFrameBytesMax, subprotocol } from '../protocol/messages.js'
import type { Channel, ChannelEvents, PeerNetwork } from './network.js'

const handshakeWithinMs = 2_000
const closeWithinMs = 500
const bufferedMax = 16 * 1024 * 1024

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Throws `misconfigured` without a secret. */
export function socketNetwork(server: Server, secret: string): PeerNetwork {
  if (secret === '') throw new CloudError('misconfigured', 'the replicas need a secret that they share')
  return new SocketNetwork(server, secret)
}

class SocketNetwork implements PeerNetwork {
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: replicaFrameBytesMax,
    perMessageDeflate: false,
  })
  #listener: ((channel: Channel) => void) | undefined
  #refuses = false

  constructor(
    server: Server,
    private readonly secret: string,
  ) {
    server.on('upgrade', this.#onUpgrade)
  }

  onChannel(listener: (channel: Channel) => void): void {
    this.#listener = listener
  }

  /** Refused until the listener is closed: a socket that nobody answers would keep that open. */
  refuse(): void {
    this.#refuses = true
    this.#sockets.close()
  }

  dial(url: string): Promise<Channel> {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + peerPath, subprotocol, {
      headers: { authorization: `Bearer ${this.secret}` },
      maxPayload: replicaFrameBytesMax,
      perMessageDeflate: false,
      handshakeTimeout: handshakeWithinMs,
    })
    return new Promise((resolve, reject) => {
      let channel: SocketChannel
      socket.once('error', reject)
      socket.once('upgrade', response => (channel = new SocketChannel(socket, response.socket)))
      socket.once('open', () => {
        socket.off('error', reject)
        resolve(channel)
      })
    })
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.url?.split('?')[0] !== peerPath) return
    const said = /^Bearer (\S{1,4096})$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (this.#refuses || !timingSafeEqual(digest(said), digest(this.secret))) {
      socket.on('error', () => socket.destroy())
      const status = this.#refuses ? '503 Service Unavailable' : '401 Unauthorized'
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
      return
    }
    this.#sockets.handleUpgrade(request, socket, head, websocket =>
      this.#listener?.(new SocketChannel(websocket, socket)),
    )
  }
}

/** What is sent in one turn of the event loop leaves in one write: a call of the system costs more than a frame. */
class SocketChannel implements Channel {
  #events: ChannelEvents | undefined
  readonly #early: Buffer[] = []
  #closed: string | undefined
  #gathers = false

  constructor(
    private readonly socket: WebSocket,
    private readonly connection: Duplex,
  ) {
    socket.on('message', data => this.#onFrame(data as Buffer))
    socket.on('close', () => this.#end('closed'))
    socket.on('error', error => this.#end(error.message))
  }

  listen(events: ChannelEvents): void {
    this.#events = events
    for (const frame of this.#early.splice(0)) this.#onFrame(frame)
    if (this.#closed !== undefined) events.onClosed(this.#closed)
  }

  send(frame: Uint8Array): boolean {
    const { socket } = this
    if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > bufferedMax) return false
    this.#gather()
    socket.send(frame)
    return true
  }

  #gather(): void {
    if (this.#gathers) return
    this.#gathers = true
    this.connection.cork()
    setImmediate(() => {
      this.#gathers = false
      this.connection.uncork()
    })
  }

  close(): void {
    this.socket.close(1000)
    const timer = setTimeout(() => this.socket.terminate(), closeWithinMs)
    this.socket.once('close', () => clearTimeout(timer))
  }

  terminate(): void {
    this.socket.terminate()
  }

  #onFrame(frame: Buffer): void {
    // A listener may hand the channel on while it is told: whoever listens then hears the rest.
    if (this.#events) this.#events.onFrame(frame)
    else this.#early.push(frame)
  }

  #end(reason: string): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    this.#events?.onClosed(reason)
  }
}
