/**
 * Where the browser looks: the local rain server, and in each of its pages a script that loads the page again when
 * something has changed, and shows what is wrong.
 */
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

export interface DevState {
  /** Another one for each change that a page can show. */
  readonly build: string
  /** What is wrong with what was written since, in sentences. */
  readonly faults: readonly string[]
}

export const eventsPath = '/__rain/events'
export const scriptPath = '/__rain/dev.js'

export class Front {
  readonly #server: Server = createServer((asked, answer) => this.#onRequest(asked, answer))
  readonly #listeners = new Set<ServerResponse>()
  #state: DevState = { build: '', faults: [] }

  /** `port`: of the rain server, on loopback. */
  constructor(private readonly upstreamPort: number) {
    this.#server.on('upgrade', (asked, socket, head) => this.#onUpgrade(asked, socket, head))
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, '127.0.0.1', resolve)
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  show(state: DevState): void {
    this.#state = state
    for (const listener of this.#listeners) listener.write(this.#event())
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) listener.end()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #event(): string {
    return `data: ${JSON.stringify(this.#state)}\n\n`
  }

  #onRequest(asked: IncomingMessage, answer: ServerResponse): void {
    const path = (asked.url ?? '/').split('?', 1)[0]
    if (path === eventsPath) return this.#listen(answer)
    if (path === scriptPath) {
      answer
        .writeHead(200, { 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'no-store' })
        .end(script)
      return
    }
    const passed = this.#pass(asked, answered => this.#give(answered, answer, asked.method !== 'HEAD'))
    passed.on('error', () => this.#notYet(answer))
    answer.on('close', () => passed.destroy())
    asked.pipe(passed)
  }

  #listen(answer: ServerResponse): void {
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    answer.write(this.#event())
    this.#listeners.add(answer)
    answer.on('close', () => this.#listeners.delete(answer))
  }

  #pass(asked: IncomingMessage, onAnswer: (answered: IncomingMessage) => void): ClientRequest {
    const { url: path, method, headers } = asked
    // What is added to a page needs it as it is, and whole.
    const plain = { ...headers, 'accept-encoding': 'identity' }
    const options = { host: '127.0.0.1', port: this.upstreamPort, path, method, headers: plain, agent: false }
    return request(options, onAnswer)
  }

  #give(answered: IncomingMessage, answer: ServerResponse, hasBody: boolean): void {
    const status = answered.statusCode ?? 502
    if (!hasBody || !/^text\/html\b/.test(answered.headers['content-type'] ?? '')) {
      answer.writeHead(status, answered.headers)
      answered.pipe(answer)
      return
    }
    const parts: Buffer[] = []
    answered.on('data', part => parts.push(part as Buffer))
    answered.on('end', () => {
      const html = this.#withScript(Buffer.concat(parts).toString())
      const { 'transfer-encoding': _chunked, ...headers } = answered.headers
      answer.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(html) }).end(html)
    })
  }

  #withScript(html: string): string {
    if (html === '') return html
    const tag = `<script src="${scriptPath}" data-build="${this.#state.build}"></script>\n`
    const end = html.lastIndexOf('</body>')
    return end < 0 ? html + tag : html.slice(0, end) + tag + html.slice(end)
  }

  #notYet(answer: ServerResponse): void {
    if (answer.headersSent) return void answer.destroy()
    const html = this.#withScript('<!DOCTYPE html><title>rain dev</title><p>The local rain server is starting.</p>')
    answer.writeHead(503, { 'content-type': 'text/html; charset=utf-8', 'retry-after': '1' }).end(html)
  }

  #onUpgrade(asked: IncomingMessage, socket: Duplex, head: Buffer): void {
    const passed = this.#pass(asked, () => socket.destroy())
    passed.on('upgrade', (answered, other, first) => {
      const lines = answered.rawHeaders.flatMap((name, at, all) => (at % 2 === 0 ? [`${name}: ${all[at + 1]}`] : []))
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`)
      if (first.length > 0) socket.write(first)
      if (head.length > 0) other.write(head)
      socket.pipe(other).pipe(socket)
      other.on('error', () => socket.destroy())
      socket.on('close', () => other.destroy())
    })
    passed.on('error', () => socket.destroy())
    socket.on('error', () => passed.destroy())
    passed.end()
  }
}

/** The page may have been made before the last change, so it knows of which one it is. */
const script = `(() => {
  const { build } = document.currentScript.dataset
  let box
  const show = faults => {
    box?.remove()
    if (faults.length === 0) return
    box = document.createElement('pre')
    box.id = 'rain-dev-faults'
    box.setAttribute('role', 'alert')
    box.style.cssText = 'position:fixed;inset:auto 0 0 0;z-index:2147483647;margin:0;padding:1em;max-height:50vh;' +
      'overflow:auto;background:#300;color:#fcc;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap'
    box.textContent = faults.join('\\n')
    document.body.append(box)
  }
  new EventSource('${eventsPath}').onmessage = ({ data }) => {
    const state = JSON.parse(data)
    if (state.build !== build) location.reload()
    else show(state.faults)
  }
})()
`
