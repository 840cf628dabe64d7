/** What a browser's request tells a component, and which session it belongs to. */
import type { IncomingMessage } from 'node:http'
import type { PageRequest } from '../protocol/messages.js'

/** Headers of the browser that a component may see. */
export const passedHeaders: readonly string[] = ['accept-language', 'user-agent', 'referer', 'x-requested-with']

export function pageRequest(request: IncomingMessage, names: readonly string[] = passedHeaders): PageRequest {
  const url = new URL(request.url ?? '/', 'http://rain')
  const headers: Record<string, string> = {}
  for (const name of names) {
    const value = request.headers[name]
    if (typeof value === 'string') headers[name] = value.slice(0, 2048)
  }
  return { url: url.pathname + url.search, query: Object.fromEntries(url.searchParams), headers }
}

export const wantsHtml = (request: IncomingMessage): boolean => (request.headers.accept ?? '').includes('text/html')

export const knownSession = (request: IncomingMessage): string | undefined =>
  /(?:^|;\s*)rain-sid=([0-9a-f]{32})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1]

export const sessionCookie = (session: string): string => `rain-sid=${session}; Path=/; HttpOnly; SameSite=Lax`

export type Body =
  | { readonly kind: 'body'; readonly bytes: Buffer }
  | { readonly kind: 'too large' }
  | { readonly kind: 'cut off' }

/** Reads no more than so many bytes of the body. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return { kind: 'too large' }
  const parts: Buffer[] = []
  let bytes = 0
  try {
    for await (const part of request) {
      bytes += (part as Buffer).byteLength
      if (bytes > bytesMax) return { kind: 'too large' }
      parts.push(part as Buffer)
    }
  } catch {
    return { kind: 'cut off' }
  }
  return { kind: 'body', bytes: Buffer.concat(parts) }
}
