/** A package's files for browsers: only below the places that are meant for them. */
import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'

export interface Resource {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

const places: Readonly<Record<string, string>> = {
  css: 'client/css',
  js: 'client/js',
  resources: 'resources',
  locale: 'locale',
}

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.html': 'text/html; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
}

/** What fits into one frame of the wire beside its envelope. */
const bytesMax = 1_000_000

const none = (status: number): Resource => ({ status, headers: {} })

/** Compared weakly, as conditional requests are: a proxy that compresses marks tags as weak. */
const isOneOf = (etag: string, header = ''): boolean =>
  header.split(',').some(each => ['*', etag].includes(each.trim().replace(/^W\//, '')))

/** `path` as in the url: `css/page.css`. */
export async function readResource(
  directory: string,
  path: string,
  ifNoneMatch: string | undefined,
): Promise<Resource> {
  const [place = '', ...rest] = path.split('/')
  const root = Object.hasOwn(places, place) ? places[place] : undefined
  if (root === undefined || rest.length === 0 || rest.some(part => part === '' || part.startsWith('.')))
    return none(404)
  const base = join(directory, root)
  try {
    const file = await realpath(join(base, ...rest))
    if (!file.startsWith((await realpath(base)) + sep)) return none(404)
    const { size, mtime } = await stat(file)
    if (size > bytesMax) return none(413)
    const body = await readFile(file)
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    const headers = {
      etag,
      'last-modified': mtime.toUTCString(),
      'content-type': types[extname(file).toLowerCase()] ?? 'application/octet-stream',
      'cache-control': 'public, max-age=60',
    }
    return isOneOf(etag, ifNoneMatch) ? { status: 304, headers } : { status: 200, headers, body }
  } catch {
    return none(404)
  }
}
