/**
 * Files of packages for browsers: from whatever mothership answers, for they are the same everywhere. A whole file is
 * kept, packed as browsers like it, since a version never changes; parts of files and those of one language are passed on.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { MessageOf } from '../protocol/messages.js'
import { order } from './choose.js'
import { type Encoding, encodingFor, packedBytesMin, packs } from './encoding.js'
import type { Links } from './links.js'
import { pageRequest } from './request.js'
import type { Route } from './route.js'
import type { Visit } from './visit.js'
import type { ServerState } from './wanted.js'

interface File {
  readonly headers: Readonly<Record<string, string>>
  readonly plain: Uint8Array
  br?: Uint8Array
  gzip?: Uint8Array
}

type Resource = Extract<Route, { kind: 'resource' }>
type Answer = MessageOf<'answer'>

const bytesMax = 32 * 1024 * 1024
const passed = ['if-none-match', 'range', 'if-range']
const packers = {
  br: (bytes: Uint8Array) =>
    promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 7 } }) as Promise<Uint8Array>,
  gzip: (bytes: Uint8Array) => promisify(gzip)(bytes, { level: 7 }) as Promise<Uint8Array>,
}

export class Files {
  readonly #kept = new Map<string, File>()
  #bytes = 0

  constructor(private readonly links: Links) {}

  clear(): void {
    this.#kept.clear()
    this.#bytes = 0
  }

  /** Answers, or returns the status of what cannot be had. */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    state: ServerState,
    route: Resource,
    visit: Pick<Visit, 'locale' | 'languages'>,
  ): Promise<number | undefined> {
    const own = /[?&]loc(=|&|$)/.test(request.url ?? '')
    const developing = state.server.developing === true
    if (own || developing || request.headers.range !== undefined) {
      const answer = await this.#fetch(request, state, route, visit, passed)
      if (typeof answer === 'number') return answer
      this.#pass(request, response, answer, developing)
      return undefined
    }
    const { component, path, exact } = route
    const key = `${component.id}/${component.version}/${path}`
    const file = this.#kept.get(key) ?? (await this.#keep(key, await this.#fetch(request, state, route, visit, [])))
    if (typeof file === 'number') return file
    await this.#send(request, response, file, exact)
    return undefined
  }

  async #fetch(
    request: IncomingMessage,
    state: ServerState,
    { component, path }: Resource,
    { locale, languages }: Pick<Visit, 'locale' | 'languages'>,
    headers: readonly string[],
  ): Promise<Answer | number> {
    for (const copy of order(component, '', this.links.reachable)) {
      const answer = await this.links.get(copy.mothership)?.call({
        kind: 'resource',
        component: component.id,
        version: component.version,
        path,
        verb: 'GET',
        request: pageRequest(request, headers),
        locale,
        languages: [...languages],
        deadlineMs: state.server.fragmentDeadlineMs,
      })
      if (answer?.kind !== 'answer') continue
      const { status } = answer.answer
      // A range that is not there is told with how large the file is.
      return status >= 400 && status !== 416 ? status : answer.answer
    }
    return 503
  }

  #pass(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Answer, fresh: boolean): void {
    const bytes = bytesOf(body)
    const said = fresh ? { ...headers, 'cache-control': 'no-cache' } : headers
    response.writeHead(status, status === 304 ? said : { ...said, 'content-length': bytes.byteLength })
    response.end(request.method === 'HEAD' || status === 304 ? undefined : bytes)
  }

  #keep(key: string, answer: Answer | number): File | number {
    if (typeof answer === 'number') return answer
    const file: File = { headers: answer.headers, plain: bytesOf(answer.body) }
    this.#bytes += file.plain.byteLength
    this.#kept.set(key, file)
    for (const [oldest, { plain, br, gzip: gz }] of this.#kept) {
      if (this.#bytes <= bytesMax || oldest === key) break
      this.#kept.delete(oldest)
      this.#bytes -= plain.byteLength + (br?.byteLength ?? 0) + (gz?.byteLength ?? 0)
    }
    return file
  }

  async #send(request: IncomingMessage, response: ServerResponse, file: File, exact: boolean): Promise<void> {
    const { etag } = file.headers
    const packable = file.plain.byteLength >= packedBytesMin && packs(file.headers['content-type'])
    const encoding = packable ? encodingFor(request.headers['accept-encoding'], ['br', 'gzip']) : 'identity'
    const headers = {
      ...file.headers,
      ...(exact ? { 'cache-control': 'public, max-age=31536000, immutable' } : {}),
      ...(packable ? { vary: 'accept-encoding' } : {}),
    }
    const plainTag = etag?.replace(/^W\//, '')
    const told = (request.headers['if-none-match'] ?? '').split(',').map(each => each.trim().replace(/^W\//, ''))
    if (plainTag !== undefined && (told.includes(plainTag) || told.includes('*'))) {
      response.writeHead(304, headers)
      response.end()
      return
    }
    const bytes = await this.#packed(file, encoding)
    response.writeHead(200, {
      ...headers,
      ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
      // What is packed is another representation.
      ...(encoding === 'identity' || plainTag === undefined ? {} : { etag: `W/${plainTag}` }),
      'content-length': bytes.byteLength,
    })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }

  async #packed(file: File, encoding: Encoding): Promise<Uint8Array> {
    if (encoding === 'identity') return file.plain
    const known = file[encoding]
    if (known) return known
    const bytes = await packers[encoding](file.plain)
    if (!file[encoding]) this.#bytes += bytes.byteLength
    file[encoding] = bytes
    return bytes
  }
}

const bytesOf = (body: unknown): Uint8Array =>
  body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : '')
