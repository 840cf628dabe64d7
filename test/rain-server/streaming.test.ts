/** Pages on their way: what is there goes at once, what is late follows in order, and nobody waits for what nobody reads. */
import { type ClientRequest, request } from 'node:http'
import { createGunzip, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { type Outcome, shown } from '../support/fake-mothership.js'
import { aVersion, bare, SmallCloud, type Wish } from '../support/small-cloud.js'

let cloud: SmallCloud

beforeAll(async () => {
  cloud = await SmallCloud.start()
})
afterAll(() => cloud.stop())
let generation = 0
beforeEach(() => {
  cloud.forget()
  generation++
})

const want = (components: Wish['components'], server: Wish['server'] = {}): Promise<void> =>
  cloud.want({ components, server: { generation, ...server } })

/** A view that answers when it is told to. */
class Held {
  release!: (outcome: Outcome) => void
  readonly outcome = new Promise<Outcome>(resolve => (this.release = resolve))
}

interface Reading {
  readonly asked: ClientRequest
  text(): string
  headers(): Record<string, unknown>
  ended(): boolean
}

function read(path: string, headers: Record<string, string> = {}): Reading {
  let [text, ended] = ['', false]
  let got: Record<string, unknown> = {}
  const asked = request(
    { host: '127.0.0.1', port: cloud.server.port, path, headers: { accept: 'text/html', ...headers }, agent: false },
    response => {
      got = { ...response.headers, status: response.statusCode }
      const plain = response.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response
      plain.on('data', part => (text += String(part)))
      plain.on('error', () => undefined)
      plain.on('end', () => (ended = true))
    },
  )
  asked.on('error', () => undefined)
  asked.end()
  return { asked, text: () => text, headers: () => got, ended: () => ended }
}

const children = ['a', 'b', 'c'].map(view => ({ component: 'item', view }))
const item = (more = {}) => aVersion('item', ['m2'], { views: ['a', 'b', 'c'], ...more })

describe('a page of which a part is late', () => {
  it('sends its head and all that is there before it, the rest when it comes, and each style sheet once', async () => {
    await want([aVersion('shop', ['m1']), item()])
    const [b, c] = [new Held(), new Held()]
    cloud.m1.views.set('shop.m1/index', () => shown('1§2§3§4', children, { css: ['/shop.css'], title: 'Shop' }))
    cloud.m2.views.set('item.m2/a', () => shown('A', [], { css: ['/a.css'] }))
    cloud.m2.views.set('item.m2/b', () => b.outcome)
    cloud.m2.views.set('item.m2/c', () => c.outcome)
    const reading = read('/shop')
    await waitUntil('what is there has come', () => reading.text().endsWith('A</div>2'))
    expect(reading.text()).toContain('<title>Shop</title>\n<link rel="stylesheet" href="/shop.css">\n')
    expect(reading.headers()).toMatchObject({
      status: 200,
      'cache-control': 'no-store',
      'transfer-encoding': 'chunked',
    })
    // The last one is ready, and waits for its turn.
    c.release(shown('C', [], { css: ['/c.css', '/a.css'] }))
    b.release(shown('B', [], { css: ['/b.css'] }))
    await waitUntil('it is whole', () => reading.ended())
    expect(reading.text()).toMatch(
      /2<link [^>]*"\/b\.css">\n<div [^>]*>B<\/div>3<link [^>]*"\/c\.css">\n<div [^>]*>C<\/div>4/,
    )
    expect(reading.text().match(/\/a\.css/g)).toHaveLength(1)

    // The second time the head knows what comes.
    const again = await cloud.ask('/shop')
    expect([...again.body.matchAll(/href="(.*?)"/g)].map(each => each[1])).toEqual([
      '/shop.css',
      '/a.css',
      '/b.css',
      '/c.css',
    ])
    expect(again.body.indexOf('/c.css')).toBeLessThan(again.body.indexOf('</head>'))
  })

  it('comes through as it is made when it is packed', async () => {
    await want([aVersion('shop', ['m1']), item()])
    const b = new Held()
    cloud.m1.views.set('shop.m1/index', () => shown('1§2', [children[1]!]))
    cloud.m2.views.set('item.m2/b', () => b.outcome)
    const reading = read('/shop', { 'accept-encoding': 'gzip' })
    await waitUntil('what is there has come', () => reading.text().endsWith('>1'))
    expect(reading.headers()).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' })
    b.release(shown('B'))
    await waitUntil('it is whole', () => reading.ended())
    expect(reading.text()).toMatch(/>B<\/div>2<\/div>\n<\/body>\n<\/html>\n$/)
  })

  it('does not begin before what it cannot do without is there', async () => {
    await want([aVersion('shop', ['m1']), item({ terms: { b: { required: true } } })])
    const b = new Held()
    cloud.m1.views.set('shop.m1/index', () => shown('§', [children[1]!]))
    cloud.m2.views.set('item.m2/b', () => b.outcome)
    const reading = read('/shop')
    await waitUntil('it is asked', () => cloud.m2.asked.length === 1)
    b.release({ status: 404, reason: 'no such item' })
    await waitUntil('it is answered', () => reading.ended())
    expect(reading.headers()['status']).toBe(404)
  })

  it('waits for what may change the session, so that its cookie goes with it', async () => {
    await want([aVersion('shop', ['m1']), item({ useSession: true })], {
      sessionKeys: [Buffer.alloc(32, 1).toString('base64')],
    })
    cloud.m1.views.set('shop.m1/index', () => shown('§', [children[0]!]))
    cloud.m2.views.set('item.m2/a', async () => {
      await new Promise(resolve => setTimeout(resolve, 30))
      return shown('A', [], { sessionChange: { set: { seen: 1 }, removed: [] } })
    })
    const { headers } = await cloud.ask('/shop')
    expect(headers['set-cookie']?.map(each => each.split('=')[0])).toEqual(['rain-sid', 'rain-session'])
  })

  it('stops being made when nobody reads it any more', async () => {
    await want([aVersion('shop', ['m1']), item()])
    cloud.m1.views.set('shop.m1/index', () => shown('§', [children[0]!]))
    cloud.m2.views.set('item.m2/a', () => undefined)
    const reading = read('/shop')
    await waitUntil('it is asked', () => cloud.m2.asked.length === 1)
    reading.asked.destroy()
    await waitUntil('it is cancelled', () => cloud.m2.cancelled.includes(cloud.m2.asked[0]!.r))
  })
})

/** What browsers say when they go to a page. */
const browser = { 'sec-fetch-dest': 'document' }

describe('what is late', () => {
  it('holds up nothing that is there beyond it, and comes last, for browsers; for others it is waited for', async () => {
    await want([aVersion('shop', ['m1']), item()])
    const held = [new Held(), new Held()]
    let asked = 0
    cloud.m1.views.set('shop.m1/index', () => shown('1§2§3', children.slice(1)))
    cloud.m2.views.set('item.m2/b', () => held[asked++]!.outcome)
    cloud.m2.views.set('item.m2/c', () => shown('C', [], { css: ['/c.css'] }))
    const [one, other] = [read('/shop', browser), read('/shop')]
    await waitUntil('all but it is there', () => one.text().endsWith('3</div>'))
    expect(one.text()).toMatch(/1<div data-rain-late="rain-late-1" hidden><\/div>2.*<div [^>]*>C<\/div>3<\/div>$/s)
    await waitUntil('the other one waits', () => other.text().endsWith('1'))
    for (const each of held) each.release(shown('B', [], { css: ['/b.css', '/c.css'] }))
    await waitUntil('both are whole', () => one.ended() && other.ended())
    expect(one.text()).toMatch(
      /<template id="rain-late-1"><link [^>]*\/b\.css">\n<div [^>]*>B<\/div><\/template><script>.*<\/html>\n$/s,
    )
    expect(other.text()).toMatch(/1.*B<\/div>2.*C<\/div>3<\/div>\n<\/body>\n<\/html>\n$/s)
    expect(other.text()).not.toContain('<template')
  })
})

describe('a placeholder', () => {
  it("stands where a template allows it, until what it stands for comes, at the page's end", async () => {
    await want([aVersion('shop', ['m1']), item(), aVersion('wait', ['m1'])], { loadingComponent: 'wait' })
    const b = new Held()
    cloud.m1.views.set('shop.m1/index', () => shown('1§2§3', [{ ...children[1]!, placeholder: true }, children[2]!]))
    cloud.m1.views.set('wait.m1/index', () => shown('<i>…</i>', [], { css: ['/wait.css'] }))
    cloud.m2.views.set('item.m2/b', () => b.outcome)
    cloud.m2.views.set('item.m2/c', () => shown('C'))
    const reading = read('/shop', browser)
    await waitUntil('all but it is there', () => reading.text().endsWith('3</div>'))
    expect(reading.text()).toMatch(
      /1<div data-rain-late="rain-late-1"><link [^>]*\/wait\.css">\n<i>…<\/i><\/div>2<div [^>]*>C<\/div>3<\/div>$/,
    )
    b.release(shown('B'))
    await waitUntil('it is whole', () => reading.ended())
    expect(reading.text()).toMatch(/<template id="rain-late-1"><div [^>]*>B<\/div><\/template><script>.*<\/html>\n$/s)
  })
})

describe('a page that is there at once', () => {
  const kept = { terms: { index: { maxAgeMs: 60_000 } } }
  const headers = { accept: 'text/html', cookie: `rain-sid=${'a'.repeat(32)}` }

  it('has a tag when all of it may be shown again, and is not sent to who has it', async () => {
    await want([aVersion('shop', ['m1'], kept), aVersion('cart', ['m1'], kept)])
    cloud.m1.views.set('shop.m1/index', () => shown('§', [{ component: 'cart' }]))
    cloud.m1.views.set('cart.m1/index', () => shown('cart'))
    // From what is kept, all of it is there at once.
    await cloud.ask('/shop', { headers })
    const page = await cloud.ask('/shop', { headers })
    expect(page.headers).toMatchObject({ 'cache-control': 'no-cache', etag: expect.stringMatching(/^W\/"/) })
    const again = await cloud.ask('/shop', { headers: { ...headers, 'if-none-match': String(page.headers.etag) } })
    expect([again.status, again.body, again.headers.etag]).toEqual([304, '', page.headers.etag])
    // Who has no session yet is given one, which is nobody else's.
    expect((await cloud.ask('/shop')).headers['cache-control']).toBe('no-store')
  })

  it('may be kept by others when its url and all within it name exact versions', async () => {
    await want([aVersion('shop', ['m1'], kept), aVersion('cart', ['m1'], kept)])
    let version: string | undefined = '1.0'
    cloud.m1.views.set('shop.m1/index', ({ request }) =>
      shown(String(request?.query['n']), [{ component: 'cart', ...(version ? { version } : {}) }]),
    )
    cloud.m1.views.set('cart.m1/index', () => shown('cart'))
    const cached = async (path: string): Promise<string | undefined> => {
      await cloud.ask(path, { headers })
      return (await cloud.ask(path, { headers })).headers['cache-control']
    }
    expect(await cached('/shop/1.0/index?n=1')).toMatch(/^public, max-age=(60|59), stale-while-revalidate=(60|59)$/)
    expect(await cached('/shop/1/index?n=1')).toBe('no-cache')
    version = undefined
    expect(await cached('/shop/1.0/index?n=2')).toBe('no-cache')
  })

  it('is not shown again when any part of it may not be', async () => {
    await want([aVersion('shop', ['m1'], kept), aVersion('cart', ['m1'])])
    cloud.m1.views.set('shop.m1/index', () => shown('§', [{ component: 'cart' }]))
    cloud.m1.views.set('cart.m1/index', () => shown('cart'))
    const page = await cloud.ask('/shop', { headers })
    expect([page.headers['cache-control'], page.headers.etag]).toEqual(['no-store', undefined])
  })

  it('is packed where that is worth it', async () => {
    await want([aVersion('shop', ['m1'])])
    cloud.m1.views.set('shop.m1/index', () => shown('<p>the same</p>'.repeat(500)))
    const plain = await cloud.ask('/shop', { headers })
    const parts: Buffer[] = []
    const told = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const options = { host: '127.0.0.1', port: cloud.server.port, path: '/shop', agent: false }
      request({ ...options, headers: { ...headers, 'accept-encoding': 'gzip' } }, response => {
        response.on('data', part => parts.push(part as Buffer)).on('end', () => resolve(response.headers))
      })
        .on('error', reject)
        .end()
    })
    const bytes = Buffer.concat(parts)
    expect(told).toMatchObject({ 'content-encoding': 'gzip', 'content-length': String(bytes.byteLength) })
    expect(bytes.byteLength).toBeLessThan(plain.body.length / 5)
    expect(gunzipSync(bytes).toString()).toBe(plain.body)
    expect(bare(plain)).toContain('the same')
  })
})

describe('a file', () => {
  it('of an exact version is fetched once, kept by browsers for ever, and packed', async () => {
    await want([aVersion('shop', ['m1', 'm2'])])
    const css = 'p { color: red }\n'.repeat(200)
    for (const mothership of [cloud.m1, cloud.m2]) {
      mothership.onCall = () => ({ headers: { 'content-type': 'text/css', etag: '"1"' }, body: Buffer.from(css) })
    }
    const plain = await cloud.ask('/shop/1.0/css/a.css')
    expect([plain.body, plain.headers['cache-control']]).toEqual([css, 'public, max-age=31536000, immutable'])
    const packed = await cloud.ask('/shop/1.0/css/a.css', { headers: { 'accept-encoding': 'br, gzip' } })
    expect(packed.headers).toMatchObject({ 'content-encoding': 'br', etag: 'W/"1"', vary: 'accept-encoding' })
    expect(Number(packed.headers['content-length'])).toBeLessThan(css.length / 5)
    const floating = await cloud.ask('/shop/css/a.css', { headers: { 'if-none-match': 'W/"1"' } })
    expect([floating.status, floating.headers['cache-control']]).toEqual([304, undefined])
    expect(cloud.m1.calls.length + cloud.m2.calls.length).toBe(1)
  })
})
