/**
 * RAIN's contract: components written as for RAIN 0.34 run unchanged, as CommonJS and as ES modules. Deployed by REST, used
 * as browsers do, through HAProxy and rain servers.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BrowserSocket } from '../support/browser-socket.js'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { aPackage } from '../support/packages.js'
import { type Rest, restOf } from '../support/rest.js'

type Files = Readonly<Record<string, string>>

const meta = {
  id: 'guestbook',
  version: '1.0',
  type: 'component',
  pageTitle: 'Guests',
  useSession: true,
  views: {
    index: { view: 'index.html', controller: { client: 'index.js', server: 'entries.js' } },
    entry: { view: 'entry.html' },
    admin: { view: 'admin.html', permissions: ['write'] },
    secret: { view: 'secret.html' },
  },
  intents: [
    { category: 'com.example.guests', action: 'SHOW_ENTRY', provider: 'entry' },
    { category: 'com.example.guests', action: 'ADD_ENTRY', provider: 'entries.js#add' },
    { category: 'com.example.guests', action: 'WIPE', provider: 'entries.js#wipe', permissions: ['wipe'] },
    { category: 'com.example.shared', action: 'GREET', provider: 'entry' },
  ],
}

/** With the exports of server code written by `cjs` or `esm`. */
const guestbook = (id: string, exported: (name: string, value: string) => string): Files => ({
  'meta.json': JSON.stringify({ ...meta, id }),
  'client/templates/index.html': `{{css path="index.css"}}
    <h1>{{t "Welcome, %s" name}}</h1>
    <p>{{nt "one guest" "%d guests" guests.length guests.length}}, {{t "asked" id="guests.visits"}}: {{visits}}</p>
    <ul>{{#each guests}}{{component view="entry" guest=this}}{{/each}}</ul>
    <img src="{{url path="flag.txt" localized=true}}">
    {{component view="admin"}}{{component view="secret"}}
    {{#container name="frame" view="index" kind="wide"}}<p>by {{name}} {{component view="entry" guest="Zoe"}}</p>{{/container}}
    {{#container name="frame" view="columns"}}
      {{#item column="2"}}right{{/item}}{{#item column="1"}}{{component view="entry" guest="Yan"}}{{/item}}
    {{/container}}`,
  'client/templates/entry.html': '{{css path="index.css"}}<li>{{partial "who"}}</li>',
  'client/templates/admin.html': 'for admins',
  'client/templates/secret.html': 'for friends',
  'client/partials/who.html': '{{guest}} ({{t "guest"}})',
  'client/css/index.css': 'h1 {}',
  'client/css/unused.css': '',
  'client/js/index.js': 'define(function () {})',
  'resources/flag.txt': 'any flag',
  'resources/flag_de_DE.txt': 'German flag',
  'locale/de_DE/messages.po': `msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Welcome, %s"
msgstr "Willkommen, %s"

msgid "one guest"
msgid_plural "%d guests"
msgstr[0] "ein Gast"
msgstr[1] "%d Gäste"

msgid "guests.visits"
msgstr "gefragt"

msgid "guest"
msgstr "Gast"
`,
  'server/data.js': exported(
    'index',
    `function (environment, callback, context, request) {
      const session = request.session
      session.set('visits', (session.get('visits') || 0) + 1)
      setTimeout(() => callback(null, {
        name: request.query.name || 'you',
        guests: session.get('guests') || [],
        visits: session.get('visits'),
      }), 1)
    }`,
  ),
  'server/authorization.js': exported('secret', 'function (context) { return context.user.id === "friend" }'),
  'server/controller/entries.js': [
    exported(
      'post',
      `function (request, response) {
        const guests = (request.session.get('guests') || []).concat(request.body.guest)
        request.session.set('guests', guests)
        response.writeHead(201, { 'Content-Type': 'application/json' })
        response.end(JSON.stringify({ guests, said: t('guest') }))
      }`,
    ),
    exported(
      'add',
      "function (context, acknowledge) { acknowledge(null, { added: context.guest, said: t('guest') }) }",
    ),
    exported('wipe', 'function (context, acknowledge) { acknowledge() }'),
  ].join('\n'),
  'server/websockets/board.js': [
    exported('channel', "'board'"),
    exported(
      'handle',
      `function (socket) {
        socket.emit('hello', t('Welcome, %s', ['socket']), socket.session.get('visits'))
        socket.on('visit', function () {
          socket.session.set('visits', 100)
          return t('guest')
        })
        socket.on('crash', function () { process.exit(7) })
      }`,
    ),
  ].join('\n'),
})

/** What is put around others, in its two ways. */
const frame: Files = {
  'meta.json': JSON.stringify({
    id: 'frame',
    version: '1.0',
    type: 'container',
    views: { index: {}, entry: {}, columns: {} },
  }),
  'client/templates/index.html': '<section class="{{kind}}">{{content}}</section>',
  'client/templates/entry.html': 'around',
  'client/templates/columns.html': '{{#each columns}}<div class="column {{column}}">{{content}}</div>{{/each}}',
  'server/data.js': `exports.columns = (environment, callback, context) =>
    callback(null, { columns: context.items.sort((a, b) => a.column - b.column) })`,
}

const cjs = (name: string, value: string): string => `exports.${name} = ${value}`
const esm = (name: string, value: string): string => `export const ${name} = ${value}`

let cloud: TestCloud
let rest: Rest
beforeAll(async () => {
  cloud = await startCloud()
  rest = restOf(cloud.state().api, cloud.state().tokens.admin)
})
afterAll(async () => {
  await cloud.close()
})

async function runs(files: Files): Promise<void> {
  const { id } = JSON.parse(files['meta.json']!) as { id: string }
  const deployed = await rest('POST', '/webcomponent', await aPackage(files))
  expect([deployed.status, deployed.text]).toEqual([201, expect.stringContaining(id)])
  const started = await rest('POST', `/webcomponent/${id}/1.0?wait=wired`)
  expect([started.status, started.body['phase']]).toEqual([201, 'running'])
  await waitUntil(`${id} is shown`, async () => (await fetch(`${cloud.state().pages}/${id}/entry`)).status === 200)
}

interface Seen {
  readonly status: number
  readonly text: string
}

/** A browser that prefers German, with its cookies; by HAProxy, or by the rain server that is named. */
class Visitor {
  readonly #cookies = new Map<string, string>()

  get headers(): Record<string, string> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    return { cookie, 'accept-language': 'de-DE,de;q=0.9,en;q=0.5' }
  }

  async ask(path: string, init: RequestInit = {}, at = cloud.state().pages): Promise<Seen> {
    const accept = { accept: 'text/html' }
    const headers = { ...accept, ...this.headers, ...(init.headers as Record<string, string>) }
    const reply = await fetch(at + path, { ...init, headers, redirect: 'manual' })
    for (const each of reply.headers.getSetCookie()) {
      expect(each.toLowerCase()).toContain('httponly')
      expect(each).toContain('SameSite=Lax')
      const [name = '', value = ''] = each.split(';', 1)[0]!.split(/=(.*)/s)
      this.#cookies.set(name, value)
    }
    return { status: reply.status, text: await reply.text() }
  }

  intent(intent: object): Promise<Seen> {
    const body = JSON.stringify(intent)
    return this.ask('/core/controller/intents', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body,
    })
  }

  async socket(path: string): Promise<BrowserSocket> {
    const browser = await BrowserSocket.open(cloud.state().pages.replace(/^http/, 'ws') + path, this.headers)
    if (typeof browser === 'number') throw new Error(`refused: ${browser}`)
    await waitUntil('it is greeted', () => browser.told.length > 0)
    return browser
  }
}

const visits = ({ text }: Seen): number => Number(/gefragt: (\d+)/.exec(text)?.[1])

describe.each([
  ['CommonJS', 'guestbook', cjs],
  ['ES modules', 'modernbook', esm],
])('a component of RAIN 0.34, in %s', (_name, id, exported) => {
  const visitor = new Visitor()
  beforeAll(async () => {
    if (id === 'guestbook') await runs(frame)
    await runs(guestbook(id, exported))
  })

  it('shows its views in the language of who looks, and leaves out what that one may not see', async () => {
    const page = await visitor.ask(`/${id}/index?name=Ada`)
    expect(page.status).toBe(200)
    expect(page.text).toContain('<h1>Willkommen, Ada</h1>')
    expect(page.text).toContain('0 Gäste, gefragt: 1')
    expect(page.text).toContain('<html lang="de-DE">')
    expect(page.text).toContain('<title>Guests</title>')
    expect(page.text).toContain(`<link rel="stylesheet" href="/${id}/1.0/css/index.css">`)
    expect(page.text).not.toContain('unused.css')
    expect(page.text).not.toMatch(/for admins|for friends/)
    expect(page.text.match(/data-rain-status="401"/g)).toHaveLength(2)
    const bare = page.text.replace(/<div (id|data-rain)[^>]*>|<\/div>/g, '').replace(/\s+/g, ' ')
    expect(bare).toContain('<section class="wide"><p>by Ada <li>Zoe (Gast)</li></p></section>')
    expect(bare).toMatch(/<div class="column 1">\s*<li>Yan \(Gast\)<\/li>\s*<div class="column 2">right/)
    const flag = await visitor.ask(/src="([^"]+)"/.exec(page.text.slice(page.text.indexOf('<img')))![1]!)
    expect(flag.text).toBe('German flag')
  })

  it('answers by its controllers, and keeps a session that every rain server knows', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const posted = await visitor.ask(`/${id}/controller/index`, {
      method: 'POST',
      headers: form,
      body: 'guest=%3CBob%3E',
    })
    expect([posted.status, JSON.parse(posted.text)]).toEqual([201, { guests: ['<Bob>'], said: 'Gast' }])
    let seen = 1
    for (const { url } of cloud.state().rainServers) {
      const page = await visitor.ask(`/${id}`, {}, url)
      expect([page.status, visits(page)]).toEqual([200, ++seen])
      expect(page.text).toContain('ein Gast')
      expect(page.text).toContain('<li>&lt;Bob&gt; (Gast)</li>')
    }
    expect(visits(await new Visitor().ask(`/${id}`))).toBe(1)
  })

  it('answers intents by a view and by code, and refuses who may not', async () => {
    const category = 'com.example.guests'
    const component = id
    const view = await visitor.intent({ category, action: 'SHOW_ENTRY', context: { guest: 'Eve' }, component })
    expect([view.status, JSON.parse(view.text)]).toEqual([
      200,
      expect.objectContaining({
        kind: 'view',
        component: id,
        view: 'entry',
        html: expect.stringContaining('Eve (Gast)'),
      }),
    ])
    const code = await visitor.intent({ category, action: 'ADD_ENTRY', context: { guest: 'Eve' }, component })
    expect([code.status, JSON.parse(code.text)]).toEqual([
      200,
      { kind: 'server', component: id, version: '1.0', data: { added: 'Eve', said: 'Gast' } },
    ])
    expect((await visitor.intent({ category, action: 'WIPE', component })).status).toBe(401)
    expect((await visitor.intent({ category, action: 'NEVER' })).status).toBe(404)
  })

  it('has websockets, with the session, which is told anew when their process ends or their instance is refreshed', async () => {
    const before = visits(await visitor.ask(`/${id}`))
    const socket = await visitor.socket(`/${id}/websockets/board`)
    expect(socket.told[0]).toEqual({ event: 'hello', args: ['Willkommen, socket', before] })
    socket.ask(1, 'visit')
    await waitUntil('it answers', () => socket.answerTo(1) !== undefined)
    expect(socket.answerTo(1)).toEqual([null, 'Gast'])
    await waitUntil('the next page knows', async () => visits(await visitor.ask(`/${id}`)) > 100)

    socket.say('crash')
    await waitUntil('it is closed', () => socket.closed !== undefined)
    expect(socket.closed).toMatch(/^1012 /)
    let again: BrowserSocket | undefined
    await waitUntil('it is open again', async () => {
      again = await visitor.socket(`/${id}/websockets/board`).catch(() => undefined)
      return again !== undefined
    })
    expect((await rest('PUT', `/webcomponent/${id}/1.0`)).status).toBe(202)
    await waitUntil('the refresh closes it', () => again?.closed !== undefined)
    expect(again?.closed).toMatch(/^1012 /)
  })
})

describe('two components that answer to one intent', () => {
  it('are both named, and answer when they are asked for', async () => {
    const visitor = new Visitor()
    const greet = { category: 'com.example.shared', action: 'GREET', context: { guest: 'Zoe' } }
    const both = await visitor.intent(greet)
    expect([both.status, JSON.parse(both.text)]).toEqual([
      409,
      { error: expect.any(String), components: ['guestbook', 'modernbook'] },
    ])
    const one = await visitor.intent({ ...greet, component: 'modernbook' })
    expect([one.status, one.text]).toEqual([200, expect.stringContaining('Zoe')])
  })
})

describe('a package that breaks the contract', () => {
  it('is refused with the file, and the line or the place', async () => {
    const files = guestbook('broken', cjs)
    const wrong = { category: 'c', action: 'a', provider: 'gone.js#never' }
    const answer = await rest(
      'POST',
      '/webcomponent',
      await aPackage({
        ...files,
        'meta.json': JSON.stringify({ ...meta, id: 'broken', intents: [wrong] }),
        'locale/de_DE/messages.po': 'msgid "a"\nmsgstr "b"\n\nmsgid "c\n',
      }),
    )
    expect(answer.status).toBe(422)
    expect(answer.text).toContain('locale/de_DE/messages.po:4: a string that does not end')
    expect(answer.text).toContain('server/controller/gone.js is missing')
  })
})
