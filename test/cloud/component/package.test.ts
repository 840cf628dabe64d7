import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { describe, expect, it } from 'vitest'
import { componentOf, readPackage } from '../../../src/cloud/component/package.js'
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

const problems = async (bytes: Uint8Array): Promise<string> => {
  const reading = await readPackage(bytes)
  return reading.kind === 'bad' ? JSON.stringify(reading.errors) : 'good'
}

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
          ],
        },
      ],
    })
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
      'line 2, column 1: a version without a name',
    ],
    ['code that cannot be parsed', { 'meta.json': meta({ views: {} }), 'server/data.js': 'let a\nlet a' }, 'line 2'],
    [
      'a partial that is missing',
      { 'meta.json': meta(), 'client/templates/index.html': '{{> there}}', 'client/partials/there.html': '{{> gone}}' },
      '{{> gone}}: client/partials/gone.html is missing',
    ],
    ['a package.json that is none', { 'meta.json': meta({ views: {} }), 'package.json': '{bad' }, 'package.json'],
    ['kept state', { 'meta.json': meta({ views: {}, state: 'kept' }) }, 'meta.json#/state'],
    [
      'a controller that is missing',
      { 'meta.json': meta({ views: { i: { controller: { client: 'x.js' } } } }), 'client/templates/i.html': '' },
      'client/js/x.js is missing',
    ],
  ])('with %s is refused', async (_what, files, named) => {
    expect(await problems(await aPackage(files as Record<string, string>))).toContain(named)
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
