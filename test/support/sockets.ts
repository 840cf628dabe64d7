/** Listeners and raw websockets on loopback, for tests of what goes over the wire. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import WebSocket from 'ws'
import { decode, encode } from '../../src/protocol/codec.js'
import {
  type Message,
  type MessageOf,
  type MessageType,
  replicaFrameBytesMax,
  subprotocol,
} from '../../src/protocol/messages.js'
import { waitUntil } from './etcd.js'

export interface Listening {
  readonly server: Server
  readonly url: string
  close(): Promise<void>
}

export async function listening(): Promise<Listening> {
  const server = createServer((_request, response) => response.writeHead(404).end())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    server,
    url,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** One end of a websocket that says what a test wants and keeps what it hears. */
export class RawPeer {
  readonly heard: Message[] = []
  /** Code and reason of the end. */
  closed: { readonly code: number; readonly reason: string } | undefined

  private constructor(readonly socket: WebSocket) {
    socket.on('message', data => {
      const decoded = decode(data as Buffer, replicaFrameBytesMax)
      if (decoded.kind !== 'message') throw new Error(`a frame that is none: ${JSON.stringify(decoded)}`)
      this.heard.push(decoded.message)
    })
    socket.on('error', () => undefined)
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
    })
  }

  static async open(url: string, path: string, token: string): Promise<RawPeer> {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + path, subprotocol, {
      headers: { authorization: `Bearer ${token}` },
    })
    const peer = new RawPeer(socket)
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return peer
  }

  say(message: Message): void {
    this.socket.send(encode(message))
  }

  all<T extends MessageType>(type: T): MessageOf<T>[] {
    return this.heard.filter((message): message is Extract<Message, MessageOf<T>> => message.t === type)
  }

  /** The nth message of a type (the first is 1), as soon as it is there. */
  async hear<T extends MessageType>(type: T, nth = 1): Promise<MessageOf<T>> {
    await waitUntil(`${type} number ${nth} is heard`, () => this.all(type).length >= nth)
    return this.all(type)[nth - 1]!
  }

  async end(): Promise<{ readonly code: number; readonly reason: string }> {
    await waitUntil('the socket is closed', () => this.closed !== undefined)
    return this.closed!
  }
}

/** The status with which an upgrade is refused; 101 when it is not. */
export function upgradeStatus(url: string, path: string, headers: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + path, subprotocol, { headers, handshakeTimeout: 10_000 })
    socket.once('error', reject)
    socket.once('open', () => {
      socket.close()
      resolve(101)
    })
    socket.once('unexpected-response', (_request, response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
  })
}
