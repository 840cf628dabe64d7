/** One link to another replica: messages both ways, a sign of life when there is nothing to say. */
import WebSocket from 'ws'
import type { Clock } from '../hypervisor/ports.js'
import { decode, encode } from '../protocol/codec.js'
import { type Message, replicaFrameBytesMax } from '../protocol/messages.js'

const aliveEveryMs = 250
const silentMaxMs = 1_000
const bufferedMax = 16 * 1024 * 1024

export interface LinkEvents {
  onMessage(message: Message): void
  onClosed(reason: string): void
}

export class Link {
  #heardAtMs: number
  #saidAtMs: number
  #closed = false
  #cancelTimer: (() => void) | undefined

  constructor(
    private readonly socket: WebSocket,
    private readonly clock: Clock,
    private readonly events: LinkEvents,
  ) {
    this.#heardAtMs = clock.nowMs()
    // The first word is that of who opened the link: it says who is there.
    this.#saidAtMs = this.#heardAtMs
    socket.on('message', data => this.#onFrame(data as Buffer))
    socket.on('close', () => this.#end('closed'))
    socket.on('error', error => this.#end(error.message))
    this.#tick()
  }

  /** False when the link is closed or congested: nothing was sent then. */
  send(message: Message): boolean {
    if (this.#closed || this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > bufferedMax)
      return false
    this.#saidAtMs = this.clock.nowMs()
    this.socket.send(encode(message))
    return true
  }

  close(reason: string): void {
    this.#end(reason)
    this.socket.close(1000)
    this.clock.after(500, () => this.socket.terminate())
  }

  #tick(): void {
    const nowMs = this.clock.nowMs()
    if (nowMs - this.#heardAtMs > silentMaxMs) {
      this.socket.terminate()
      return this.#end('silent')
    }
    if (nowMs - this.#saidAtMs >= aliveEveryMs) this.send({ t: 'alive' })
    this.#cancelTimer = this.clock.after(aliveEveryMs, () => this.#tick())
  }

  #onFrame(frame: Buffer): void {
    this.#heardAtMs = this.clock.nowMs()
    const decoded = decode(frame, replicaFrameBytesMax)
    if (decoded.kind === 'message') this.events.onMessage(decoded.message)
    else if (decoded.kind === 'unknown') this.send({ t: 'error', about: decoded.type, message: 'unknown type' })
    else this.close(`a frame that cannot be read: ${decoded.reason}`)
  }

  #end(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#cancelTimer?.()
    this.events.onClosed(reason)
  }
}
