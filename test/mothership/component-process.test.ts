import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import {
  type CallResult,
  ComponentProcess,
  type ControlResult,
  type ProcessState,
} from '../../src/mothership/component-process.js'
import { Confinement } from '../../src/mothership/confinement.js'
import type { Controlled, RenderCall, Rendered } from '../../src/mothership/ipc.js'
import type { Viewer } from '../../src/protocol/messages.js'
import { builtWorker } from '../support/build.js'
import { waitUntil } from '../support/etcd.js'
import { TestLog } from '../support/logs.js'
import { testClock } from '../support/plain-store.js'

const root = mkdtempSync(join(tmpdir(), 'rain-component-'))
const confinement = new Confinement({
  mothership: 'm1',
  dataDir: root,
  workerPath: builtWorker,
  clock: testClock,
  log: new TestLog(),
})
confinement.open()
const running: ComponentProcess[] = []
let packages = 0

afterEach(async () => {
  await Promise.all(running.splice(0).map(each => each.stop()))
})
afterAll(() => {
  confinement.close()
  rmSync(root, { recursive: true, force: true })
})

type Files = Readonly<Record<string, string>>

function unpacked(files: Files): string {
  const directory = join(root, String(packages++))
  for (const [name, content] of Object.entries({ 'package.json': '{"type":"commonjs"}', ...files })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

const meta = (views: readonly string[], more: object = {}): string =>
  JSON.stringify({ id: 'news', version: '1.0', views: Object.fromEntries(views.map(id => [id, {}])), ...more })

interface Started {
  readonly process: ComponentProcess
  readonly states: ProcessState[]
  readonly log: TestLog
  /** Every wait that was asked of the clock. */
  readonly waits: number[]
}

/** What a process waits before it is started again, ms: seconds that a test need not take. */
const backoffs = [2_000, 4_000, 8_000]

function start(directory: string): Started {
  const states: ProcessState[] = []
  const log = new TestLog()
  const waits: number[] = []
  const process = new ComponentProcess({
    name: 'news/1.0.0',
    component: 'news',
    version: '1.0.0',
    confinement,
    start: { directory, mothership: 'm1' },
    askedMiB: 64,
    clock: {
      ...testClock,
      after: (ms, run) => {
        waits.push(ms)
        return testClock.after(backoffs.includes(ms) ? ms / 20 : ms, run)
      },
    },
    log,
    onState: state => states.push(state),
  })
  running.push(process)
  return { process, states, log, waits }
}

async function ready(files: Files): Promise<Started> {
  const started = start(unpacked(files))
  await waitUntil('the process is ready', () => started.process.state.kind === 'ready')
  return started
}

const call = (view = 'index', more: Partial<RenderCall> = {}): RenderCall => ({
  instance: 'news.1',
  view,
  context: {},
  ...more,
})

function rendered(result: CallResult): Rendered {
  if (result.kind === 'failed') throw new Error(`${result.status}: ${result.reason}`)
  return result.result
}

const show = async ({ process }: Started, each: RenderCall): Promise<Rendered> =>
  rendered(await process.render(each, 5_000))

describe('a view', () => {
  it("is rendered from the package's template, with its files for the browser", async () => {
    const started = await ready({
      'meta.json': meta(['index', 'layout/flow'], { pageTitle: 'The news' }),
      'client/templates/index.html': '<h1>{{title}}</h1>{{> foot}}',
      'client/templates/layout/flow.html': 'flow',
      'client/partials/foot.html': '<i>{{title}}</i>',
      'client/css/b.css': '',
      'client/css/a.css': '',
      'client/js/index.js': '',
    })

    expect(await show(started, call('index', { context: { title: 'Rain & <sun>' } }))).toEqual({
      html: '<h1>Rain &amp; &lt;sun&gt;</h1><i>Rain &amp; &lt;sun&gt;</i>',
      context: { title: 'Rain & <sun>' },
      children: [],
      css: ['/news/1.0/css/a.css', '/news/1.0/css/b.css'],
      js: ['/news/1.0/js/index.js'],
      title: 'The news',
    })
    expect(await show(started, call('layout/flow'))).toMatchObject({ html: 'flow', js: [] })
  })

  it('names its children where the component helper stands, once for each time', async () => {
    const started = await ready({
      'meta.json': meta(['index', 'item']),
      'client/templates/index.html':
        '<ul>{{#each items}}<li>{{component view="item" item=this}}</li>{{/each}}</ul>' +
        '{{> side}}{{component name="chat" version="1.3" sid="c" required=true}}',
      'client/templates/item.html': '',
      'client/partials/side.html': '{{component name="weather" view="small" place="<Cluj>"}}',
    })
    const { html, children } = await show(started, call('index', { context: { items: ['a', 'b'] } }))

    expect(children.map(({ id: _id, at: _at, ...child }) => child)).toEqual([
      { component: 'news', version: '1.0', view: 'item', context: { item: 'a' } },
      { component: 'news', version: '1.0', view: 'item', context: { item: 'b' } },
      { component: 'weather', view: 'small', context: { place: '<Cluj>' } },
      { component: 'chat', version: '1.3', view: 'index', context: {}, sid: 'c', required: true },
    ])
    expect(new Set(children.map(each => each.id)).size).toBe(4)
    for (const { id, component, at } of children) {
      const open = `<div id="${id}" data-rain-component="${component}">`
      expect(html.slice(at - open.length, at)).toBe(open)
      expect(html.slice(at).startsWith('</div>')).toBe(true)
    }
    expect(html).not.toContain('\u0000')
  })

  it('renders the blocks of containers, whose views are guests of them, at whatever depth', async () => {
    const started = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html':
        '{{#container name="box" view="wide" rows=2}}<p>{{title}} {{component name="chat" room=1}}</p>' +
        '{{#container view="index"}}{{component name="weather"}}{{/container}}{{/container}}' +
        '{{#component name="grid"}}{{#item row="0"}}<b>{{title}}</b>{{/item}}{{#item row="1"}}{{component name="map"}}{{/item}}{{/component}}',
    })
    const context = { title: '<News>' }
    const { children, guests = [], context: inherited } = await show(started, call('index', { context }))

    expect(children.map(({ component, view }) => `${component}/${view}`)).toEqual(['box/wide', 'grid/index'])
    const [box, grid] = children
    const [weather, chat, inner, map] = guests
    expect(guests.map(({ component, host }) => [component, host])).toEqual([
      ['weather', inner!.id],
      ['chat', box!.id],
      ['news', box!.id],
      ['map', grid!.id],
    ])
    expect(box!.context).toEqual({ rows: 2 })
    const place = ({ id, component, token }: (typeof guests)[number]): string =>
      `<div id="${id}" data-rain-component="${component}">${token}</div>`
    expect(box!.block).toEqual({ content: `<p>&lt;News&gt; ${place(chat!)}</p>${place(inner!)}`, items: [] })
    expect(inner!.block).toEqual({ content: place(weather!), items: [] })
    expect(grid!.block!.items).toEqual([
      { row: '0', content: '<b>&lt;News&gt;</b>' },
      { row: '1', content: place(map!) },
    ])
    expect(new Set(guests.map(each => each.token)).size).toBe(4)
    expect(inherited).toEqual(context)
  })

  it('shows its block as it is, and nothing else that looks like html', async () => {
    const started = await ready({
      'meta.json': meta(['index', 'row']),
      'client/templates/index.html':
        '<p>{{content}} {{evil}}</p>{{#each items}}<i class="{{place}}">{{content}}</i>{{/each}}',
      'client/templates/row.html': '{{made.inside}} {{made.beside}}',
      'server/data.js': `exports.row = (environment, callback, context) =>
        callback(null, { made: { inside: context.content, beside: context.content + '!' } })`,
    })
    const block = { content: '<b>block</b>', items: [{ place: '"a"', content: '<u>one</u>' }] }
    const evil = '<b>evil</b>'
    const shown = await show(started, call('index', { context: { evil }, block }))
    expect(shown.html).toBe('<p><b>block</b> &lt;b&gt;evil&lt;/b&gt;</p><i class="&quot;a&quot;"><u>one</u></i>')
    expect(shown.context).toEqual({ evil })
    expect((await show(started, call('row', { block }))).html).toBe('<b>block</b> &lt;b&gt;block&lt;/b&gt;!')
    // What comes with the context of a page is no block.
    expect((await show(started, call('index', { context: { content: evil } }))).html).toContain(
      '&lt;b&gt;evil&lt;/b&gt;',
    )
  })

  it('shows what its context calls like a helper that takes a block', async () => {
    const started = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html': '{{item}} {{container}} {{#each items}}{{item}}{{/each}}',
    })
    const context = { item: '<1>', container: 'box', items: [{ item: 2 }, 3] }
    expect((await show(started, call('index', { context }))).html).toBe('&lt;1&gt; box 2')
  })

  it.each([
    ['an item outside of a container', '{{#item}}{{/item}}', /stands in no container/],
    ['a version without a name', '{{#container version="1"}}{{/container}}', /a version and no name/],
  ])('fails at %s', async (_name, template, reason) => {
    const started = await ready({ 'meta.json': meta(['index']), 'client/templates/index.html': template })
    const result = await started.process.render(call(), 5_000)
    expect(result).toMatchObject({ kind: 'failed', status: 500, reason: expect.stringMatching(reason) })
  })

  it("is not misled by what looks like a child's place in its data", async () => {
    const started = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html': '{{{text}}}{{component name="chat"}}',
    })
    const text = `\u0000${'0'.repeat(32)}:0\u0000`
    const { html, children } = await show(started, call('index', { context: { text } }))

    expect(children).toHaveLength(1)
    expect(html.startsWith(text)).toBe(true)
  })

  it('that the package does not have is not found', async () => {
    const { process } = await ready({ 'meta.json': meta(['index']), 'client/templates/index.html': '' })

    expect(await process.render(call('other'), 5_000)).toEqual({
      kind: 'failed',
      status: 404,
      reason: 'news has no view other',
    })
  })

  it('asks for its permissions in the historic list of views too', async () => {
    const { process } = await ready({
      'meta.json': JSON.stringify({
        id: 'news',
        version: '1.0',
        views: [{ viewid: 'index', view: 'index.html', permissions: ['edit'] }],
      }),
      'client/templates/index.html': 'secret',
    })
    const as = (...permissions: string[]): Promise<CallResult> =>
      process.render(call('index', { user: { permissions } }), 5_000)

    expect(await as()).toMatchObject({ kind: 'failed', status: 401, reason: 'needs the permission edit' })
    expect(await as('edit')).toMatchObject({ kind: 'rendered', result: { html: 'secret' } })
  })

  it('is shown only to who holds every permission of component and view', async () => {
    const { process } = await ready({
      'meta.json': JSON.stringify({
        id: 'news',
        version: '1.0',
        permissions: ['read'],
        views: { index: { permissions: ['edit'] } },
      }),
      'client/templates/index.html': 'secret',
    })
    const as = (...permissions: string[]): Promise<CallResult> =>
      process.render(call('index', { user: { permissions } }), 5_000)

    expect(await as('read')).toMatchObject({ kind: 'failed', status: 401, reason: 'needs the permission edit' })
    expect(await as('edit')).toMatchObject({ kind: 'failed', status: 401, reason: 'needs the permission read' })
    expect(rendered(await as('edit', 'read')).html).toBe('secret')
  })
})

describe('server/authorization.js', () => {
  const secret = (conditions: string, views: readonly string[] = ['index', 'other']): Files => ({
    'meta.json': meta(views),
    ...Object.fromEntries(views.map(id => [`client/templates/${id}.html`, 'secret'])),
    'server/authorization.js': conditions,
  })
  const as = (process: ComponentProcess, id: string | undefined, view = 'index'): Promise<CallResult> =>
    process.render(call(view, id === undefined ? {} : { user: { id, permissions: ['read'] } }), 5_000)

  it('is asked for the component, then for the view', async () => {
    const { process } = await ready(
      secret(`exports._component = ({ user }) => user.isAuthenticated() && user.hasPermissions(['read']) && user.id !== 'eve'
        exports.index = context => context.user.username === 'ada'`),
    )

    expect(rendered(await as(process, 'ada')).html).toBe('secret')
    expect(await as(process, 'bob')).toMatchObject({ status: 401, reason: expect.stringContaining('index: refused') })
    expect(await as(process, 'eve')).toMatchObject({ status: 401, reason: expect.stringContaining('_component') })
    expect(rendered(await as(process, 'bob', 'other')).html).toBe('secret')
    expect(await as(process, 'eve', 'other')).toMatchObject({ status: 401 })
  })

  it('lets nobody in who is not known, and asks nothing where it has no condition', async () => {
    const { process } = await ready(secret('exports.index = () => true'))

    expect(await as(process, undefined)).toMatchObject({ status: 401, reason: expect.stringContaining('who it is') })
    expect(rendered(await as(process, undefined, 'other')).html).toBe('secret')
  })

  it('that throws, or answers by a promise, lets nobody in', async () => {
    const { process } = await ready(
      secret(`exports.index = () => { throw new Error('no idea') }
        exports.other = async () => false`),
    )

    expect(await as(process, 'ada')).toMatchObject({ status: 500, reason: expect.stringContaining('no idea') })
    expect(await as(process, 'ada', 'other')).toMatchObject({ status: 500, reason: expect.stringContaining('promise') })
  })

  it('is not taken from what every object has, and may be an ES module', async () => {
    const { process } = await ready({
      ...secret("export const index = ({ user }) => user.id === 'ada'", ['index', 'constructor']),
      'package.json': '{"type":"module"}',
    })

    expect(rendered(await as(process, undefined, 'constructor')).html).toBe('secret')
    expect(rendered(await as(process, 'ada')).html).toBe('secret')
    expect(await as(process, 'bob')).toMatchObject({ status: 401 })
  })

  it('that cannot be loaded makes the package unfit: without it everybody would get in', async () => {
    const { process } = start(unpacked(secret('exports.index = (')))
    await waitUntil('the package is found unfit', () => process.state.kind === 'failed')

    expect(process.state).toMatchObject({ reason: expect.stringContaining('Unexpected') })
  })
})

describe('a controller', () => {
  const form = 'application/x-www-form-urlencoded'
  const some = (files: Files, more: object = {}): Promise<Started> =>
    ready({
      'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} }, ...more }),
      'client/templates/index.html': '',
      ...Object.fromEntries(Object.entries(files).map(([name, text]) => [`server/controller/${name}`, text])),
    })
  const ask = (
    { process }: Started,
    name: string,
    verb = 'GET',
    { body, type, session }: { body?: string; type?: string; session?: string } = {},
  ): Promise<ControlResult> => {
    const headers: Record<string, string> = type ? { 'content-type': type } : {}
    const request = { url: `/news/controller/${name}?page=2`, query: { page: '2' }, headers }
    const sent = body === undefined ? {} : { body: Buffer.from(body) }
    const known = session === undefined ? {} : { session }
    return process.control({ instance: 'news.1', name, verb, request, ...sent, ...known }, 5_000)
  }
  const said = (result: ControlResult): Omit<Controlled, 'body'> & { readonly text: string } => {
    if (result.kind === 'failed') throw new Error(`${result.status}: ${result.reason}`)
    const { body, ...answer } = result.result
    return { ...answer, text: Buffer.from(body).toString() }
  }

  it('gets the request and answers by the response, as with node', async () => {
    const started = await some({
      'echo.js': `exports.post = (request, response) => {
        const { method, url, query, body, session, path, component } = request
        response.setHeader('Content-Type', 'application/json')
        response.setHeader('Set-Cookie', ['a=1', 'b=2'])
        response.statusCode = 202
        response.write('[')
        const type = response.getHeader('content-type')
        response.end(JSON.stringify({ method, url, query, body, session, path, component, type }) + ']')
      }`,
    })
    const sent = { body: '{"a":[1]}', type: 'application/json', session: 's1' }
    const { text, ...answer } = said(await ask(started, 'echo', 'POST', sent))

    expect(answer).toEqual({ status: 202, headers: { 'content-type': 'application/json' }, cookies: ['a=1', 'b=2'] })
    expect(JSON.parse(text)).toEqual([
      {
        method: 'POST',
        url: '/news/controller/echo?page=2',
        query: { page: '2' },
        body: { a: [1] },
        session: { id: 's1' },
        path: 'echo',
        component: { id: 'news', version: '1.0' },
        type: 'application/json',
      },
    ])
  })

  it('has forms read, the rest as bytes, and may read the body as a stream', async () => {
    const started = await some({
      'form.js': 'exports.put = ({ body }, response) => response.end(body.name)',
      'bytes.js': 'exports.put = ({ body }, response) => response.end(String(body.length))',
      'stream.js': `exports.put = async (request, response) => {
        let text = ''
        for await (const part of request) text += part
        response.end(text.toUpperCase())
      }`,
      'old.js': `exports.put = (request, response) => {
        let text = ''
        request.on('data', part => { text += part })
        request.on('end', () => response.end(text))
      }`,
    })

    expect(said(await ask(started, 'form', 'PUT', { body: 'name=Ada+L', type: form })).text).toBe('Ada L')
    expect(said(await ask(started, 'bytes', 'PUT', { body: 'abc' })).text).toBe('3')
    expect(said(await ask(started, 'stream', 'PUT', { body: 'abc' })).text).toBe('ABC')
    expect(said(await ask(started, 'old', 'PUT', { body: 'abc' })).text).toBe('abc')
    expect(said(await ask(started, 'old', 'PUT')).text).toBe('')
  })

  it('is found by its file, or by the view that names it, and by nothing else', async () => {
    const files = {
      'a/b.js': "exports.get = (request, response) => response.end('deep')",
      'own.js': "exports.get = (request, response) => response.end('of the view')",
    }
    const started = await some(files, { views: { index: { controller: { server: 'own.js' } } } })

    expect(said(await ask(started, 'a/b')).text).toBe('deep')
    expect(said(await ask(started, 'index')).text).toBe('of the view')
    for (const name of ['b', '../data', 'a/../own', 'constructor', 'own.js', '']) {
      expect(await ask(started, name)).toMatchObject({ kind: 'failed', status: 404 })
    }
    const container = await some(files, { type: 'container' })
    expect(await ask(container, 'own')).toMatchObject({ kind: 'failed', status: 404 })
  })

  it('says which verbs it has; HEAD is GET', async () => {
    const started = await some({
      'a.js': 'exports.get = (request, response) => response.end(request.method); exports.delete = () => undefined',
    })

    expect(said(await ask(started, 'a', 'POST'))).toMatchObject({ status: 405, headers: { allow: 'GET, DELETE' } })
    expect(said(await ask(started, 'a', 'HEAD'))).toMatchObject({ status: 200, text: 'HEAD' })
    expect(said(await ask(started, 'a', 'OPTIONS'))).toMatchObject({ status: 405 })
  })

  it('that fails is 500, a body that is not what it says 400, and the process goes on', async () => {
    const started = await some({
      'throws.js': "exports.post = () => { throw new Error('at once') }",
      'rejects.js': "exports.post = async () => { throw new Error('later') }",
      'huge.js': "exports.post = (request, response) => response.end('x'.repeat(2_000_000))",
      'status.js': 'exports.post = (request, response) => { response.statusCode = 42; response.end() }',
      'header.js': "exports.post = (request, response) => response.setHeader('a', 'b' + String.fromCharCode(10))",
      'fine.js': "exports.post = (request, response) => response.end('fine')",
    })
    const type = 'application/json'

    for (const [name, why] of [
      ['throws', 'at once'],
      ['rejects', 'later'],
      ['huge', 'more than'],
      ['status', 'no status'],
      ['header', 'Invalid character'],
    ] as const) {
      const result = await ask(started, name, 'POST')
      expect(result).toMatchObject({ kind: 'failed', status: 500, reason: expect.stringContaining(why) })
    }
    expect(await ask(started, 'fine', 'POST', { body: '{', type })).toMatchObject({ status: 400 })
    expect(said(await ask(started, 'fine', 'POST', { body: '{}', type })).text).toBe('fine')
  })

  it('is under the permissions and conditions of its component', async () => {
    const { process } = await ready({
      'meta.json': JSON.stringify({ id: 'news', version: '1.0', permissions: ['read'], views: { index: {} } }),
      'client/templates/index.html': '',
      'server/authorization.js': "exports._component = ({ user }) => user.id === 'ada'",
      'server/controller/save.js': 'exports.post = ({ user }, response) => response.end(user.id)',
    })
    const as = (user?: Viewer): Promise<ControlResult> =>
      process.control({ instance: 'news.1', name: 'save', verb: 'POST', ...(user ? { user } : {}) }, 5_000)

    expect(await as()).toMatchObject({ status: 401 })
    expect(await as({ id: 'bob', permissions: ['read'] })).toMatchObject({ status: 401 })
    expect(said(await as({ id: 'ada', permissions: ['read'] })).text).toBe('ada')
  })

  it('that cannot be loaded makes the package unfit; one that never ends hits the deadline', async () => {
    const files = { 'meta.json': meta(['index']), 'client/templates/index.html': '' }
    const { process } = start(unpacked({ ...files, 'server/controller/a.js': "require('nowhere')" }))
    await waitUntil('the package is found unfit', () => process.state.kind === 'failed')
    expect(process.state).toMatchObject({ reason: expect.stringContaining('nowhere') })
    const started = await some({ 'never.js': 'exports.get = () => undefined' })
    const result = await started.process.control({ instance: 'news.1', name: 'never', verb: 'GET' }, 100)
    expect(result).toMatchObject({ kind: 'failed', status: 504 })
  })
})

describe('a data function', () => {
  const one = (data: string): Files => ({
    'meta.json': meta(['index', 'plain']),
    'client/templates/index.html': '{{{text}}}',
    'client/templates/plain.html': '{{text}} {{from}}',
    'server/data.js': data,
  })

  it('gets environment, callback, context and request, and makes the context', async () => {
    const started = await ready(
      one(`exports.index = function (environment, callback, context, request) {
        callback(null, { text: JSON.stringify({ environment, context, request }), count: arguments.length })
      }`),
    )
    const { html, context } = await show(
      started,
      call('index', {
        context: { from: 'parent' },
        session: 's1',
        locale: 'de-CH',
        user: { id: 'ada', permissions: ['read'] },
        request: { url: '/news?page=2', query: { page: '2' }, headers: { 'user-agent': 'test' } },
      }),
    )

    expect(context['count']).toBe(4)
    expect(JSON.parse(html)).toEqual({
      environment: {
        language: 'de_CH',
        languages: [{ key: 'en', text: 'English' }],
        component: 'news',
        version: '1.0',
        instance: 'news.1',
        mothership: 'm1',
      },
      context: { from: 'parent' },
      request: {
        globalSession: { language: 'de_CH' },
        session: { id: 's1' },
        query: { page: '2' },
        headers: { 'user-agent': 'test' },
        url: '/news?page=2',
        user: { id: 'ada', permissions: ['read'] },
        type: 'http',
      },
    })
  })

  it("may be missing: then the parent's context is the context", async () => {
    const started = await ready(one('exports.index = (environment, callback) => callback(null, {})'))
    const context = { text: 'hello', from: 'above' }

    expect(await show(started, call('plain', { context }))).toMatchObject({ html: 'hello above', context })
  })

  it('is not taken from what every object has', async () => {
    const started = await ready({
      'meta.json': meta(['constructor', 'toString']),
      'client/templates/constructor.html': 'built {{by}}',
      'client/templates/toString.html': 'told {{by}}',
      'server/data.js': "exports.toString = (environment, callback) => callback(null, { by: 'itself' })",
    })

    expect(await show(started, call('constructor', { context: { by: 'hand' } }))).toMatchObject({ html: 'built hand' })
    expect(await show(started, call('toString'))).toMatchObject({ html: 'told itself' })
  })

  it('may be asynchronous, and written as an ES module', async () => {
    const started = await ready({
      ...one("export const index = async (environment, callback, { from }) => ({ text: 'from ' + from })"),
      'package.json': '{"type":"module"}',
    })

    expect(await show(started, call('index', { context: { from: 'a promise' } }))).toMatchObject({
      html: 'from a promise',
    })
  })

  it('that never calls back hits the deadline, and the others go on', async () => {
    const started = await ready(one('exports.index = () => {}'))
    const silent = started.process.render(call('index'), 400)

    expect(await show(started, call('plain', { context: { text: 'meanwhile' } }))).toMatchObject({
      html: 'meanwhile ',
    })
    expect(await silent).toEqual({ kind: 'failed', status: 504, reason: 'no answer in 400 ms' })
    expect(await show(started, call('plain', { context: { text: 'after' } }))).toMatchObject({ html: 'after ' })
    expect(started.process.restarts).toBe(0)
  })

  it.each([
    ['throws', "() => { throw new Error('no database') }", 'no database'],
    ['calls back with an error', "(environment, callback) => callback(new Error('no answer'))", 'no answer'],
    ['calls back with a text', "(environment, callback) => callback('out of order')", 'out of order'],
    ['rejects', "async () => { throw new Error('no promise kept') }", 'no promise kept'],
    ['throws nothing', '() => { throw null }', 'null'],
    ['throws what has no text', '() => { throw Object.create(null) }', 'no error'],
    [
      'calls back later with what has no text',
      '(_, callback) => { setTimeout(() => callback({ toString: 1, valueOf: 1 })) }',
      'no error',
    ],
    ['throws an error with a number', '() => { throw Object.assign(new Error(), { message: 42 }) }', '42'],
    ['makes a circle', '(environment, callback) => { const a = {}; a.a = a; callback(null, a) }', 'circular'],
    ['makes a list', '(environment, callback) => callback(null, [1, 2])', 'a list'],
  ])('that %s fails its own fragment, with the reason', async (_name, code, reason) => {
    const started = await ready(one(`exports.index = ${code}`))
    const { pid } = started.process

    expect(await started.process.render(call('index'), 5_000)).toMatchObject({
      kind: 'failed',
      status: 500,
      reason: expect.stringContaining(reason),
    })
    expect(await show(started, call('plain', { context: { text: 'well' } }))).toMatchObject({ html: 'well ' })
    expect(started.process.pid).toBe(pid)
  })

  it('sees nothing of the environment of the mothership', async () => {
    process.env['RAIN_SECRET_FOR_TEST'] = 'hidden'
    const started = await ready(
      one('exports.index = (environment, callback) => callback(null, { text: JSON.stringify(process.env) })'),
    )
    delete process.env['RAIN_SECRET_FOR_TEST']
    const seen = JSON.parse((await show(started, call('index'))).html) as Record<string, string>

    expect(seen).toMatchObject({ NODE_ENV: 'production' })
    const own = ['NODE_ENV', 'LANG', 'HOME', 'TMPDIR', 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE']
    expect(Object.keys(seen).filter(name => !own.includes(name))).toEqual([])
  })
})

describe('the process of a component', () => {
  const shaky: Files = {
    'meta.json': meta(['index', 'loop', 'crash', 'never', 'pid']),
    'client/templates/index.html': 'well',
    'client/templates/loop.html': '',
    'client/templates/crash.html': '',
    'client/templates/never.html': '',
    'client/templates/pid.html': '{{pid}}',
    'server/data.js': `
      exports.loop = () => { for (;;); }
      exports.crash = () => { setTimeout(() => { throw new Error('later') }) }
      exports.never = () => {}
      exports.pid = (environment, callback) => callback(null, { pid: process.pid })
    `,
  }

  it('that loops for ever is found out, killed and started again', async () => {
    const { process, states, log } = await ready(shaky)
    const { pid } = process

    expect(await process.render(call('loop'), 15_000)).toEqual({
      kind: 'failed',
      status: 502,
      reason: 'the process of the component died (stalled: no sign of life for 1.5 s)',
    })
    expect(log.said).toContain('a component process is killed')
    await waitUntil('it runs again', () => process.state.kind === 'ready')
    expect(process.pid).not.toBe(pid)
    expect(states.map(each => each.kind)).toEqual(['ready', 'starting', 'ready'])
    expect(rendered(await process.render(call(), 5_000)).html).toBe('well')
  })

  it('that is killed answers what was under way, and starts again', async () => {
    const { process: component } = await ready(shaky)
    const { pid } = component
    const calls = [component.render(call('never'), 15_000), component.render(call('never'), 15_000)]
    expect(rendered(await component.render(call('pid'), 5_000)).html).toBe(String(pid))
    process.kill(pid!, 'SIGKILL')

    for (const result of await Promise.all(calls)) expect(result).toMatchObject({ kind: 'failed', status: 502 })
    expect(await component.render(call(), 5_000)).toMatchObject({ kind: 'failed', status: 503 })
    await waitUntil('it runs again', () => component.state.kind === 'ready')
    expect(rendered(await component.render(call('pid'), 5_000)).html).toBe(String(component.pid))
    expect(component.restarts).toBe(1)
  })

  it('that says what no renderer says is not listened to', async () => {
    const { process, log } = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html': '{{text}}',
      'server/data.js': `exports.index = (environment, callback) => {
        const wrong = [null, 'hello', {}, { k: 'later' }, { k: 'rendered' }, { k: 'failed', n: 1 }, { k: 'failed' }]
        for (const message of wrong) process.send(message)
        process.send({ k: 'rendered', n: 1, result: { html: 1, css: null } })
        process.send({ k: 'failed', n: 1, status: 'ok', reason: {} })
        callback(null, { text: 'own' })
      }`,
    })

    expect(rendered(await process.render(call(), 5_000)).html).toBe('own')
    expect(log.said).toContain('a component process says what cannot be understood')
  })

  it('whose one answer cannot be understood gives the others that are ready with it', async () => {
    const { process, log } = await ready({
      'meta.json': meta(['index', 'bad']),
      'client/templates/index.html': 'well',
      'client/templates/bad.html': '',
      'server/data.js': `
        const send = process.send.bind(process)
        process.send = (message, ...rest) => {
          const spoil = each => each.result?.html === '' ? { ...each, result: { ...each.result, html: 5 } } : each
          return send(message.k === 'several' ? { ...message, list: [message, 7, ...message.list.map(spoil)] } : message, ...rest)
        }
      `,
    })
    const [good, bad] = await Promise.all([process.render(call(), 5_000), process.render(call('bad'), 500)])

    expect(rendered(good).html).toBe('well')
    expect(bad).toMatchObject({ kind: 'failed', status: 504 })
    expect(log.said).toContain('a component process says what cannot be understood')
  })

  it('that takes more memory than it may have dies alone', async () => {
    const { process } = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html': '',
      // In steps, so that it answers pings until the end.
      'server/data.js': `
        const kept = []
        const take = () => {
          kept.push(new Array(200_000).fill(kept.length + 0.5))
          setImmediate(take)
        }
        exports.index = take
      `,
    })

    expect(await process.render(call(), 15_000)).toMatchObject({
      kind: 'failed',
      status: 502,
      reason: expect.stringMatching(/died \(used \d+ MiB of 128\)/),
    })
    await waitUntil('it runs again', () => process.state.kind === 'ready')
  })

  it('that dies again and again waits longer each time, and then has failed with the reason', async () => {
    const { process, states, waits } = await ready(shaky)
    for (let deaths = 1; deaths <= 5; deaths++) {
      await waitUntil('it runs', () => process.state.kind === 'ready')
      expect(await process.render(call('crash'), 10_000)).toMatchObject({ kind: 'failed', status: 502 })
    }

    expect(process.state).toEqual({
      kind: 'failed',
      reason: 'died 5 times in a minute, last: exit code 1: Error: later',
    })
    expect(states.at(-1)).toEqual(process.state)
    expect(process.restarts).toBe(4)
    const known = [100, ...backoffs, 30_000]
    expect(waits.filter(ms => known.includes(ms))).toEqual(known)
    expect(await process.render(call(), 5_000)).toMatchObject({ kind: 'failed', status: 503 })
  })

  it.each([
    ['throws as it is loaded', { 'server/data.js': "throw new Error('no such driver')" }, /no such driver/],
    ['needs a module that is not there', { 'server/data.js': "require('left-pad')" }, /Cannot find module 'left-pad'/],
    ['has a template that cannot be compiled', { 'client/templates/index.html': '{{#if}' }, /Parse error/],
    ['has a partial that cannot be compiled', { 'client/partials/foot.html': '{{/if}}' }, /Parse error/],
    ['has no template', { 'meta.json': meta(['index', 'other']) }, /other\.html/],
    ['has no descriptor that can be read', { 'meta.json': '{' }, /meta\.json: not JSON/],
  ])('whose package %s has failed, with the reason', async (_name, files, reason) => {
    const { process } = start(
      unpacked({ 'meta.json': meta(['index']), 'client/templates/index.html': '', ...files } as Files),
    )
    await waitUntil('it has failed', () => process.state.kind === 'failed')

    expect(process.state).toMatchObject({ reason: expect.stringMatching(reason) })
    await waitUntil('the process is gone', () => process.pid === undefined)
  })

  it('is not taken for stalled when it was the mothership that stood still', async () => {
    const { process, log } = await ready(shaky)
    const { pid } = process
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_600)

    expect(rendered(await process.render(call('pid'), 5_000)).html).toBe(String(pid))
    expect(log.said).not.toContain('a component process is killed')
  })

  it('ends with what is under way when it is stopped, and takes no more', async () => {
    const { process: component } = await ready({
      'meta.json': meta(['index']),
      'client/templates/index.html': '{{text}}',
      'server/data.js': `exports.index = (environment, callback) => setTimeout(() => callback(null, { text: 'done' }), 200)`,
    })
    const { pid } = component
    const last = component.render(call(), 5_000)
    const stopped = component.stop()

    expect(await component.render(call(), 5_000)).toMatchObject({ kind: 'failed', status: 503 })
    expect(rendered(await last).html).toBe('done')
    await stopped
    expect(() => process.kill(pid!, 0)).toThrow('ESRCH')
  })
})
