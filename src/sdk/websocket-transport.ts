/** A session carried by a websocket. */
import type { Agent, ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import WebSocket from 'ws'
import { nodePath, replicaFrameBytesMax, subprotocol } from '../protocol/messages.js'
import { answeredWith, endOf, type Transport, type TransportEnd, type TransportEvents } from './transport.js'

export interface DialOptions {
  /** `http://host:port` of the replica. */
  readonly url: string
  readonly token: string
  /** Through a proxy; absent: directly. */
  readonly agent?: Agent
}

export class WebSocketTransport implements Transport {
  readonly #socket: WebSocket
  #raw: Socket | undefined
  #connected = false
  #end: TransportEnd | undefined

  constructor({ url, token, agent }: DialOptions, events: TransportEvents) {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + nodePath, subprotocol, {
      headers: { authorization: `Bearer ${token}` },
      maxPayload: replicaFrameBytesMax,
      perMessageDeflate: false,
      ...(agent ? { agent } : {}),
      finishRequest: request => this.#finish(request),
    })
    this.#socket = socket
    socket.on('unexpected-response', (_request, response) => {
      this.#end ??= answeredWith(response.statusCode ?? 0)
      response.resume()
      socket.terminate()
    })
    socket.on('error', error => {
      // What is no upgrade, though it says 101, was answered by somebody else.
      this.#end ??= this.#raw ? { kind: 'answered', reason: error.message } : endOf(error, this.#connected)
    })
    socket.on('upgrade', response => {
      this.#raw = response.socket
    })
    socket.on('open', () => events.onOpen())
    socket.on('message', data => events.onFrame(data as Buffer))
    socket.on('pong', () => events.onHeard())
    socket.on('ping', () => events.onHeard())
    socket.on('close', code => events.onEnd(this.#end ?? endedWith(code)))
  }

  get open(): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  send(frame: Uint8Array): void {
    if (this.open) this.#socket.send(frame)
  }

  ping(): void {
    if (this.open) this.#socket.ping()
  }

  /** In one packet: half the work for both ends. */
  sendAndPing(frame: Uint8Array): void {
    this.#raw?.cork()
    this.send(frame)
    this.ping()
    this.#raw?.uncork()
  }

  close(): void {
    this.#socket.close(1000)
  }

  terminate(): void {
    // Whoever still was about to answer the handshake is not the one who ended it.
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      this.#end ??= { kind: this.#connected ? 'broken' : 'nobody', reason: 'no answer in time' }
    }
    this.#socket.terminate()
  }

  /** Whether anybody took the connection tells a silent firewall from a machine that is off. */
  #finish(request: ClientRequest): void {
    request.on('socket', socket => {
      if (socket.connecting) socket.once('connect', () => (this.#connected = true))
      else this.#connected = true
    })
    request.end()
  }
}

/** 1006 is no word at all. */
const endedWith = (code: number): TransportEnd => ({
  kind: code === 1006 ? 'broken' : 'closed',
  reason: `closed (${code})`,
})
