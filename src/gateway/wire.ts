/**
 * What a session is carried by: a websocket, or polls where websockets do not pass (N5). A session knows no difference.
 */
import WebSocket from 'ws'

export interface Wire {
  /** Frames pass both ways: it is neither over nor told to end. */
  readonly open: boolean
  /** Bytes that the node has not fetched, as far as is known. */
  readonly bufferedAmount: number
  /** Who is told from now on. */
  carry(end: WireEnd): void
  send(frame: Uint8Array): void
  /** A sign of life. */
  answer(): void
  /** What was sent goes first. */
  close(status: number, reason?: string): void
  terminate(): void
}

/** The session's side. */
export interface WireEnd {
  onFrame(frame: Buffer): void
  /** A sign of life. */
  onHeard(): void
  onTrouble(reason: string): void
  /** Once. */
  onClosed(): void
}

/** With ten thousand of them a closure for each event of each would be felt: the listeners are shared, and find it by `this`. */
export class NodeSocket extends WebSocket implements Wire {
  end: WireEnd | undefined

  get open(): boolean {
    return this.readyState === WebSocket.OPEN
  }

  answer(): void {
    if (this.open) this.pong()
  }

  carry(end: WireEnd): void {
    this.end = end
    this.on('message', onMessage)
    this.on('ping', onSign)
    this.on('pong', onSign)
    this.on('error', onError)
    this.on('close', onClose)
  }
}

function onMessage(this: WebSocket, data: WebSocket.RawData): void {
  ;(this as NodeSocket).end?.onFrame(data as Buffer)
}

function onSign(this: WebSocket): void {
  ;(this as NodeSocket).end?.onHeard()
}

function onError(this: WebSocket, error: Error): void {
  ;(this as NodeSocket).end?.onTrouble(error.message)
}

function onClose(this: WebSocket): void {
  ;(this as NodeSocket).end?.onClosed()
}
