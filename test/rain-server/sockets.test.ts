/** Websockets of components, from a browser through a real rain server to processes of real motherships. */
import { request } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BrowserSocket } from '../support/browser-socket.js'
import { waitUntil } from '../support/etcd.js'
import { type Hosting, RealMotherships } from '../support/real-motherships.js'
import { aVersion, SmallCloud } from '../support/small-cloud.js'

const chat = {
  'meta.json': JSON.stringify({ id: 'chat', version: '1.0', views: { index: {} } }),
  'client/templates/index.html': 'chat',
  'locale/de/chat.po': 'msgid "Welcome"\nmsgstr "Willkommen"',
  'server/websockets/room.js': `
    exports.channel = 'room'
    exports.handle = socket => {
      socket.emit('hello', t('Welcome'), socket.session.id, socket.handshake.query.who, socket.environment.mothership)
      socket.on('shout', text => text.toUpperCase())
      socket.on('leave', () => { socket.disconnect() })
      socket.on('crash', () => process.exit(3))
      socket.on('lie', code => { process.send({ k: 'closed', n: Number(socket.id), code, reason: 'ü'.repeat(300) }) })
      socket.on('flood', () => { for (let i = 0; i < 2000; i++) socket.emit('drop', 'x'.repeat(10_000)) })
    }`,
}
const closed_ = {
  'meta.json': JSON.stringify({ id: 'closed', version: '1.0', permissions: ['enter'] }),
  'server/websockets/door.js': "exports.channel = 'door'; exports.handle = () => {}",
}

let cloud: SmallCloud
let motherships: RealMotherships
let m3: Hosting
let m4: Hosting
const browsers: BrowserSocket[] = []

const versions = (on: readonly string[]): ReturnType<typeof aVersion>[] => [
  aVersion('chat', on),
  aVersion('closed', ['m4'], { views: [] }),
]
const want = (on: readonly string[]): void => {
  cloud.replica.want({
    server: { urls: ['/*'], generation: 0, fragmentDeadlineMs: 8_000, pageDeadlineMs: 9_000, errorComponent: null },
    ...Object.fromEntries(versions(on).map(each => [`components/${each.id}/${each.version}`, each])),
    'wires/m3': m3.wire,
    'wires/m4': m4.wire,
  })
}

beforeAll(async () => {
  cloud = await SmallCloud.start()
  motherships = new RealMotherships({ chat, closed: closed_ })
  m3 = await motherships.start('m3', ['chat'])
  m4 = await motherships.start('m4', ['chat', 'closed'])
  want(['m3'])
  await waitUntil('chat is shown', async () => (await cloud.ask('/chat')).status === 200)
  await waitUntil('the other link is open', async () => (await open('/closed/websockets/door')) === 401)
})
afterEach(() => {
  for (const each of browsers.splice(0)) each.socket.terminate()
})
afterAll(async () => {
  await cloud.stop()
  await motherships.stop()
})

const open = (path: string, headers: Record<string, string> = {}): Promise<BrowserSocket | number> =>
  BrowserSocket.open(`ws://127.0.0.1:${cloud.server.port}${path}`, headers)

async function opened(headers: Record<string, string> = {}, path = '/chat/websockets/room'): Promise<BrowserSocket> {
  const browser = await open(path, headers)
  if (typeof browser === 'number') throw new Error(`refused: ${browser}`)
  browsers.push(browser)
  await waitUntil('it is greeted', () => browser.told.length > 0)
  return browser
}
async function socketsOpen(): Promise<number> {
  const metric = await cloud.server.registry.getSingleMetric('rain_server_sockets_open')?.get()
  return metric?.values[0]?.value ?? 0
}
const closed = (browser: BrowserSocket): Promise<void> => waitUntil('it is closed', () => browser.closed !== undefined)

describe("a component's websocket", () => {
  it('speaks with its component, in the session and language of the page', async () => {
    const cookie = `rain-sid=${'b'.repeat(32)}`
    const browser = await opened({ cookie, 'accept-language': 'de-AT' }, '/chat/1.0/websockets/room?who=Ada')
    expect(browser.told[0]).toEqual({ event: 'hello', args: ['Willkommen', 'b'.repeat(32), 'Ada', 'm3'] })
    browser.ask(1, 'shout', 'hello')
    await waitUntil('it is answered', () => browser.answerTo(1) !== undefined)
    expect(browser.answerTo(1)).toEqual([null, 'HELLO'])
    expect(browser.headers['set-cookie']).toBeUndefined()
  })

  it('begins a session where there is none', async () => {
    const browser = await opened()
    expect(browser.headers['set-cookie']).toEqual([expect.stringMatching(/^rain-sid=[0-9a-f]{32}; Path=\/; HttpOnly/)])
    const session = browser.told[0]!.args[1] as string
    expect(browser.headers['set-cookie']![0]).toContain(session)
  })

  it.each([
    ['a channel that is not there', '/chat/websockets/nowhere', {}, 404],
    ['a component that is not there', '/ghost/websockets/room', {}, 404],
    ['what is no websocket', '/chat/index', {}, 404],
    ['a page of another site', '/chat/websockets/room', { origin: 'https://evil.example' }, 403],
    ['an origin that is none', '/chat/websockets/room', { origin: 'null' }, 403],
    ['who may not', '/closed/websockets/door', {}, 401],
  ])('is refused for %s', async (_name, path, headers, status) => {
    expect(await open(path, headers)).toBe(status)
  })

  it('is taken from a page of our own', async () => {
    await opened({ origin: `http://127.0.0.1:${cloud.server.port}` })
  })

  it('is asked for by an upgrade only; another protocol that is offered is not taken', async () => {
    const plain = await cloud.ask('/chat/websockets/room')
    expect([plain.status, plain.headers.upgrade]).toEqual([426, 'websocket'])
    const offered = await new Promise<number>((resolve, reject) => {
      const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' }
      const { port } = cloud.server
      const asked = request({ host: '127.0.0.1', port, path: '/chat', headers }, response => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      asked.on('error', reject)
      asked.end()
    })
    expect(offered).toBe(200)
  })

  it('is closed by its component, for a frame that is too large, and for bytes', async () => {
    const left = await opened()
    left.say('leave')
    await closed(left)
    expect(left.closed).toBe('1000 closed by the component')
    const large = await opened()
    large.say('shout', 'x'.repeat(70_000))
    await closed(large)
    expect(large.closed).toMatch(/^1009/)
    const bytes = await opened()
    bytes.socket.send(Buffer.from('{}'))
    await closed(bytes)
    expect(bytes.closed).toMatch(/^1003/)
  })

  it.each([
    [1005, 1011],
    [1006, 1011],
    [1015, 1011],
    [2000, 1011],
    [1001, 1001],
    [4321, 4321],
  ])('is closed by a component that says %i with %i, whatever reason it gives', async (said, code) => {
    const browser = await opened()
    browser.say('lie', said)
    await closed(browser)
    expect(browser.closed).toMatch(new RegExp(`^${code} ü+`))
    expect((await cloud.ask('/chat')).status).toBe(200)
  })

  it('is closed for a browser that does not fetch what is sent, and the others go on', async () => {
    const slow = await opened()
    const other = await opened()
    slow.socket.pause()
    slow.say('flood')
    other.ask(1, 'shout', 'still here')
    await waitUntil('the other is answered', () => other.answerTo(1) !== undefined)
    await waitUntil('the slow one is let go', async () => (await socketsOpen()) === 1)
    expect(other.answerTo(1)).toEqual([null, 'STILL HERE'])
    // What it wrote in vain may have cost it its process.
    await waitUntil('it takes sockets', async () => {
      const again = await open('/chat/websockets/room')
      if (typeof again !== 'number') browsers.push(again)
      return typeof again !== 'number'
    })
  })

  it('is bounded for each session', async () => {
    const cookie = `rain-sid=${'c'.repeat(32)}`
    const many = await Promise.all(Array.from({ length: 40 }, () => open('/chat/websockets/room', { cookie })))
    for (const each of many) if (typeof each !== 'number') browsers.push(each)
    expect(many.map(each => (typeof each === 'number' ? each : 101)).sort()).toEqual([
      ...Array<number>(32).fill(101),
      ...Array<number>(8).fill(429),
    ])
    expect(typeof (await open('/chat/websockets/room'))).toBe('object')
  })

  it('is closed when the process of its component ends, and another one is opened in its place', async () => {
    const browser = await opened()
    browser.say('crash')
    await closed(browser)
    expect(browser.closed).toBe('1012 the process of the component ended')
    await waitUntil('it is open again', async () => {
      const again = await open('/chat/websockets/room')
      if (typeof again === 'number') return false
      browsers.push(again)
      return true
    })
  })

  it('is closed when its instance is refreshed, and when it moves, and finds it where it is then', async () => {
    const refreshed = await opened()
    await m3.hosts(['chat'], 1)
    await closed(refreshed)
    expect(refreshed.closed).toMatch(/^1012/)

    const moved = await opened()
    want(['m4'])
    await waitUntil('m4 is asked', async () => {
      const other = await opened()
      return other.told[0]!.args[3] === 'm4'
    })
    expect(moved.closed).toBeUndefined()
    await m3.hosts([])
    await closed(moved)
    expect(moved.closed).toBe('1012 the instance is served elsewhere now')
  })

  it('is closed when the link to its mothership goes', async () => {
    const browser = await opened()
    expect(browser.told[0]!.args[3]).toBe('m4')
    await m4.mothership.stop()
    await closed(browser)
    expect(browser.closed).toMatch(/^1012/)
    expect(await open('/chat/websockets/room')).toBe(503)
  })
})

describe('a rain server that stops', () => {
  it('takes whoever is still sent to it while it says that it goes, and closes all when it does', async () => {
    await m3.hosts(['chat'])
    want(['m3'])
    const early = await eventually()
    const stopped = cloud.server.stop()
    await waitUntil('it says so', async () => (await cloud.ask('/healthz')).status === 503)
    const late = await opened()
    await stopped
    for (const each of [early, late]) await closed(each)
    expect([early.closed, late.closed]).toEqual(['1012', '1012'])
  })

  /** Once m3 can be reached. */
  async function eventually(): Promise<BrowserSocket> {
    let found: BrowserSocket | number = 503
    await waitUntil('there is one', async () => typeof (found = await open('/chat/websockets/room')) === 'object')
    browsers.push(found as unknown as BrowserSocket)
    return found as unknown as BrowserSocket
  }
})
