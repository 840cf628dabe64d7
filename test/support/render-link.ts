/** A rain server's end of a link to a mothership, without a rain server. */
import WebSocket from 'ws'
import { type Decoded, decode, decodeList, encode } from '../../src/protocol/codec.js'
import { type Message, type MessageOf, renderPath, subprotocol } from '../../src/protocol/messages.js'

type Answer = MessageOf<'fragment'> | MessageOf<'failed'> | MessageOf<'answer'>
type Render = Partial<MessageOf<'render'>>
type Call = Partial<MessageOf<'call'>>

export class RenderLink {
  /** What it said first that it takes. */
  takes: MessageOf<'takes'> | undefined
  /** Everything else that came. */
  readonly heard: Message[] = []
  /** The code that it was closed with. */
  readonly closed: Promise<number>
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #next = 1

  private constructor(private readonly socket: WebSocket) {
    this.closed = new Promise(resolve => socket.once('close', resolve))
    socket.on('error', () => undefined)
    socket.on('message', data => {
      this.#hear(decode(data as Buffer))
    })
  }

  #hear(decoded: Decoded): void {
    if (decoded.kind !== 'message') throw new Error(`a mothership sent what is not of the protocol: ${decoded.kind}`)
    const { message } = decoded
    if (message.t === 'takes') this.takes = message
    else this.heard.push(message)
    if (message.t === 'several') for (const each of decodeList(message)) this.#hear(each)
    if (message.t === 'fragment' || message.t === 'failed' || message.t === 'answer') {
      this.#waiting.get(message.r)?.(message)
    }
  }

  /** The status of the answer when the link is refused. */
  static open(port: number, authorization: string | undefined, path = renderPath): Promise<RenderLink | number> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, subprotocol, {
      headers: authorization === undefined ? {} : { authorization },
    })
    return new Promise((resolve, reject) => {
      const link = new RenderLink(socket)
      socket.once('open', () => resolve(link))
      socket.once('unexpected-response', (_request, response) => {
        resolve(response.statusCode ?? 0)
        socket.terminate()
      })
      socket.once('error', reject)
    })
  }

  render(instance: string, view = 'index', more: Render = {}): Promise<Answer> {
    const r = this.#next++
    return this.#ask(r, { t: 'render', r, instance, view, context: {}, deadlineMs: 10_000, ...more })
  }

  /** In one frame. */
  renders(views: readonly Pick<MessageOf<'render'>, 'instance' | 'view' | 'context'>[]): Promise<Answer[]> {
    const list = views.map(each => ({ ...each, r: this.#next++, deadlineMs: 10_000 }))
    const answers = list.map(({ r }) => new Promise<Answer>(resolve => this.#waiting.set(r, resolve)))
    this.send({ t: 'renders', list })
    return Promise.all(answers)
  }

  resource(component: string, path: string, more: Call = {}): Promise<Answer> {
    const r = this.#next++
    return this.#ask(r, {
      t: 'call',
      r,
      kind: 'resource',
      component,
      version: '1.0.0',
      path,
      verb: 'GET',
      deadlineMs: 10_000,
      ...more,
    })
  }

  send(frame: Uint8Array | Message): void {
    this.socket.send(frame instanceof Uint8Array ? frame : encode(frame))
  }

  close(): void {
    this.socket.terminate()
  }

  #ask(r: number, message: Message): Promise<Answer> {
    this.send(message)
    return new Promise(resolve => this.#waiting.set(r, resolve))
  }
}
