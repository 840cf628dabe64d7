import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { describe, expect, it } from 'vitest'
import { componentOf, readPackage } from '../../../src/cloud/component/package.js'
import { sentenceOf } from '../../../src/cloud/errors.js'
import { aPackage } from '../../support/packages.js'

interface Headers {
  name: string
  type?: 'file' | 'symlink' | 'link' | 'character-device'
  linkname?: string
}

const meta = (more: object = {}): string =>
  JSON.stringify({ id: 'news', version: '1.0', views: { index: {} }, ...more })

const archive = async (entries: readonly Headers[]): Promise<Buffer> => {
  const tar = pack()
  for (const header of entries) {
    if (header.type === undefined) tar.entry(header, 'x')
    else tar.entry(header)
  }
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  return gzipSync(Buffer.concat(parts))
}

/** So many MiB that do not get smaller by much when they are packed. */
const noise = (mebibytes: number): string => randomBytes((mebibytes * 1024 * 1024) / 2).toString('hex')

/** As a terminal shows them. */
const faults = async (bytes: Uint8Array): Promise<string[]> => {
  const reading = await readPackage(bytes)
  return reading.kind === 'bad' ? reading.errors.map(sentenceOf) : []
}
const problems = async (bytes: Uint8Array): Promise<string> => (await faults(bytes)).join('\n') || 'good'

describe('a package', () => {
  it('is read with its views, the children that they name, and its digest', async () => {
    const bytes = await aPackage({
      './meta.json': meta(),
      './client/templates/index.html':
        '{{component name="list" version="1.2" view="small"}}{{component view="other"}}{{component name=which}}',
    })
    const reading = await readPackage(bytes)
    if (reading.kind === 'bad') throw new Error(JSON.stringify(reading.errors))

    expect(componentOf(reading.package, 1)).toMatchObject({
      id: 'news',
      version: '1.0',
      digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      size: bytes.byteLength,
      views: [
        {
          id: 'index',
          uses: [
            { component: 'list', version: '1.2', view: 'small' },
            { component: 'news', version: '1.0', view: 'other' },
            { any: true },
          ],
        },
      ],
    })
  })

  it('may hold in a view what any of its partials names, each once', async () => {
    const bytes = await aPackage({
      'meta.json': meta(),
      'client/templates/index.html': '{{component name="list"}}{{> (which)}}',
      'client/partials/a.html': '{{component name="list"}}{{component name="cart"}}',
    })
    const reading = await readPackage(bytes)
    if (reading.kind === 'bad') throw new Error(JSON.stringify(reading.errors))
    expect(componentOf(reading.package, 1).views).toMatchObject([
      { uses: [{ component: 'list' }, { component: 'cart' }] },
    ])
  })

  it.each([
    ['no meta.json', { 'a.txt': 'x' }, 'meta.json'],
    ['a template that is missing', { 'meta.json': meta() }, 'client/templates/index.html is missing'],
    [
      'a template that cannot be parsed',
      { 'meta.json': meta(), 'client/templates/index.html': '{{#if}}' },
      'index.html',
    ],
    [
      'a version without a name',
      { 'meta.json': meta(), 'client/templates/index.html': '\n{{component version="1.0"}}' },
      'client/templates/index.html:2:1: a version without a name',
    ],
    [
      'a helper that there is none of',
      { 'meta.json': meta(), 'client/templates/index.html': '<p>{{t "x"}}\n{{#if (eq a 1)}}{{eq}}{{/if}}' },
      'client/templates/index.html:2:7: there is no helper eq',
    ],
    [
      'code that cannot be parsed',
      { 'meta.json': meta({ views: {} }), 'server/data.js': 'let a\nlet a' },
      'server/data.js:2:5: Identifier',
    ],
    [
      'a partial that is missing',
      { 'meta.json': meta(), 'client/templates/index.html': '{{> there}}', 'client/partials/there.html': '{{> gone}}' },
      '{{> gone}}: client/partials/gone.html is missing',
    ],
    ['a package.json that is none', { 'meta.json': meta({ views: {} }), 'package.json': '{bad' }, 'package.json'],
    [
      'a controller that is missing',
      { 'meta.json': meta({ views: { i: { controller: { client: 'x.js' } } } }), 'client/templates/i.html': '' },
      'client/js/x.js is missing',
    ],
  ])('with %s is refused', async (_what, files, named) => {
    expect(await problems(await aPackage(files as Record<string, string>))).toContain(named)
  })

  it('is told all that is wrong with it at once, each fault with its place', async () => {
    const tar = await archive([
      { name: 'meta.json' },
      { name: 'link', type: 'symlink', linkname: 'meta.json' },
      { name: '../up' },
    ])
    expect(await faults(tar)).toEqual([
      'link: a symlink: only files and directories are accepted',
      '../up: a path that leaves the package',
      'meta.json:1:1: not JSON at line 1, column 1: a value is expected here, not "x"',
    ])

    const meta = `{
  "id": "news", "version": 1,
  "runtime": "cobol",
  "need": {"cpu": -1},
  "views": {
    "index": {"fallback": "away.html", "controller": {"client": "gone.js"}},
    "list": {"view": "none.html"}
  }
}`
    const files = {
      'meta.json': meta,
      'client/templates/index.html': '<p>\n{{#if a}}{{/each}}',
      'client/partials/p.html': '{{> q}}',
      'server/data.js': 'exports.index = () => {\n  return )\n}',
      'server/controller/c.mjs': 'export const a = 1\nexport const a = 2',
      'package.json': '{"type": }',
    }
    expect(await faults(await aPackage(files))).toEqual([
      'meta.json:2:17: /version: a version like "1.0" or "1.0.2" is needed (a string: "1")',
      'meta.json:3:3: /runtime: must be node',
      'meta.json:4:12: /need/cpu: must be >= 0',
      'meta.json:6:15: /views/index/fallback: its fallback client/templates/away.html is missing',
      'meta.json:6:55: /views/index/controller/client: client/js/gone.js is missing',
      'meta.json:7:14: /views/list/view: its template client/templates/none.html is missing',
      "client/templates/index.html:2:4: if doesn't match each",
      'client/partials/p.html:1:1: {{> q}}: client/partials/q.html is missing',
      'package.json:1:10: not JSON: a value is expected here, not "}"',
      "server/data.js:2:10: Unexpected token ')'",
      "server/controller/c.mjs:2:14: Identifier 'a' has already been declared",
    ])
  })

  it('may say of a view how it is cached, what stands in for it, and whether the page needs it', async () => {
    const cache = { maxAge: '10s', stale: '1m', query: ['page'] }
    const views = { index: { cache, deadline: '500ms', fallback: 'away.html', required: true } }
    const files = { 'meta.json': meta({ views, runtime: 'node' }), 'client/templates/index.html': 'x' }
    const bytes = await aPackage({ ...files, 'client/templates/away.html': 'x' })
    expect(await problems(bytes)).toBe('good')
    const reading = await readPackage(bytes)
    expect(reading.kind === 'good' && reading.package.views[0]?.terms).toEqual({
      maxAgeMs: 10_000,
      staleMs: 60_000,
      query: ['page'],
      deadlineMs: 500,
      fallback: true,
      required: true,
    })
    const wrong = { index: { cache: { maxAge: 10, forever: true }, required: 'yes' } }
    expect(await problems(await aPackage({ ...files, 'meta.json': meta({ views: wrong }) }))).toMatch(
      /^.*maxAge: must be string\n.*cache\/forever: there is no such field\n.*required: must be boolean$/,
    )
  })

  it.each([
    ['ES modules, by their statements', { 'server/data.js': 'export const index = async () => await 1' }],
    ['ES modules by name beside CommonJS', { 'server/a.mjs': 'export {}', 'server/data.js': 'return' }],
    ['ES modules by package.json', { 'server/data.js': 'await 1', 'package.json': '{"type": "module"}' }],
    ['CommonJS below ES modules', { 'server/a.js': 'export {}', 'server/b.cjs': 'exports.a = 1' }],
  ])('may be written as %s', async (_what, files) => {
    expect(await problems(await aPackage({ 'meta.json': meta({ views: {} }), ...files }))).toBe('good')
  })

  it.each([
    [{ 'server/a.js': 'export {}', 'server/b.js': '\n exports.a = 1' }, 'server/b.js:2:2: is CommonJS'],
    [{ 'server/a.js': 'export {}', 'package.json': '{"type": "commonjs"}' }, 'server/a.js:1:1: Unexpected token'],
    [{ 'server/a.cjs': 'await 1' }, 'server/a.cjs:1'],
    [{ 'server/a.js': '(('.repeat(100_000) }, 'server/a.js'],
    [{ 'server/a.js': `/*${noise(5)}*/` }, 'of one script'],
    [{ 'client/templates/index.html': noise(2) }, 'of one template'],
  ])('is refused where its code cannot be what it should be (%#)', async (files, named) => {
    const views = 'client/templates/index.html' in files ? { index: {} } : {}
    expect(await problems(await aPackage({ 'meta.json': meta({ views }), ...files }))).toContain(named)
  })

  it('may bring partials inline, for whatever it includes', async () => {
    const template = '{{#*inline "own"}}x{{/inline}}{{#> frame}}{{> own}}{{/frame}}'
    const files = {
      'meta.json': meta(),
      'client/templates/index.html': template,
      'client/partials/frame.html': '<p>{{> @partial-block}}{{> own}}</p>',
    }
    expect((await readPackage(await aPackage(files))).kind).toBe('good')
  })

  it.each([
    ['../evil', 'leaves the package'],
    ['a/../../evil', 'leaves the package'],
    ['/etc/passwd', 'absolute'],
    ['a\\b', 'backslash'],
  ])('with the path %s is refused', async (name, named) => {
    expect(await problems(await archive([{ name }]))).toContain(named)
  })

  it('with links, devices or names that clash is refused', async () => {
    expect(await problems(await archive([{ name: 'l', type: 'symlink', linkname: '/etc/passwd' }]))).toContain(
      'symlink',
    )
    expect(await problems(await archive([{ name: 'l', type: 'link', linkname: 'a' }]))).toContain('link')
    expect(await problems(await archive([{ name: 'd', type: 'character-device' }]))).toContain('device')
    expect(await problems(await archive([{ name: 'A' }, { name: 'a' }]))).toContain('twice')
  })

  it.each([
    ['a file and what would be below it', ['a', 'a/b'], 'a file and a directory'],
    ['something below a name and then a file of it', ['a/b/c', 'A/B'], 'a file and a directory'],
    ['a name that no file system takes', [`client/${'ä'.repeat(128)}`], 'more than 255 bytes'],
  ])('with %s is refused: it could not be unpacked', async (_what, names, named) => {
    expect(await problems(await archive(names.map(name => ({ name }))))).toContain(named)
  })

  it('that is no archive, or unpacks to far more than it is, is refused', async () => {
    expect(await problems(Buffer.from('hello'))).toContain('not a gzipped tar')
    expect(await problems(gzipSync(Buffer.from('hello')))).toContain('not a gzipped tar')
    const bomb = await aPackage({ 'meta.json': meta(), big: Buffer.alloc(40 * 1024 * 1024).toString('latin1') })
    expect(await problems(bomb)).toContain('unpacks to more than')
    expect(await problems(Buffer.alloc(9 * 1024 * 1024))).toContain('at most')
  })
})
