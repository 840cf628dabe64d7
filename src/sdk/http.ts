/** One HTTP request with a whole answer: bounded in time and size, through a proxy where there is one. */
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** Absent: a connection for this request alone. */
  readonly agent?: Agent
  readonly withinMs: number
  readonly bytesMax: number
  /** Bytes of the answer have come. */
  readonly onProgress?: () => void
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface HttpCall {
  readonly answer: Promise<HttpAnswer>
  abort(reason: string): void
  /** Whether there was a connection. */
  readonly connected: () => boolean
}

export function call({ method, url, headers, body, agent, withinMs, bytesMax, onProgress }: HttpRequest): HttpCall {
  const start = url.startsWith('https:') ? httpsRequest : httpRequest
  const length = body === undefined ? {} : { 'content-length': String(body.byteLength) }
  const request = start(url, { method, headers: { ...headers, ...length }, agent: agent ?? false })
  let connected = false
  request.on('socket', socket => {
    if (socket.connecting) socket.once('connect', () => (connected = true))
    else connected = true
  })
  const abort = (reason: string): void => void request.destroy(new Error(reason))
  const timer = setTimeout(() => abort(`no answer in ${withinMs} ms`), withinMs)
  const answer = new Promise<HttpAnswer>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', response => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        parts.push(part)
        bytes += part.byteLength
        onProgress?.()
        if (bytes > bytesMax) abort(`an answer of more than ${bytesMax} bytes`)
      })
      response.on('error', reject)
      response.on('aborted', () => reject(new Error('the answer was cut')))
      response.on('end', () => {
        // An answer may end early without being told to be cut.
        if (!response.complete) return reject(new Error('the answer was cut'))
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) })
      })
    })
  }).finally(() => clearTimeout(timer))
  request.end(body)
  return { answer, abort, connected: () => connected }
}
