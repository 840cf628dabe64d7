/**
 * Components' own websockets, as browsers open them at `/<component>[/<version>]/websockets/<channel>`: each goes, as
 * text, to the copy that the session's views come from. When that copy goes, the browser's connection is closed with
 * 1012, and it opens another one.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import type { Clock, Log } from '../hypervisor/ports.js'
import { socketTextBytesMax } from '../protocol/socket-text.js'
import { copiesTried, order } from './choose.js'
import { controllerHeaders } from './controller.js'
import type { LinkSocket, SocketEvents, SocketRequest } from './link-sockets.js'
import type { Links } from './links.js'
import { pageRequest } from './request.js'
import { type Route, routeOf } from './route.js'
import type { Sessions } from './sessions.js'
import { type Visit, visitOf } from './visit.js'
import type { ServerState } from './wanted.js'

const socketsMax = 5_000
const perSessionMax = 32
/** Bytes that a browser has not fetched yet. */
const bufferedMax = 1024 * 1024
const earlyMax = 1_000
const pingEveryMs = 25_000
const pingsUnansweredMax = 2
const busyCode = 1013

type SocketRoute = Extract<Route, { kind: 'socket' }>

export interface SocketsPorts {
  readonly links: Links
  readonly clock: Clock
  readonly log: Log
  readonly sessions: Sessions
  /** Undefined while nothing can be served. */
  state(): ServerState | undefined
}

export class Sockets {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: socketTextBytesMax,
    perMessageDeflate: false,
    clientTracking: true,
  })
  readonly #bySession = new Map<string, number>()
  #count = 0

  constructor(private readonly ports: SocketsPorts) {}

  get count(): number {
    return this.#count
  }

  async onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy())
    try {
      await this.#upgrade(request, socket, head)
    } catch (error) {
      this.ports.log.error({ err: error, url: request.url }, 'a websocket could not be opened')
      refuse(socket, 500)
    }
  }

  /** With 1012 a browser opens another one, at another rain server. */
  closeAll(code: number): void {
    for (const each of this.#server.clients) {
      each.close(code)
      this.ports.clock.after(500, () => each.terminate())
    }
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const state = this.ports.state()
    if (!state) return refuse(socket, 503)
    const route = routeOf(state, (request.url ?? '/').split('?', 1)[0]!)
    if (route.kind !== 'socket') return refuse(socket, route.kind === 'none' ? route.status : 404)
    if (!fromHere(request)) return refuse(socket, 403)
    const visit = visitOf(request, state, this.ports.sessions)
    const held = this.#bySession.get(visit.session) ?? 0
    if (this.#count >= socketsMax || held >= perSessionMax) return refuse(socket, held >= perSessionMax ? 429 : 503)
    this.#count++
    this.#bySession.set(visit.session, held + 1)
    let closed = false
    socket.once('close', () => {
      closed = true
      this.#gone(visit.session)
    })
    const browser = new Browser(this.ports.clock, change => visit.held.change(route.component.id, change))
    const opened = await this.#open(state, route, visit, request, browser)
    if ('status' in opened) {
      const { status, reason } = opened
      this.ports.log.info({ url: request.url, status, reason }, 'a websocket was refused')
      return refuse(socket, status)
    }
    if (closed) return opened.close(1001, 'the browser went')
    const cookies = visit.cookies()
    if (cookies.length > 0) this.#withCookies(request, cookies)
    this.#server.handleUpgrade(request, socket, head, websocket => browser.attach(websocket, opened))
  }

  #gone(session: string): void {
    this.#count--
    const left = (this.#bySession.get(session) ?? 1) - 1
    if (left > 0) this.#bySession.set(session, left)
    else this.#bySession.delete(session)
  }

  #withCookies(request: IncomingMessage, cookies: readonly string[]): void {
    const add = (headers: string[], of: IncomingMessage): void => {
      if (of !== request) return
      this.#server.off('headers', add)
      headers.push(...cookies.map(each => `Set-Cookie: ${each}`))
    }
    this.#server.on('headers', add)
  }

  /** At the copy that is this session's, or else at the next ones. */
  async #open(
    state: ServerState,
    { component, channel }: SocketRoute,
    { session, held, locale, languages }: Visit,
    request: IncomingMessage,
    events: SocketEvents,
  ): Promise<LinkSocket | { readonly status: number; readonly reason: string }> {
    const { links, clock } = this.ports
    const untilMs = clock.nowMs() + state.server.fragmentDeadlineMs
    let last = { status: 503, reason: `no copy of ${component.id} can be reached` }
    for (const { instance, mothership } of order(component, session, links.reachable).slice(0, copiesTried)) {
      const asked: SocketRequest = {
        component: component.id,
        version: component.version,
        instance,
        channel,
        session,
        locale,
        languages: [...languages],
        ...(component.useSession === true ? { sessionData: held.of(component.id) } : {}),
        request: pageRequest(request, controllerHeaders),
        deadlineMs: untilMs - clock.nowMs(),
      }
      const answer = await links.get(mothership)?.openSocket(asked, events)
      if (!answer) continue
      if (answer.kind === 'open') return answer.socket
      last = answer
      if (!answer.unanswered && answer.status < 502) break
      if (clock.nowMs() >= untilMs) break
    }
    return last
  }
}

/** A page of another site may open a websocket here, and its browser sends our cookies with it, unless it is asked. */
function fromHere({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}

function refuse(socket: Duplex, status: number): void {
  if (!socket.writable) return void socket.destroy()
  socket.once('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

/** Of what a component says, only what may go into a frame: some codes stand for what nobody says, and a frame is short. */
function sayable(code: number, reason: string): [code: number, reason: string] {
  const may = (code >= 1000 && code <= 1013 && (code < 1004 || code > 1006)) || code >= 3000
  return [may ? code : 1011, Buffer.from(reason).subarray(0, 110).toString()]
}

/** The browser's end: what comes for it before it is there waits. */
class Browser implements SocketEvents {
  #websocket: WebSocket | undefined
  #component: LinkSocket | undefined
  #early: string[] = []
  #end: readonly [code: number, reason: string] | undefined
  #pingsUnanswered = 0

  constructor(
    private readonly clock: Clock,
    readonly onSession: SocketEvents['onSession'],
  ) {}

  onText(text: string): void {
    const websocket = this.#websocket
    if (!websocket) {
      if (this.#early.push(text) > earlyMax) this.#early.shift()
      return
    }
    if (websocket.bufferedAmount <= bufferedMax) return websocket.send(text)
    this.#component?.close(busyCode, 'the browser does not fetch what is sent')
    websocket.close(busyCode)
    this.clock.after(500, () => websocket.terminate())
  }

  onClose(code: number, reason: string): void {
    this.#end = [code, reason]
    const websocket = this.#websocket
    if (!websocket) return
    websocket.close(...sayable(code, reason))
    this.clock.after(2_000, () => websocket.terminate())
  }

  attach(websocket: WebSocket, component: LinkSocket): void {
    this.#websocket = websocket
    this.#component = component
    websocket.on('error', () => websocket.terminate())
    websocket.on('close', code => component.close(code === 1000 ? 1000 : 1001, 'the browser closed it'))
    websocket.on('pong', () => {
      this.#pingsUnanswered = 0
    })
    websocket.on('message', (data, isBinary) => {
      this.#pingsUnanswered = 0
      if (isBinary) websocket.close(1003, 'only texts are taken')
      else component.say((data as Buffer).toString())
    })
    for (const text of this.#early.splice(0)) websocket.send(text)
    if (this.#end) this.onClose(...this.#end)
    this.#ping(websocket)
  }

  #ping(websocket: WebSocket): void {
    if (websocket.readyState !== WebSocket.OPEN) return
    if (this.#pingsUnanswered >= pingsUnansweredMax) return websocket.terminate()
    this.#pingsUnanswered++
    websocket.ping()
    this.clock.after(pingEveryMs, () => this.#ping(websocket))
  }
}
