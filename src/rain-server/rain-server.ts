/** A rain server: serves pages from fragments of motherships, as the hypervisor wants it wired. */
import { createServer, type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Registry } from 'prom-client'
import { metricsUrl, type RainServerConfig } from '../config.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import type { MessageOf } from '../protocol/messages.js'
import { NodeSession, type Refused, type WantedState } from '../sdk/node-session.js'
import { answerIntent } from './answer-intent.js'
import { bodyBytesMax, callController, controllerHeaders, sendAnswer } from './controller.js'
import { errorDocument } from './document.js'
import { Files } from './files.js'
import { intentsPath } from './intent.js'
import { Links } from './links.js'
import { ServerMetrics } from './metrics.js'
import { Pages } from './pages.js'
import { pageRequest, readBody, wantsHtml } from './request.js'
import { type Route, reaches, routeOf } from './route.js'
import { Sessions } from './sessions.js'
import { Sockets } from './sockets.js'
import { visitOf } from './visit.js'
import { isWired, readWanted, type ServerState } from './wanted.js'

export interface RainServerDeps {
  readonly log: Log
  readonly clock: Clock
  readonly software?: string
}

export interface RainServer {
  readonly registry: Registry
  readonly port: number
  stop(): Promise<void>
}

const pagesMax = 2_000
const loadEveryMs = 1_000
const urlMax = 8 * 1024
const drainMs = 10_000
/** How long /healthz says no before connections are closed, so that the balancer has seen it. */
const noticeMs = 1_500
const linksWithinMs = 1_000
/** Service restart (RFC 6455 registry): a browser opens another one, which the balancer sends elsewhere. */
const restartCode = 1012
const knownVerbs: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
export async function startRainServer(config: RainServerConfig, deps: RainServerDeps): Promise<RainServer> {
  const server = new RunningRainServer(config, deps)
  await server.open()
  return server
}

class RunningRainServer implements RainServer {
  readonly #metrics = new ServerMetrics(() => this.#sockets.count)
  readonly #links: Links
  readonly #http: Server
  readonly #sockets: Sockets
  readonly #sessions: Sessions
  readonly #pages: Pages
  readonly #files: Files
  #generation: number | undefined
  #session: NodeSession | undefined
  #state: ServerState | undefined
  #underWay = 0
  #stopping = false
  /** Nobody sends anything here any more. */
  #leaving = false
  #cancelLoad: (() => void) | undefined
  #usage = { cpu: process.cpuUsage(), bytes: 0, in: 0, out: 0, atMs: 0 }
  port = 0

  constructor(
    private readonly config: RainServerConfig,
    private readonly deps: RainServerDeps,
  ) {
    const { clock, log } = deps
    this.#links = new Links(clock, log, mothership => this.#pages.linked(mothership), config.network?.proxy)
    this.#sessions = new Sessions(clock, log)
    const [links, sessions, metrics] = [this.#links, this.#sessions, this.#metrics]
    this.#pages = new Pages({ links, sessions, metrics, clock, log })
    this.#files = new Files(links)
    const state = (): ServerState | undefined => (this.#leaving ? undefined : this.#state)
    this.#sockets = new Sockets({ links: this.#links, clock, log, sessions: this.#sessions, state })
    this.#http = createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => void this.#serve(request, response))
    this.#http.on('clientError', refuse)
    this.#http.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
    this.#http.headersTimeout = 10_000
    this.#http.requestTimeout = 30_000
    this.#http.keepAliveTimeout = 30_000
  }

  get registry(): Registry {
    return this.#metrics.registry
  }

  async open(): Promise<void> {
    const { config, deps } = this
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', reject)
      this.#http.listen(config.port, config.host, () => {
        this.#http.off('error', reject)
        resolve()
      })
    })
    const address = this.#http.address()
    this.port = typeof address === 'object' && address ? address.port : config.port
    this.#session = new NodeSession({
      node: { kind: 'rainserver', id: config.id },
      hypervisors: config.hypervisors,
      token: config.token,
      ...(config.network ? { network: config.network } : {}),
      hello: () => this.#hello(),
      onWanted: state => this.#onWanted(state),
      log: deps.log,
    })
    this.#session.start()
    this.#reportLoad()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#cancelLoad?.()
    await this.#session?.stop()
    await this.#pause(this.#state ? noticeMs : 0)
    this.#leaving = true
    this.#sockets.closeAll(restartCode)
    const untilMs = this.deps.clock.nowMs() + drainMs
    const closed = new Promise<void>(resolve => this.#http.close(() => resolve()))
    this.#http.closeIdleConnections()
    while (this.#underWay > 0 && this.deps.clock.nowMs() < untilMs) await this.#pause(20)
    this.#http.closeAllConnections()
    await closed
    this.#pages.stop()
    await this.#links.close()
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.deps.clock.after(ms, resolve))
  }

  #hello(): Omit<MessageOf<'hello'>, 't' | 'kind' | 'id' | 'o'> {
    const { address, urls, zone, labels } = this.config
    return {
      address,
      urls: [...urls],
      labels,
      metrics: metricsUrl(this.config),
      ...(zone === undefined ? {} : { zone }),
      ...(this.deps.software === undefined ? {} : { software: this.deps.software }),
    }
  }

  async #onWanted(wanted: WantedState): Promise<readonly Refused[]> {
    const { state, refused } = readWanted(wanted)
    this.#state = state
    if (state) {
      this.#links.apply(state)
      if (this.#generation !== undefined && this.#generation !== state.server.generation) this.#files.clear()
      this.#generation = state.server.generation
      await this.#links.settled(linksWithinMs)
      this.#pages.apply(state)
    }
    return refused
  }

  /** Why this rain server should not get requests; undefined when it should. */
  #unready(): string | undefined {
    if (this.#stopping) return 'stopping'
    if (!this.#state) return 'not registered with a hypervisor yet'
    if (!isWired(this.#state)) return 'not wired yet'
    return this.#links.unready()
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.headers.upgrade?.toLowerCase() === 'websocket') {
      return void this.#sockets.onUpgrade(request, socket, head)
    }
    // Another protocol is only offered, and need not be taken: some clients do so with every first request.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket as Socket)
    response.once('finish', () => socket.end())
    socket.on('error', () => socket.destroy())
    // A body is not to be had any more.
    if (request.method === 'GET' || request.method === 'HEAD') void this.#serve(request, response)
    else this.#error(request, response, 501)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startMs = this.deps.clock.nowMs()
    const path = (request.url ?? '/').split('?', 1)[0]!
    if (path === '/healthz') return this.#health(response)
    if (this.#underWay >= pagesMax) {
      this.#metrics.overload()
      response.setHeader('retry-after', '1')
      return this.#error(request, response, 503)
    }
    this.#underWay++
    try {
      await this.#answer(request, response, path)
    } catch (error) {
      this.deps.log.error({ err: error, url: request.url }, 'a page failed')
      if (response.headersSent) response.destroy()
      else this.#error(request, response, 500)
    } finally {
      this.#underWay--
      this.#metrics.page(response.statusCode, this.deps.clock.nowMs() - startMs)
    }
  }

  #health(response: ServerResponse): void {
    const reason = this.#unready()
    response.writeHead(reason === undefined ? 200 : 503, { 'content-type': 'text/plain', 'cache-control': 'no-store' })
    response.end(`${reason ?? 'ready'}\n`)
  }

  async #answer(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const state = this.#state
    const verb = request.method ?? 'GET'
    if (!state) return this.#error(request, response, 503)
    if (!knownVerbs.has(verb)) return this.#error(request, response, 501)
    if ((request.url?.length ?? 0) > urlMax) return this.#error(request, response, 400)
    if (path === intentsPath && reaches(state, path)) return this.#intent(request, response, state)
    const route = routeOf(state, path)
    if (route.kind === 'none') return this.#error(request, response, route.status)
    if (route.kind === 'socket') {
      response.setHeader('upgrade', 'websocket')
      return this.#error(request, response, 426)
    }
    if (route.kind === 'controller') return this.#control(request, response, state, route)
    if (verb !== 'GET' && verb !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return this.#error(request, response, 405)
    }
    if (route.kind === 'resource') return this.#file(request, response, state, route)
    return this.#pages.serve(request, response, state, route, status => this.#error(request, response, status))
  }

  /** Answers what is no page and no file of one's own making. */
  async #file(
    request: IncomingMessage,
    response: ServerResponse,
    state: ServerState,
    route: Extract<Route, { kind: 'resource' }>,
  ): Promise<void> {
    const visit = visitOf(request, state, this.#sessions)
    const status = await this.#files.serve(request, response, state, route, visit)
    if (status !== undefined) this.#error(request, response, status)
  }

  async #control(
    request: IncomingMessage,
    response: ServerResponse,
    state: ServerState,
    route: Extract<Route, { kind: 'controller' }>,
  ): Promise<void> {
    const body = await this.#body(request, response)
    if (!body) return
    const { cookies, ...visit } = visitOf(request, state, this.#sessions)
    const asked = {
      route,
      verb: request.method ?? 'GET',
      request: pageRequest(request, controllerHeaders),
      body,
      ...visit,
      deadlineMs: state.server.pageDeadlineMs,
    }
    const { shown, clock } = this.#pages.ports
    const answer = await callController(asked, { links: this.#links, clock, shown })
    if (answer.kind === 'answer') return sendAnswer(request, response, answer.answer, cookies())
    const { status, reason } = answer
    this.deps.log.warn({ url: request.url, verb: asked.verb, status, reason }, 'a controller failed')
    this.#error(request, response, status)
  }

  async #intent(request: IncomingMessage, response: ServerResponse, state: ServerState): Promise<void> {
    if (request.method !== 'POST') {
      response.setHeader('allow', 'POST')
      return this.#error(request, response, 405)
    }
    // A form of another site cannot send this type without asking first.
    if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return this.#error(request, response, 415)
    const body = await this.#body(request, response)
    if (!body) return
    const visit = visitOf(request, state, this.#sessions)
    const told = pageRequest(request, controllerHeaders)
    const answer = await answerIntent(body, state, visit, told, this.#pages.ports, this.#links)
    const { status, reason } = answer
    if (reason !== undefined) this.deps.log.warn({ status, reason }, 'an intent failed')
    sendJson(response, status, answer.body, visit.cookies())
  }

  /** Undefined when there is none that can be used, which has been answered. */
  async #body(request: IncomingMessage, response: ServerResponse): Promise<Buffer | undefined> {
    const body = await readBody(request, bodyBytesMax)
    if (body.kind === 'body') return body.bytes
    if (body.kind === 'cut off') response.destroy()
    else {
      response.setHeader('connection', 'close')
      this.#error(request, response, 413)
    }
    return undefined
  }

  #error(request: IncomingMessage, response: ServerResponse, status: number): void {
    if (wantsHtml(request)) return send(request, response, status, errorDocument(status))
    response.writeHead(status, { 'content-length': 0, 'cache-control': 'no-store' })
    response.end()
  }

  #reportLoad(): void {
    if (this.#stopping) return
    const nowMs = this.deps.clock.nowMs()
    const before = this.#usage
    const bytes = this.#links.bytes()
    this.#usage = { cpu: process.cpuUsage(), bytes: 0, ...bytes, atMs: nowMs }
    const elapsedMs = nowMs - before.atMs
    if (before.atMs > 0 && elapsedMs > 0) {
      const used = process.cpuUsage(before.cpu)
      const cpu = (used.user + used.system) / elapsedMs
      const ram = process.memoryUsage.rss() / 2 ** 20
      const kbits = (now: number, then: number): number => Math.max(0, ((now - then) * 8) / elapsedMs)
      const bandwidth = { in: kbits(bytes.in, before.in), out: kbits(bytes.out, before.out) }
      this.#session?.load({ cpu, ram, bandwidth, windowMs: loadEveryMs })
      this.#metrics.look(this.#links.open, { cpu, ram, bandwidth: bandwidth.in + bandwidth.out })
    }
    this.#cancelLoad = this.deps.clock.after(loadEveryMs, () => this.#reportLoad())
  }
}

const refusals: Readonly<Record<string, number>> = {
  // A verb that the parser does not know is as any other that is not served.
  HPE_INVALID_METHOD: 501,
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** What is no request; without this each would be 400, but for the last three. */
function refuse({ code = '' }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable) return void socket.destroy()
  const status = refusals[code] ?? 400
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

function sendJson(response: ServerResponse, status: number, value: object, cookies: string[]): void {
  const body = Buffer.from(JSON.stringify(value))
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.byteLength,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(cookies.length > 0 ? { 'set-cookie': cookies } : {}),
  })
  response.end(body)
}

function send(request: IncomingMessage, response: ServerResponse, status: number, html: string): void {
  const body = Buffer.from(html)
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': body.byteLength,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
