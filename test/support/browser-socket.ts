/** A page's websocket: what it was told, and how it was closed. */
import WebSocket from 'ws'

export interface Told {
  readonly event?: string
  readonly ack?: number
  readonly args: readonly unknown[]
}

export class BrowserSocket {
  readonly told: Told[] = []
  /** Code and reason. */
  closed: string | undefined
  /** Headers of the answer that opened it. */
  headers: Readonly<Record<string, string | readonly string[] | undefined>> = {}

  private constructor(readonly socket: WebSocket) {
    socket.on('message', data => this.told.push(JSON.parse((data as Buffer).toString()) as Told))
    socket.on('close', (code, reason) => {
      this.closed = `${code} ${reason.toString()}`.trim()
    })
    socket.on('error', () => undefined)
    socket.on('upgrade', response => {
      this.headers = response.headers
    })
  }

  /** The status of the answer when it is refused. */
  static open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<BrowserSocket | number> {
    const socket = new WebSocket(url, { headers })
    return new Promise((resolve, reject) => {
      const browser = new BrowserSocket(socket)
      socket.once('open', () => resolve(browser))
      socket.once('unexpected-response', (_request, response) => {
        resolve(response.statusCode ?? 0)
        socket.terminate()
      })
      socket.once('error', reject)
    })
  }

  say(event: string, ...args: unknown[]): void {
    this.socket.send(JSON.stringify({ event, args }))
  }

  ask(ack: number, event: string, ...args: unknown[]): void {
    this.socket.send(JSON.stringify({ event, args, ack }))
  }

  /** What was said to `ack`, if anything yet. */
  answerTo(ack: number): readonly unknown[] | undefined {
    return this.told.find(each => each.ack === ack)?.args
  }
}
