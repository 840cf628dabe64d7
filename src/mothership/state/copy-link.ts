/**
 * One link to another mothership, open. What is sent in one turn of the event loop leaves in one frame. It ends when the
 * other end is silent for a second, says what cannot be read, or does not take what is sent fast enough.
 */
import WebSocket from 'ws'
import type { Clock } from '../../hypervisor/ports.js'
import type { Carried } from './carried.js'
import { frameOf, openFrame, packMessage } from './copy-wire.js'

export interface CopyLinkEvents {
  onCarried(instance: string, carried: Carried): void
  /** Once. Nothing comes after it. */
  onClosed(reason: string): void
}

const pingEveryMs = 250
const silentMaxMs = 1_000
/** A timer that comes later than this says that this process stood still: what was sent meanwhile is yet to be read. */
const lateMs = 250
const readOnMs = 50
/** What may wait to be sent. */
const bufferedMax = 64 * 1024 * 1024
/** Frames are closed when they have so much. */
const frameBytesWanted = 1024 * 1024
const closeWithinMs = 500
/** Codes of websockets. */
const goingAway = 1001
const refused = 1008

export class CopyLink {
  #heardAtMs: number
  #messages: Uint8Array[] = []
  #bytes = 0
  #flushes = false
  #closed = false
  /** Something was not sent: nothing that comes later is. */
  #overflows = false
  #cancelPing: (() => void) | undefined
  #cancelSilence: (() => void) | undefined

  constructor(
    private readonly socket: WebSocket,
    private readonly clock: Clock,
    private readonly events: CopyLinkEvents,
  ) {
    this.#heardAtMs = clock.nowMs()
    socket.on('message', (data, binary) => this.#onFrame(data as Buffer, binary))
    socket.on('ping', () => this.#heard())
    socket.on('pong', () => this.#heard())
    socket.on('error', error => this.#end(error.message, closeWithinMs))
    socket.on('close', (code, reason) => this.#end(reason.toString() || `closed (${code})`, 0))
    this.#ping()
    this.#expectWord(silentMaxMs)
  }

  send(instance: string, carried: Carried): void {
    if (this.#closed) return
    const message = packMessage(instance, carried)
    if (this.#bytes + message.byteLength > frameBytesWanted) this.#flush()
    this.#messages.push(message)
    this.#bytes += message.byteLength
    if (this.#flushes) return
    this.#flushes = true
    setImmediate(() => {
      this.#flushes = false
      this.#flush()
    })
  }

  /** Orderly: what was sent still arrives. */
  close(reason: string, code = goingAway): void {
    this.#flush()
    this.socket.close(code, reason)
    this.#end(reason, closeWithinMs)
  }

  #flush(): void {
    const messages = this.#messages
    if (messages.length === 0 || this.#closed || this.#overflows) return
    this.#messages = []
    this.#bytes = 0
    const frame = frameOf(messages)
    const { readyState, bufferedAmount } = this.socket
    if (readyState !== WebSocket.OPEN) return
    if (bufferedAmount + frame.byteLength <= bufferedMax) return this.socket.send(frame)
    this.#overflows = true
    // In a turn of its own: whoever sends is in the middle of something.
    setImmediate(() => this.#end(`it does not take what is sent: ${bufferedAmount} bytes wait`, 0))
  }

  #onFrame(data: Buffer, binary: boolean): void {
    if (this.#closed) return
    this.#heard()
    const opened = openFrame(binary ? data : Buffer.alloc(0))
    if (opened.kind === 'bad') return this.close(opened.reason, refused)
    for (const { instance, carried } of opened.messages) {
      if (!this.#closed) this.events.onCarried(instance, carried)
    }
  }

  #ping(): void {
    this.socket.ping()
    this.#cancelPing = this.clock.after(pingEveryMs, () => this.#ping())
  }

  #heard(): void {
    this.#heardAtMs = this.clock.nowMs()
  }

  /** Looks again when a second of silence would be over. */
  #expectWord(withinMs: number): void {
    const dueMs = this.clock.nowMs() + withinMs
    this.#cancelSilence = this.clock.after(withinMs, () => {
      // It ends for that.
      if (this.#overflows) return
      const nowMs = this.clock.nowMs()
      const leftMs = this.#heardAtMs + silentMaxMs - nowMs
      if (leftMs > 0) return this.#expectWord(leftMs)
      if (nowMs - dueMs > lateMs) return this.#expectWord(readOnMs)
      this.#end('silent', 0)
    })
  }

  #end(reason: string, withinMs: number): void {
    if (withinMs === 0) this.socket.terminate()
    if (this.#closed) return
    this.#closed = true
    this.#cancelPing?.()
    this.#cancelSilence?.()
    if (withinMs > 0)
      this.socket.once(
        'close',
        this.clock.after(withinMs, () => this.socket.terminate()),
      )
    this.events.onClosed(reason)
  }
}
