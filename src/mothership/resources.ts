/** A package's files for browsers: only below the places that are meant for them. */
import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { viewsOf } from '../cloud/component/described.js'
import type { Descriptor } from '../cloud/component/descriptor.js'

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

/** The html that stands in for a view, as the package's descriptor names it; undefined when there is none. */
export async function readFallback(directory: string, view: string): Promise<string | undefined> {
  try {
    const descriptor = JSON.parse(await readFile(join(directory, 'meta.json'), 'utf8')) as Descriptor
    const fallback = viewsOf(descriptor).find(each => each.id === view)?.fallback
    if (fallback === undefined) return undefined
    const base = await realpath(join(directory, 'client/templates'))
    const file = await realpath(join(base, fallback))
    if (!file.startsWith(base + sep) || (await stat(file)).size > bytesMax) return undefined
    return await readFile(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Compared weakly, as conditional requests are: a proxy that compresses marks tags as weak. */
const isOneOf = (etag: string, header = ''): boolean =>
  header.split(',').some(each => ['*', etag].includes(each.trim().replace(/^W\//, '')))

/**
 * The part that is asked for: `bytes=0-99`, `bytes=100-` or `bytes=-100` (RFC 9110, section 14). Undefined: all of it,
 * also for several parts at once, which a server may answer so.
 */
function partOf(header: string | undefined, size: number): { from: number; to: number } | 'none' | undefined {
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (!found) return undefined
  const [, first = '', last = ''] = found
  if (first === '' && last === '') return undefined
  if (first === '')
    return Number(last) === 0 || size === 0 ? 'none' : { from: Math.max(0, size - Number(last)), to: size - 1 }
  if (last !== '' && Number(last) < Number(first)) return undefined
  if (Number(first) >= size) return 'none'
  return { from: Number(first), to: Math.min(size - 1, last === '' ? size - 1 : Number(last)) }
}

async function inLanguage(file: string, languages: readonly string[]): Promise<string> {
  const ending = extname(file)
  for (const language of languages.filter(each => /^\w+$/.test(each))) {
    const own = `${file.slice(0, file.length - ending.length)}_${language}${ending}`
    if (
      await stat(own).then(
        found => found.isFile(),
        () => false,
      )
    )
      return own
  }
  return file
}

/**
 * `path` as in the url: `css/page.css`; of `asked`, names in lower case, `if-none-match`, `range` and `if-range` (with a
 * tag: when a file was unpacked is another moment on each mothership) matter. Of `languages`, as RAIN writes them, the
 * first for which there is a file of its own is taken: `flag_de_DE.png` for `flag.png`.
 */
export async function readResource(
  directory: string,
  path: string,
  asked: Readonly<Record<string, string>> = {},
  languages: readonly string[] = [],
): Promise<Resource> {
  const [place = '', ...rest] = path.split('/')
  const root = Object.hasOwn(places, place) ? places[place] : undefined
  if (root === undefined || rest.length === 0 || rest.some(part => part === '' || part.startsWith('.')))
    return none(404)
  const base = join(directory, root)
  try {
    const file = await realpath(await inLanguage(join(base, ...rest), languages))
    if (!file.startsWith((await realpath(base)) + sep)) return none(404)
    const { size, mtime } = await stat(file)
    if (size > bytesMax) return none(413)
    const body = await readFile(file)
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    const headers = {
      etag,
      'last-modified': mtime.toUTCString(),
      'content-type': types[extname(file).toLowerCase()] ?? 'application/octet-stream',
      'cache-control': languages.length === 0 ? 'public, max-age=60' : 'private, max-age=60',
      'accept-ranges': 'bytes',
    }
    if (isOneOf(etag, asked['if-none-match'])) return { status: 304, headers }
    const same = asked['if-range'] === undefined || asked['if-range'] === etag
    const part = same ? partOf(asked['range'], size) : undefined
    if (part === undefined) return { status: 200, headers, body }
    if (part === 'none') return { status: 416, headers: { 'content-range': `bytes */${size}` } }
    const { from, to } = part
    return {
      status: 206,
      headers: { ...headers, 'content-range': `bytes ${from}-${to}/${size}` },
      body: body.subarray(from, to + 1),
    }
  } catch {
    return none(404)
  }
}
