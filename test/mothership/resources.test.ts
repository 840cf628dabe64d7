import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Resource, readFallback, readResource } from '../../src/mothership/resources.js'

const root = mkdtempSync(join(tmpdir(), 'rain-resources-'))
const directory = join(root, 'package')
const files = {
  'meta.json': JSON.stringify({
    views: {
      index: { fallback: 'away.html' },
      out: { fallback: '../../meta.json' },
      none: {},
      gone: { fallback: 'x.html' },
    },
  }),
  'client/templates/away.html': 'away',
  'server/data.js': 'secret',
  'client/templates/index.html': 'secret',
  'client/css/page.css': 'body {}',
  'client/css/themes/dark.css': 'body { color: white }',
  'client/js/index.js': 'run()',
  'resources/logo.SVG': '<svg/>',
  'resources/.hidden': 'secret',
  'resources/flag.png': 'any',
  'resources/flag_de_DE.png': 'German',
  'resources/data.bin': '\u0000',
  'resources/big.bin': 'x'.repeat(1_000_001),
  'locale/de/messages.po': 'msgid ""',
  '../outside.css': 'secret',
}

beforeAll(() => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  symlinkSync(join(root, 'outside.css'), join(directory, 'client/css/link.css'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const read = (path: string, ifNoneMatch?: string): Promise<Resource> =>
  readResource(directory, path, ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch })

describe('what stands in for a view', () => {
  it('is the file that its descriptor names, below the templates only', async () => {
    const found = await Promise.all(
      ['index', 'out', 'none', 'gone', 'ghost', '__proto__'].map(each => readFallback(directory, each)),
    )
    expect(found).toEqual(['away', undefined, undefined, undefined, undefined, undefined])
  })
})

describe('a file in the language of who looks', () => {
  it('is taken when there is one, by the first language that has it', async () => {
    const read = async (path: string, languages: string[]): Promise<unknown> => {
      const { status, body, headers } = await readResource(directory, path, {}, languages)
      return [status, Buffer.from(body ?? []).toString(), headers['cache-control']?.split(',')[0]]
    }
    expect(await read('resources/flag.png', ['fr_FR', 'de_DE'])).toEqual([200, 'German', 'private'])
    expect(await read('resources/flag.png', ['fr_FR'])).toEqual([200, 'any', 'private'])
    expect(await read('resources/flag.png', ['../flag'])).toEqual([200, 'any', 'private'])
    expect(await read('resources/flag.png', [])).toEqual([200, 'any', 'public'])
  })
})

describe('a part of a file', () => {
  // `body { color: white }`: 21 bytes.
  const part = (range: string, more: object = {}): Promise<Resource> =>
    readResource(directory, 'css/themes/dark.css', { range, ...more })

  it.each([
    ['bytes=0-3', 'body', 'bytes 0-3/21'],
    ['bytes=14-', 'white }', 'bytes 14-20/21'],
    ['bytes=-7', 'white }', 'bytes 14-20/21'],
    ['bytes=-100', 'body { color: white }', 'bytes 0-20/21'],
    ['bytes=20-100', '}', 'bytes 20-20/21'],
  ])('%s is %s', async (range, text, told) => {
    const { status, headers, body } = await part(range)
    expect([status, Buffer.from(body!).toString(), headers['content-range']]).toEqual([206, text, told])
  })

  it.each(['bytes=21-', 'bytes=-0', 'bytes=100-200'])('%s is not there', async range => {
    expect(await part(range)).toEqual({ status: 416, headers: { 'content-range': 'bytes */21' } })
  })

  it.each(['bytes=3-1', 'bytes=-', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', ''])('%s is all of it', async range => {
    const { status, headers } = await part(range)
    expect([status, headers['accept-ranges'], headers['content-range']]).toEqual([200, 'bytes', undefined])
  })

  it('is given only of the file that was meant', async () => {
    const { etag = '' } = (await part('')).headers

    expect((await part('bytes=0-3', { 'if-range': etag })).status).toBe(206)
    expect((await part('bytes=0-3', { 'if-range': '"other"' })).status).toBe(200)
    expect((await part('bytes=0-3', { 'if-range': 'Thu, 01 Jan 2026 00:00:00 GMT' })).status).toBe(200)
    expect((await part('bytes=0-3', { 'if-none-match': etag })).status).toBe(304)
  })
})

describe('a file of a package', () => {
  it.each([
    ['css/page.css', 'body {}', 'text/css; charset=utf-8'],
    ['css/themes/dark.css', 'body { color: white }', 'text/css; charset=utf-8'],
    ['js/index.js', 'run()', 'text/javascript; charset=utf-8'],
    ['resources/logo.SVG', '<svg/>', 'image/svg+xml'],
    ['resources/data.bin', '\u0000', 'application/octet-stream'],
    ['locale/de/messages.po', 'msgid ""', 'application/octet-stream'],
  ])('is served as %s', async (path, content, type) => {
    const { status, headers, body } = await read(path)

    expect([status, Buffer.from(body!).toString(), headers['content-type']]).toEqual([200, content, type])
    expect(headers['etag']).toMatch(/^"[\w-]{22}"$/)
    expect(new Date(headers['last-modified']!).getTime()).toBeGreaterThan(0)
  })

  it.each([
    'css/../../server/data.js',
    'css/../../../outside.css',
    'css/../page.css',
    '../outside.css',
    'css/link.css',
    'server/data.js',
    'templates/index.html',
    'client/css/page.css',
    'meta.json',
    'resources/.hidden',
    'css//page.css',
    'css/',
    'css',
    '',
    'css/themes',
    'css/none.css',
    'css/page.css\u0000.js',
    'constructor/page.css',
    '__proto__/page.css',
  ])('is not found at %j', async path => {
    expect(await read(path)).toEqual({ status: 404, headers: {} })
  })

  it('larger than a frame is refused', async () => {
    expect(await read('resources/big.bin')).toEqual({ status: 413, headers: {} })
  })

  it('that the browser has already is not sent again', async () => {
    const { headers } = await read('css/page.css')
    const etag = headers['etag']!

    expect(await read('css/page.css', etag)).toEqual({ status: 304, headers })
    expect(await read('css/page.css', '"another"')).toMatchObject({ status: 200 })
    expect(await read('css/themes/dark.css', etag)).toMatchObject({ status: 200 })
  })

  it.each([
    ['weakened on its way', (etag: string) => `W/${etag}`],
    ['one of several', (etag: string) => `"a", ${etag},"b"`],
    ['whatever it is', () => '*'],
  ])('is not sent again either when its tag is %s', async (_name, header) => {
    const { headers } = await read('css/page.css')

    expect(await read('css/page.css', header(headers['etag']!))).toEqual({ status: 304, headers })
  })
})
