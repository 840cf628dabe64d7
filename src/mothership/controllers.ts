/**
 * RAIN's controllers: `server/controller/<file>` with a function for each verb, which gets a request and a response as
 * node's http has them. The request's body is there as a stream and, where it is JSON or a form, read; the answer is
 * gathered and goes as a whole.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { DescribedView } from '../cloud/component/described.js'
import { asPerson } from './authorization.js'
import type { CallSession } from './component-session.js'
import type { ControlCall, Controlled } from './ipc.js'
import { functionOf, type Loaded, loadModule } from './modules.js'
import { languageOf } from './speech.js'

type Handler = (request: object, response: ControllerResponse) => unknown

export type Handling =
  | { readonly kind: 'handler'; readonly handler: Handler }
  | { readonly kind: 'none' }
  | { readonly kind: 'other-verbs'; readonly allow: readonly string[] }

/** What fits into one frame of the wire beside its envelope. */
const bytesMax = 1_000_000
const verbs = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

export class Controllers {
  private constructor(private readonly modules: ReadonlyMap<string, Loaded>) {}

  /** All of them, so that what cannot be loaded is found before anybody calls. */
  static async load(directory: string): Promise<Controllers> {
    const root = join(directory, 'server/controller')
    const names = existsSync(root) ? readdirSync(root, { recursive: true, encoding: 'utf8' }).sort() : []
    const modules = new Map<string, Loaded>()
    for (const name of names) {
      if (name.endsWith('.js')) modules.set(name.replaceAll('\\', '/'), await loadModule(join(root, name)))
    }
    return new Controllers(modules)
  }

  /** Of that file below `server/controller/`. */
  functionOf(file: string, name: string): ((...args: never[]) => unknown) | undefined {
    const module = this.modules.get(file)
    return module && functionOf(module, name)
  }

  /** By the view's id, or by the name of the file. Only what was loaded: a path leads nowhere else. */
  find(name: string, view: DescribedView | undefined, verb: string): Handling {
    const module = this.modules.get(view?.server ?? `${name}.js`)
    if (!module) return { kind: 'none' }
    const own = functionOf(module, verb.toLowerCase())
    // Who answers to GET answers to HEAD, and the body stays here.
    const handler = (own ?? (verb === 'HEAD' ? functionOf(module, 'get') : undefined)) as Handler | undefined
    if (handler) return { kind: 'handler', handler }
    return { kind: 'other-verbs', allow: verbs.filter(each => functionOf(module, each.toLowerCase())) }
  }
}

/** Resolves when the controller has ended its answer; one that never does is left to the deadline of the call. */
export function handled(
  handler: Handler,
  call: ControlCall,
  component: object,
  environment: object,
  sessions: CallSession,
): Promise<Controlled> {
  return new Promise((resolve, reject) => {
    const response = new ControllerResponse()
    response.once('finish', () => {
      try {
        resolve(response.gathered())
      } catch (error) {
        reject(error)
      }
    })
    response.on('error', reject)
    const returned = handler(requestOf(call, component, environment, sessions), response)
    if (returned instanceof Promise) returned.catch(reject)
  })
}

/** As node's http has it, and as RAIN extends it. */
export function requestOf(call: ControlCall, component: object, environment: object, sessions: CallSession): object {
  const { verb, name, request, body, user, locale, languages } = call
  const bytes = Buffer.from(body ?? [])
  const { url = '', query = {}, headers = {} } = request ?? {}
  return Object.assign(Readable.from(bytes.length > 0 ? [bytes] : [], { objectMode: false }), {
    method: verb,
    httpVersion: '1.1',
    url,
    query,
    headers,
    body: readBody(bytes, headers['content-type'] ?? ''),
    path: name,
    component,
    environment,
    session: sessions.own,
    globalSession: sessions.all,
    user: user && asPerson(user),
    language: languageOf({ locale, languages }),
    type: 'http',
  })
}

/** JSON and forms as what they say, all else as bytes. Throws what is not what it says. */
function readBody(bytes: Buffer, contentType: string): unknown {
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase()
  if (bytes.length === 0) return {}
  if (type === 'application/json' || type.endsWith('+json')) return parsed(bytes.toString())
  if (type === 'application/x-www-form-urlencoded') return Object.fromEntries(new URLSearchParams(bytes.toString()))
  return bytes
}

export class UnreadableBody extends Error {}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
  } catch (error) {
    throw new UnreadableBody(`the body is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
}

/** As much of node's `ServerResponse` as makes sense when the answer goes as a whole. */
export class ControllerResponse extends Writable {
  statusCode = 200
  statusMessage = ''
  headersSent = false
  finished = false
  readonly #headers = new Map<string, string | readonly string[]>()
  readonly #parts: Buffer[] = []
  #bytes = 0

  setHeader(name: string, value: string | number | readonly string[]): this {
    if (this.headersSent) throw new Error('the headers are sent already')
    const values = Array.isArray(value) ? value.map(String) : String(value)
    mustBeHeader(name, values)
    this.#headers.set(name.toLowerCase(), values)
    return this
  }

  getHeader(name: string): string | readonly string[] | undefined {
    return this.#headers.get(name.toLowerCase())
  }

  getHeaders(): Record<string, string | readonly string[]> {
    return Object.fromEntries(this.#headers)
  }

  hasHeader(name: string): boolean {
    return this.#headers.has(name.toLowerCase())
  }

  removeHeader(name: string): void {
    this.#headers.delete(name.toLowerCase())
  }

  writeHead(status: number, reason?: string | object, headers?: object): this {
    this.statusCode = status
    const given = typeof reason === 'object' ? reason : headers
    for (const [name, value] of Object.entries(given ?? {})) if (value !== undefined) this.setHeader(name, value)
    this.headersSent = true
    return this
  }

  flushHeaders(): void {
    this.headersSent = true
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.headersSent = true
    this.#bytes += chunk.byteLength
    if (this.#bytes > bytesMax) return done(new Error(`an answer of more than ${bytesMax} bytes`))
    this.#parts.push(chunk)
    done()
  }

  override _final(done: () => void): void {
    this.headersSent = true
    this.finished = true
    done()
  }

  /** Throws when the status is none. */
  gathered(): Controlled {
    const status = Number(this.statusCode)
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new Error(`${this.statusCode} is no status`)
    const headers: Record<string, string> = {}
    for (const [name, value] of this.#headers) {
      if (name !== 'set-cookie') headers[name] = Array.isArray(value) ? value.join(', ') : String(value)
    }
    const cookies = [this.#headers.get('set-cookie') ?? []].flat()
    return { status, headers, cookies, body: new Uint8Array(Buffer.concat(this.#parts)) }
  }
}

/** As node judges them; its http is a third of what a process of a component would load otherwise. */
function mustBeHeader(name: string, values: string | readonly string[]): void {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new TypeError(`Invalid character in the name of header ${name}`)
  if ([values].flat().some(each => /[^\t\x20-\x7e\x80-\xff]/.test(each))) {
    throw new TypeError(`Invalid character in the content of header ${name}`)
  }
}
