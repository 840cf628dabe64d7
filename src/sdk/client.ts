/** A typed client of the REST API: for the command line, for control centers, for tests. */
import { CloudError, type Code, codes, type Details } from '../cloud/errors.js'

export interface ClientOptions {
  /** `http://host:port` */
  readonly url: string
  readonly token: string
  readonly timeoutMs?: number
}

export interface Call {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Page<V> {
  readonly items: readonly V[]
  readonly total: number
  readonly revision: string
  readonly next?: string
}

const timeoutDefaultMs = 30_000

export class Client {
  constructor(private readonly options: ClientOptions) {}

  /** Throws a `CloudError` with the code and details of the problem document, `store-unavailable` when nobody answers. */
  async request<V>(method: string, path: string, { query, body, headers }: Call = {}): Promise<V> {
    const url = new URL(path, this.options.url)
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const bytes = body instanceof Uint8Array
    const { ok, status, text } = await this.#send(url, {
      method,
      headers: {
        user: this.options.token,
        ...(body === undefined ? {} : { 'content-type': bytes ? 'application/gzip' : 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: bytes ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(this.options.timeoutMs ?? timeoutDefaultMs),
    })
    if (!ok) throw problemOf(status, text)
    return (text === '' ? undefined : parsed(text)) as V
  }

  get<V>(path: string, query?: Call['query']): Promise<V> {
    return this.request<V>('GET', path, query === undefined ? {} : { query })
  }

  /** All items of a list, page by page. */
  async *all<V>(path: string, query: Call['query'] = {}): AsyncIterable<V> {
    let page = await this.get<Page<V>>(path, { range: 1000, ...query })
    for (;;) {
      yield* page.items
      if (page.next === undefined) return
      page = await this.get<Page<V>>(page.next)
    }
  }

  /** The package as bytes (.tgz). */
  deploy<V>(bytes: Uint8Array, activate = true): Promise<V> {
    return this.request<V>('POST', '/webcomponent/', { body: bytes, query: { activate } })
  }

  /** The whole answer: a connection may end, or the time be up, in the middle of it. */
  async #send(url: URL, init: RequestInit): Promise<{ ok: boolean; status: number; text: string }> {
    try {
      const response = await fetch(url, init)
      return { ok: response.ok, status: response.status, text: await response.text() }
    } catch (error) {
      const why =
        (error as Error).name === 'TimeoutError' ? 'does not answer' : 'cannot be reached: does the cloud run?'
      throw new CloudError('store-unavailable', `${url.origin} ${why}`, {}, { cause: error })
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // Not from a replica: somebody else answers at this url.
    throw new CloudError('store-unavailable', `answered what is not JSON: ${text.slice(0, 200)}`, {}, { cause: error })
  }
}

function problemOf(status: number, text: string): CloudError {
  try {
    const { code, detail, errors, reasons } = JSON.parse(text) as { code: string; detail: string } & Details
    if (Object.hasOwn(codes, code)) {
      return new CloudError(code as Code, detail, { ...(errors ? { errors } : {}), ...(reasons ? { reasons } : {}) })
    }
  } catch {
    // Not from a replica: a proxy answers in its own way.
  }
  return new CloudError(
    status >= 500 ? 'store-unavailable' : 'bad-request',
    `answered ${status}: ${text.slice(0, 200)}`,
  )
}
