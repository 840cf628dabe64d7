/**
 * The listener of `/metrics` of a node, apart from its pages and links, so that a scrape neither waits behind them nor
 * shares their address. Answers `/metrics` and `/healthz` and nothing else.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CloudError } from '../cloud/errors.js'

/** What a registry of prom-client offers. */
export interface MetricsSource {
  readonly contentType: string
  metrics(): Promise<string>
}

export interface MetricsOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly registry: MetricsSource
  /** Undefined (or no function at all) when healthy, else what is wrong. */
  readonly health?: () => string | undefined
}

export interface MetricsListener {
  readonly port: number
  /** Where Prometheus finds it. */
  readonly url: string
  close(): Promise<void>
}

const connectionsMax = 64
const requestMs = 5_000

/** Resolves when it listens; throws `misconfigured` when the address cannot be taken. */
export async function serveMetrics(options: MetricsOptions): Promise<MetricsListener> {
  const server = createServer({ requestTimeout: requestMs, headersTimeout: requestMs }, (request, response) => {
    void answer(options, request, response)
  })
  server.maxConnections = connectionsMax
  await listen(server, options.host, options.port)
  const { port } = server.address() as AddressInfo
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  return { port, url: `http://${host}:${port}/metrics`, close: () => close(server) }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = `metrics cannot listen on ${host}:${port} (${error.code ?? error.message})`
      reject(new CloudError('misconfigured', why, {}, { cause: error }))
    })
    server.listen(port, host, resolve)
  })
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function answer(options: MetricsOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '/').split('?')[0]
  if (path !== '/metrics' && path !== '/healthz') return say(response, 404, 'not found\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return say(response, 405, 'method not allowed\n')
  }
  try {
    if (path === '/healthz') {
      const wrong = options.health?.()
      return say(response, wrong === undefined ? 200 : 503, `${wrong ?? 'ok'}\n`)
    }
    const text = await options.registry.metrics()
    response.setHeader('content-type', options.registry.contentType)
    say(response, 200, text)
  } catch (error) {
    say(response, 500, `${error instanceof Error ? error.message : 'failed'}\n`)
  }
}

function say(response: ServerResponse, status: number, text: string): void {
  if (!response.hasHeader('content-type')) response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.statusCode = status
  response.end(text)
}
