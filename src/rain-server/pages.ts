/** Pages on their way to browsers: as a whole where all of it is there at once, else in the order in which it comes. */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { type Gzip, gzip } from 'node:zlib'
import type { Clock, Log } from '../hypervisor/ports.js'
import { encodingFor, packedBytesMin, packing } from './encoding.js'
import { Fallbacks } from './fallbacks.js'
import { Fragments } from './fragments.js'
import { LearntViews } from './learnt-views.js'
import type { Links } from './links.js'
import type { ServerMetrics } from './metrics.js'
import { type OutputOptions, type Sink, streamDocument, wholeDocument } from './output.js'
import { openPage, type Page, type PagePorts } from './page.js'
import { Waiting } from './race.js'
import { pageRequest } from './request.js'
import type { Route } from './route.js'
import type { Sessions } from './sessions.js'
import { Shown } from './shown.js'
import { visitOf } from './visit.js'
import type { ServerState } from './wanted.js'

export interface PagesDeps {
  readonly links: Links
  readonly sessions: Sessions
  readonly metrics: ServerMetrics
  readonly clock: Clock
  readonly log: Log
}

/** What is ready so soon after the page's own component goes with it, in one piece. */
const gatherMs = 5
/** What may change the session is waited for so long: after the head has gone no cookie can be set. */
const sessionWaitMs = 200
/** Who takes nothing for so long is gone. */
const slowestReaderMs = 30_000

const packed = promisify(gzip)

export class Pages {
  readonly ports: PagePorts
  readonly #fallbacks: Fallbacks
  readonly #learnt = new LearntViews()
  #generation: number | undefined

  constructor(private readonly deps: PagesDeps) {
    const { links, clock, log, metrics } = deps
    const onFailed = (component: string, view: string, reason: string): void =>
      log.warn({ component, view, reason }, 'a component failed')
    const shown = new Shown()
    const fragments = new Fragments({ links, shown, clock, onFailed })
    this.#fallbacks = new Fallbacks(links, clock)
    this.ports = {
      fragments,
      fallbacks: this.#fallbacks,
      learnt: this.#learnt,
      shown,
      clock,
      onFragment: metrics.fragment,
    }
    metrics.watch(fragments)
  }

  /** After its links. A reset of the wiring flushes all that is remembered. */
  apply(state: ServerState): void {
    const { generation } = state.server
    const reset = this.#generation !== undefined && this.#generation !== generation
    this.#generation = generation
    const { fragments } = this.ports
    if (reset) {
      fragments.clear()
      this.#learnt.clear()
    }
    const copies = [...state.components.values()].flat().flatMap(each => each.copies)
    const known = new Set(copies.map(each => `${each.mothership}\0${each.instance}`))
    fragments.breakers.keep(key => known.has(key.slice(0, key.lastIndexOf('\0'))))
    this.#fallbacks.apply(state, reset)
  }

  /** What failed over the link before says nothing of this one. */
  linked(mothership: string): void {
    this.ports.fragments.linked(mothership)
  }

  stop(): void {
    this.#fallbacks.stop()
  }

  /** `onError` answers what cannot be shown to who takes no html. */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    state: ServerState,
    { component, view, exact }: Extract<Route, { kind: 'view' }>,
    onError: (status: number) => void,
  ): Promise<void> {
    const { clock, log } = this.deps
    const { cookies, held, session, locale, languages } = visitOf(request, state, this.deps.sessions)
    const visit = { session, locale, languages: [...languages], request: pageRequest(request) }
    const asked = { component, view, held, visit }
    const waiting = new Waiting()
    response.once('close', () => waiting.leave())
    const page = await openPage(state, asked, this.ports, waiting)
    if (waiting.left) return
    if (page.status !== 200) {
      log.warn({ url: request.url, status: page.status, reason: page.reason }, 'a page could not be shown')
      if (!(request.headers.accept ?? '').includes('text/html')) return onError(page.status)
    } else if (request.method === 'HEAD') await page.whole
    else await this.#gathered(page)
    const title = page.title ?? component.pageTitle
    // A browser that goes to a page says so (Fetch Metadata); it runs scripts.
    const scripts = request.headers['sec-fetch-dest'] === 'document'
    const options = { locale, title, clock, scripts }
    const set = cookies()
    if (set.length > 0) response.setHeader('set-cookie', set)
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.setHeader('x-content-type-options', 'nosniff')
    response.statusCode = page.status
    if (page.isWhole()) await this.#sendWhole(request, response, page, options, exact && set.length === 0)
    else await this.#stream(request, response, page, options)
  }

  async #gathered(page: Page): Promise<void> {
    if (page.isWhole()) return
    // What will be late in any case holds up nothing.
    if (page.dueMs() - this.deps.clock.nowMs() < 2 * gatherMs) await this.#within(page.whole, gatherMs)
    await this.#within(page.sessionSettled, sessionWaitMs)
  }

  #within(done: Promise<void>, ms: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.deps.clock.after(ms, resolve)
      void done.then(() => {
        cancel()
        resolve()
      })
    })
  }

  async #sendWhole(
    request: IncomingMessage,
    response: ServerResponse,
    page: Page,
    options: OutputOptions,
    exact: boolean,
  ): Promise<void> {
    let body: Buffer = Buffer.from(wholeDocument(page, options))
    const shelfMs = page.shelfMs()
    const shown = shelfMs > 0 && Number.isFinite(shelfMs) && !response.hasHeader('set-cookie')
    response.setHeader('cache-control', shown ? keepable(shelfMs, exact && page.isExact()) : 'no-store')
    if (shown) {
      const etag = `W/"${createHash('sha1').update(body).digest('base64url')}"`
      response.setHeader('etag', etag)
      response.setHeader('vary', 'accept-encoding, accept-language, cookie')
      if (isTold(request.headers['if-none-match'], etag)) {
        response.statusCode = 304
        response.removeHeader('content-type')
        response.end()
        return
      }
    }
    if (body.byteLength >= packedBytesMin && this.#encoding(request, response) === 'gzip') {
      body = (await packed(body, { level: 4 })) as Buffer
    }
    response.setHeader('content-length', body.byteLength)
    response.end(request.method === 'HEAD' ? undefined : body)
  }

  #encoding(request: IncomingMessage, response: ServerResponse): 'gzip' | 'identity' {
    const encoding = encodingFor(request.headers['accept-encoding'], ['gzip'])
    if (!response.hasHeader('vary')) response.setHeader('vary', 'accept-encoding')
    if (encoding !== 'gzip') return 'identity'
    response.setHeader('content-encoding', 'gzip')
    return 'gzip'
  }

  async #stream(request: IncomingMessage, response: ServerResponse, page: Page, options: OutputOptions): Promise<void> {
    response.setHeader('cache-control', 'no-store')
    const gzipped = this.#encoding(request, response) === 'gzip' ? packing() : undefined
    gzipped?.pipe(response)
    gzipped?.on('error', () => response.destroy())
    const sink = new ResponseSink(response, gzipped, this.deps.clock)
    await streamDocument(page, sink, options)
    await sink.sent
  }
}

/** A page that means the same for ever may be kept by whoever passes it on; any other one is asked for anew each time. */
const keepable = (shelfMs: number, exact: boolean): string =>
  exact && shelfMs >= 1_000
    ? `public, max-age=${Math.floor(shelfMs / 1000)}, stale-while-revalidate=${Math.floor(shelfMs / 1000)}`
    : 'no-cache'

export const isTold = (header: string | undefined, etag: string): boolean =>
  (header ?? '').split(',').some(each => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag.slice(2))

class ResponseSink implements Sink {
  readonly #to: ServerResponse | Gzip
  /** Resolves when all has gone, or nobody reads any more. */
  readonly sent: Promise<void>

  constructor(
    private readonly response: ServerResponse,
    gzipped: Gzip | undefined,
    private readonly clock: Clock,
  ) {
    this.#to = gzipped ?? response
    this.sent = new Promise(resolve => response.once('close', resolve).once('finish', resolve))
  }

  write(text: string): void {
    if (text !== '' && !this.response.destroyed) this.#to.write(text)
  }

  end(text: string): void {
    if (!this.response.destroyed) this.#to.end(text)
  }

  ready(): Promise<void> {
    if (!this.#to.writableNeedDrain || this.response.destroyed) return Promise.resolve()
    return new Promise(resolve => {
      const cancel = this.clock.after(slowestReaderMs, () => this.response.destroy())
      const done = (): void => {
        cancel()
        resolve()
      }
      this.#to.once('drain', done)
      this.response.once('close', done)
    })
  }
}
