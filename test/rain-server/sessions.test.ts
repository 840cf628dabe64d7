/** Sessions: sealed, in one rain server's memory, and from a browser over two rain servers to real components. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { WantedComponent } from '../../src/protocol/messages.js'
import { seal, unseal } from '../../src/rain-server/sealed.js'
import { Sessions } from '../../src/rain-server/sessions.js'
import { BrowserSocket } from '../support/browser-socket.js'
import { waitUntil } from '../support/etcd.js'
import { TestLog } from '../support/logs.js'
import { testClock } from '../support/plain-store.js'
import { type Hosting, RealMotherships } from '../support/real-motherships.js'
import { aVersion, type Reply, SmallCloud } from '../support/small-cloud.js'

const aKey = (): string => randomBytes(32).toString('base64')
const id = 'a'.repeat(32)
const session = { seq: 3, language: 'de', own: { shop: { n: 1 } } }
const [key, older] = [aKey(), aKey()]

describe('a sealed session', () => {
  it('is opened by whoever has its key, for its own id only, and for some time', () => {
    const sealed = seal(session, id, older, 1_000)!
    expect(unseal(sealed, id, [key, older], 2_000)).toEqual(session)
    expect(unseal(sealed, 'b'.repeat(32), [key, older], 2_000)).toBeUndefined()
    expect(unseal(sealed, id, [key], 2_000)).toBeUndefined()
    expect(unseal(sealed, id, [older], 1_000 + 31 * 24 * 3_600_000)).toBeUndefined()
    expect(sealed).not.toContain(Buffer.from('shop').toString('base64url').slice(0, 4))
  })

  it('is nothing when a single character of it is another one', () => {
    const sealed = seal(session, id, key, 1_000)!
    for (let at = 0; at < sealed.length; at += 7) {
      const other = sealed[at] === 'A' ? 'B' : 'A'
      const forged = sealed.slice(0, at) + other + sealed.slice(at + 1)
      expect([at, unseal(forged, id, [key], 2_000)]).toEqual([at, undefined])
    }
    for (const nothing of ['', 'x', 'x'.repeat(5_000), sealed.slice(4)]) {
      expect(unseal(nothing, id, [key], 2_000)).toBeUndefined()
    }
  })

  it('is refused when it is more than a cookie holds', () => {
    expect(seal({ seq: 1, own: { shop: { text: 'x'.repeat(3_000) } } }, id, key, 0)).toBeUndefined()
    expect(seal({ seq: 1, own: { shop: { text: 'x'.repeat(2_500) } } }, id, key, 0)?.length).toBeLessThan(3_900)
  })
})

describe('sessions', () => {
  const set = (name: string, value: unknown): { set: Record<string, unknown>; removed: string[] } => ({
    set: { [name]: value },
    removed: [],
  })
  const cookieOf = ([cookie = '']: string[]): string => cookie.split(';', 1)[0]!

  it('lose no change of requests that run side by side, and tell the browser once', () => {
    const sessions = new Sessions(testClock, new TestLog())
    const [one, two] = [sessions.open(id, '', [key]), sessions.open(id, '', [key])]
    one.change('shop', set('a', 1))
    two.change('shop', set('b', 2))
    two.change('cart', set('c', 3))
    expect([one.of('shop'), one.of('cart'), one.of('news')]).toEqual([{ a: 1, b: 2 }, { c: 3 }, {}])

    const cookie = cookieOf(two.cookies())
    const again = sessions.open(id, cookie, [key])
    expect([again.of('shop'), again.cookies()]).toEqual([{ a: 1, b: 2 }, []])
    const elsewhere = new Sessions(testClock, new TestLog()).open(id, `other=1; ${cookie}`, [older, key])
    expect([elsewhere.of('shop'), elsewhere.cookies()]).toEqual([{ a: 1, b: 2 }, []])
  })

  it('bring an old cookie up, when more is known here', () => {
    const sessions = new Sessions(testClock, new TestLog())
    const first = sessions.open(id, '', [key])
    first.change('shop', set('a', 1))
    const old = cookieOf(first.cookies())
    first.change('shop', { set: {}, removed: ['a'], language: 'de' })
    const late = sessions.open(id, old, [key])
    expect([late.of('shop'), late.language, late.cookies().length]).toEqual([{}, 'de', 1])
  })

  it('keep what fits, and say what does not', () => {
    const log = new TestLog()
    const sessions = new Sessions(testClock, log)
    const held = sessions.open(id, '', [key])
    held.change('shop', set('a', 'x'.repeat(1_900)))
    held.change('cart', set('b', 'x'.repeat(1_900)))
    expect([Object.keys(held.of('shop')), held.of('cart')]).toEqual([['a'], {}])
    expect(held.cookies()[0]!.length).toBeLessThan(4_096)
    const inMemory = new Sessions(testClock, log).open(id, '', [])
    inMemory.change('shop', set('a', 'x'.repeat(2_100)))
    expect(inMemory.of('shop')).toEqual({})
  })
})

const counter = {
  'meta.json': JSON.stringify({ id: 'counter', version: '1.0', useSession: true, views: { index: {} } }),
  'client/templates/index.html': '{{n}} {{t "times"}}',
  'locale/de/a.po': 'msgid "times"\nmsgstr "mal"',
  'server/data.js': `exports.index = (environment, callback, context, { session }) => {
    session.set('n', (session.get('n') || 0) + 1)
    callback(null, { n: session.get('n') })
  }`,
  'server/controller/speak.js': `exports.post = (request, response) => {
    request.globalSession.set('userLanguage', 'de')
    response.end(String(request.session.get('n')))
  }`,
  'server/websockets/jump.js': `
    exports.channel = 'jump'
    exports.handle = socket => {
      socket.on('jump', by => { const n = (socket.session.get('n') || 0) + by; socket.session.set('n', n); return n })
    }`,
}
const spy = {
  'meta.json': JSON.stringify({ id: 'spy', version: '1.0', useSession: true, views: { index: {} } }),
  'client/templates/index.html': 'spy sees {{n}}',
  'server/data.js': "exports.index = (_, callback, context, { session }) => callback(null, { n: session.get('n') })",
}

let motherships: RealMotherships
let hosting: Hosting
const clouds: SmallCloud[] = []

const version = (name: string): WantedComponent => aVersion(name, ['m3'], { useSession: true })
beforeAll(async () => {
  motherships = new RealMotherships({ counter, spy })
  hosting = await motherships.start('m3', ['counter', 'spy'])
  for (let i = 0; i < 2; i++) {
    const cloud = await SmallCloud.start()
    clouds.push(cloud)
    const server = {
      urls: ['/*'],
      generation: 0,
      fragmentDeadlineMs: 8_000,
      pageDeadlineMs: 9_000,
      errorComponent: null,
    }
    cloud.replica.want({
      server: { ...server, sessionKeys: [key], languages: { default: 'en_US', offered: [] } },
      'components/counter/1.0.0': version('counter'),
      'components/spy/1.0.0': version('spy'),
      'wires/m3': hosting.wire,
    })
    await waitUntil('it shows', async () => (await cloud.ask('/spy')).status === 200)
  }
})
afterAll(async () => {
  await Promise.all(clouds.map(each => each.stop()))
  await motherships.stop()
})

/** Keeps cookies as a browser does. */
class Visitor {
  readonly #cookies = new Map<string, string>()

  get cookie(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  async ask(at: number, path: string, method = 'GET'): Promise<Reply> {
    const reply = await clouds[at]!.ask(path, { method, headers: { accept: 'text/html', cookie: this.cookie } })
    for (const each of reply.headers['set-cookie'] ?? []) {
      expect(each).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/)
      const [name = '', value = ''] = each.split(';', 1)[0]!.split(/=(.*)/s)
      this.#cookies.set(name, value)
    }
    return reply
  }

  async count(at: number): Promise<string> {
    return /(\d+ (?:times|mal))/.exec((await this.ask(at, '/counter')).body)?.[1] ?? ''
  }
}

describe('a visitor', () => {
  it('has one session at all rain servers, and each component its own part of it', async () => {
    const visitor = new Visitor()
    expect([await visitor.count(0), await visitor.count(1), await visitor.count(0)]).toEqual([
      '1 times',
      '2 times',
      '3 times',
    ])
    expect((await visitor.ask(1, '/spy')).body).toContain('spy sees <')
    expect(await new Visitor().count(0)).toBe('1 times')
  })

  it('has it in controllers, which may choose the language of all pages', async () => {
    const visitor = new Visitor()
    await visitor.count(0)
    expect((await visitor.ask(1, '/counter/controller/speak', 'POST')).body).toBe('1')
    expect(await visitor.count(0)).toBe('2 mal')
  })

  it('has what a websocket put into it, from the next page on', async () => {
    const visitor = new Visitor()
    await visitor.count(0)
    const url = `ws://127.0.0.1:${clouds[0]!.server.port}/counter/websockets/jump`
    const browser = await BrowserSocket.open(url, { cookie: visitor.cookie })
    if (typeof browser === 'number') throw new Error(`refused: ${browser}`)
    browser.ask(1, 'jump', 10)
    await waitUntil('it jumped', () => browser.answerTo(1) !== undefined)
    expect(browser.answerTo(1)).toEqual([null, 11])
    browser.socket.terminate()
    expect([await visitor.count(0), await visitor.count(1)]).toEqual(['12 times', '13 times'])
  })

  it('begins anew with a session that is not its own', async () => {
    const [ada, bob] = [new Visitor(), new Visitor()]
    await ada.count(0)
    await ada.count(0)
    await bob.count(0)
    const stolen = /rain-session=([^;]+)/.exec(ada.cookie)![1]
    const cookie = bob.cookie.replace(/rain-session=[^;]+/, `rain-session=${stolen}`)
    const reply = await clouds[1]!.ask('/counter', { headers: { accept: 'text/html', cookie } })
    expect(reply.body).toContain('1 times')
  })
})
