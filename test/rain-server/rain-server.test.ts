import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { shown } from '../support/fake-mothership.js'
import { aVersion, bare, type Reply, SmallCloud } from '../support/small-cloud.js'

const statusOf = async (reply: Promise<Reply>): Promise<number> => (await reply).status

describe('a request', () => {
  let cloud: SmallCloud
  beforeAll(async () => {
    cloud = await SmallCloud.start()
  })
  afterAll(() => cloud.stop())
  beforeEach(async () => {
    cloud.forget()
    await cloud.want({
      components: [
        aVersion('shop', ['m1'], { views: ['index', 'item'] }),
        aVersion('shop', ['m1'], {
          version: '1.10.0',
          exact: '1.10',
          copies: [{ instance: 'shop.new', mothership: 'm1', epoch: 1 }],
        }),
      ],
    })
    cloud.m1.views.set('shop.m1/index', () => shown('old'))
    cloud.m1.views.set('shop.m1/item', () => shown('item'))
    cloud.m1.views.set('shop.new/index', () => shown('new'))
  })

  it('is answered by the version and view of its path', async () => {
    expect(bare(await cloud.ask('/shop'))).toBe('[new]')
    expect(bare(await cloud.ask('/shop/1'))).toBe('[new]')
    expect(bare(await cloud.ask('/shop/1.0/'))).toBe('[old]')
    expect(bare(await cloud.ask('/shop/1.0.0/item?x=1'))).toBe('[item]')
  })

  it.each([
    ['GET', '/ghost', 404],
    ['GET', '/shop/../shop/index', 404],
    ['GET', '/shop/css/../../server/data.js', 404],
    ['GET', '/shop/%', 400],
    ['GET', '/', 404],
    ['POST', '/ghost', 404],
    ['PROPFIND', '/shop', 501],
    ['TRACE', '/shop', 501],
    ['RAIN', '/shop', 501],
  ])('%s %s is answered with %i', async (method, path, status) => {
    expect(await statusOf(cloud.ask(path, { method }))).toBe(status)
    expect(cloud.m1.asked).toEqual([])
  })

  it('with a path that is too long is refused', async () => {
    expect(await statusOf(cloud.ask(`/shop?${'x'.repeat(9000)}`))).toBe(400)
    expect(await statusOf(cloud.ask(`/shop?${'x'.repeat(20_000)}`))).toBe(431)
    expect(cloud.m1.asked).toEqual([])
  })

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    '%s of a view or file is told what is allowed',
    async method => {
      for (const path of ['/shop', '/shop/1.0/item', '/shop/css/a.css']) {
        const { status, headers } = await cloud.ask(path, { method })
        expect([path, status, headers.allow]).toEqual([path, 405, 'GET, HEAD'])
      }
      expect([cloud.m1.asked, cloud.m1.calls]).toEqual([[], []])
    },
  )

  it('HEAD has the headers of GET, and no body', async () => {
    const headers = { accept: 'text/html', cookie: `rain-sid=${'a'.repeat(32)}` }
    const [head, get] = [await cloud.ask('/shop', { method: 'HEAD', headers }), await cloud.ask('/shop', { headers })]
    const without = ({ date: _date, ...others }: Reply['headers']): object => others

    expect([head.status, head.body]).toEqual([200, ''])
    expect(without(head.headers)).toEqual(without(get.headers))
    expect(Number(head.headers['content-length'])).toBe(Buffer.byteLength(get.body))
    const missing = await cloud.ask('/ghost', { method: 'HEAD' })
    expect([missing.status, missing.body]).toEqual([404, ''])
  })

  it.each([
    ['nowhere', '/ghost', 404],
    ['to a view that fails', '/shop/1.0/item', 500],
  ])('that leads %s is answered with a page only to who accepts one', async (_name, path, status) => {
    cloud.m1.views.set('shop.m1/item', () => ({ status: 500, reason: 'no database' }))
    for (const accept of ['text/html', 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8']) {
      const page = await cloud.ask(path, { headers: { accept } })
      expect([page.status, page.headers['content-type']]).toEqual([status, 'text/html; charset=utf-8'])
      expect(page.body).toContain('<!DOCTYPE html>')
    }
    for (const headers of [{}, { accept: 'application/json' }, { accept: '*/*' }]) {
      const bodiless = await cloud.ask(path, { headers })
      expect([bodiless.status, bodiless.body, bodiless.headers['content-length']]).toEqual([status, '', '0'])
      expect(bodiless.headers['cache-control']).toBe('no-store')
    }
  })

  it('of a file is answered as the mothership says, with its tag', async () => {
    const headers = { etag: '"1"', 'content-type': 'text/css', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }
    cloud.m1.onCall = ({ request }) =>
      request?.headers['if-none-match'] === '"1"' ? { status: 304, headers } : { headers, body: Buffer.from('p{}') }
    const file = await cloud.ask('/shop/1.0/css/a%20b.css')

    expect([file.status, file.body]).toEqual([200, 'p{}'])
    expect(file.headers).toMatchObject({ ...headers, 'content-length': '3' })
    expect(cloud.m1.calls[0]).toMatchObject({
      kind: 'resource',
      component: 'shop',
      version: '1.0.0',
      path: 'css/a b.css',
    })
    const again = await cloud.ask('/shop/1.0/css/a%20b.css', { headers: { 'if-none-match': '"1"' } })
    expect([again.status, again.body, again.headers.etag]).toEqual([304, '', '"1"'])
    const head = await cloud.ask('/shop/1.0/css/a%20b.css', { method: 'HEAD' })
    expect([head.status, head.body, head.headers['content-length']]).toEqual([200, '', '3'])
  })

  it('of a part of a file is answered with that part, or with how large the file is', async () => {
    cloud.m1.onCall = ({ request }) => {
      const { range, 'if-range': tag } = request!.headers
      if (range === 'bytes=9-') return { status: 416, headers: { 'content-range': 'bytes */3' } }
      return { status: 206, headers: { 'content-range': `bytes 0-1/3`, etag: tag! }, body: Buffer.from('p{') }
    }
    const part = await cloud.ask('/shop/css/a.css', { headers: { range: 'bytes=0-1', 'if-range': '"1"' } })
    expect([part.status, part.body]).toEqual([206, 'p{'])
    expect(part.headers).toMatchObject({ 'content-range': 'bytes 0-1/3', 'content-length': '2', etag: '"1"' })
    const none = await cloud.ask('/shop/css/a.css', { headers: { range: 'bytes=9-' } })
    expect([none.status, none.headers['content-range']]).toEqual([416, 'bytes */3'])
  })

  it('of a file is asked of the next mothership when one cannot answer', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    let asked = 0
    for (const mothership of [cloud.m1, cloud.m2]) {
      mothership.onCall = () => (++asked === 1 ? { failed: 503 } : { headers: {}, body: 'run()' })
    }
    const file = await cloud.ask('/shop/js/a.js')

    expect([file.status, file.body]).toEqual([200, 'run()'])
    expect([cloud.m1.calls.length, cloud.m2.calls.length]).toEqual([1, 1])
  })

  it('of a controller goes to the copy of its session, and comes back as the component says', async () => {
    cloud.m1.onCall = () => ({
      status: 201,
      headers: { 'content-type': 'application/json', connection: 'upgrade', 'content-length': '999', location: '/x' },
      cookies: ['seen=1; Path=/', 'rain-sid=stolen', ' RAIN =other', 'rainbow=1'],
      body: Buffer.from('{"ok":true}'),
    })
    const headers = { 'content-type': 'application/json', authorization: 'Bearer x', 'accept-language': 'de-CH,de' }
    const answer = await cloud.ask('/shop/controller/cart/add?x=1', { method: 'POST', headers, body: '{"n":1}' })
    const sid = /^rain-sid=([0-9a-f]{32});/.exec(answer.headers['set-cookie']![0]!)?.[1]

    expect([answer.status, answer.body, answer.headers.location]).toEqual([201, '{"ok":true}', '/x'])
    expect(answer.headers['set-cookie']!.slice(1)).toEqual(['seen=1; Path=/', 'rainbow=1'])
    expect(answer.headers).toMatchObject({ 'content-length': '11', 'cache-control': 'no-store' })
    expect(cloud.m1.calls).toHaveLength(1)
    const { body, ...called } = cloud.m1.calls[0]!
    expect(called).toMatchObject({
      kind: 'controller',
      component: 'shop',
      instance: 'shop.new',
      path: 'cart/add',
      verb: 'POST',
      session: sid,
      locale: 'de-CH',
      request: { url: '/shop/controller/cart/add?x=1', query: { x: '1' } },
    })
    expect(called.request!.headers).toEqual({ 'content-type': 'application/json', 'accept-language': 'de-CH,de' })
    expect(Buffer.from(body as Uint8Array).toString()).toBe('{"n":1}')
    const again = await cloud.ask('/shop/controller/cart/add', { headers: { cookie: `rain-sid=${sid}` } })
    expect(again.headers['set-cookie']).toEqual(['seen=1; Path=/', 'rainbow=1'])
    expect(cloud.m1.calls[1]).toMatchObject({ session: sid, verb: 'GET' })
  })

  it.each([
    ['POST', 503, 2, 200],
    ['POST', 502, 1, 502],
    ['POST', 504, 1, 504],
    ['DELETE', 500, 1, 500],
    ['GET', 502, 2, 200],
    ['GET', 500, 1, 500],
    ['POST', 404, 1, 404],
  ])('of a controller by %s that fails with %i is asked %i times', async (method, failed, times, status) => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    let asked = 0
    for (const mothership of [cloud.m1, cloud.m2]) {
      mothership.onCall = () => (++asked === 1 ? { failed } : { headers: {}, body: 'done' })
    }

    expect(await statusOf(cloud.ask('/shop/controller/save', { method }))).toBe(status)
    expect(asked).toBe(times)
  })

  it('of a controller that fails wherever it is asked goes to three copies at most', async () => {
    const copies = Array.from({ length: 5 }, (_, each) => ({ instance: `shop.${each}`, mothership: 'm1', epoch: 1 }))
    await cloud.want({ components: [aVersion('shop', ['m1'], { copies })] })
    cloud.m1.onCall = () => ({ failed: 502 })

    expect(await statusOf(cloud.ask('/shop/controller/save'))).toBe(502)
    expect(cloud.m1.calls).toHaveLength(3)
  })

  it('of a controller that is too large is refused, whatever it says of its length', async () => {
    const body = 'x'.repeat(600_000)
    for (const headers of [{ 'content-length': String(body.length) }, { 'transfer-encoding': 'chunked' }] as const) {
      const asked = cloud.ask('/shop/controller/save', { method: 'POST', headers, body }).catch((e: Error) => e.message)
      const answer = await asked
      // The connection may be closed while the rest is still on its way.
      if (typeof answer === 'string') expect(answer).toMatch(/EPIPE|ECONNRESET|socket hang up/)
      else expect(answer.status).toBe(413)
    }
    expect(cloud.m1.calls).toEqual([])
  })

  it('of a controller whose answer is none is 502, and 503 where nobody can be asked', async () => {
    cloud.m1.onCall = () => ({ status: 100, headers: {} })
    expect(await statusOf(cloud.ask('/shop/controller/save', { method: 'POST' }))).toBe(502)
    await cloud.want({ components: [aVersion('shop', [])] })
    expect(await statusOf(cloud.ask('/shop/controller/save', { method: 'POST' }))).toBe(503)
  })

  it('of a file that is not there is answered with 404, and with 503 when nobody can tell', async () => {
    expect(await statusOf(cloud.ask('/shop/css/none.css'))).toBe(404)
    cloud.m1.onCall = () => ({ failed: 503 })
    expect(await statusOf(cloud.ask('/shop/css/none.css'))).toBe(503)
  })
})

describe('a rain server', () => {
  let cloud: SmallCloud
  beforeEach(async () => {
    cloud = await SmallCloud.start()
  })
  afterEach(() => cloud.stop())

  it('is ready when it knows what is wanted and is linked, not before', async () => {
    const before = await cloud.ask('/healthz')
    expect([before.status, before.body]).toEqual([503, 'not registered with a hypervisor yet\n'])
    expect(await statusOf(cloud.ask('/shop'))).toBe(503)
    // The map is in, the wiring is not.
    await cloud.want({ components: [aVersion('shop', ['m1'])], wires: [] })
    const unwired = await cloud.ask('/healthz')
    expect([unwired.status, unwired.body]).toEqual([503, 'not wired yet\n'])
    await cloud.want({ components: [aVersion('shop', ['m1'])] })

    expect(await statusOf(cloud.ask('/healthz'))).toBe(200)
    expect(cloud.replica.hellos[0]).toMatchObject({
      kind: 'rainserver',
      id: 'r1',
      address: 'http://127.0.0.1:1',
      urls: ['/*'],
    })
    await waitUntil('its load is reported', () => cloud.replica.loads.length > 0)
  })

  it('is not ready while no mothership answers, and is again when one does', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1'])], wires: [cloud.m1.wire()] })
    cloud.m1.views.set('shop.m1/index', () => shown('there'))
    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    await cloud.m1.close()
    await waitUntil('it is not ready', async () => (await cloud.ask('/healthz')).status === 503)

    expect((await cloud.ask('/healthz')).body).toBe('no wired mothership answers\n')
    expect(await statusOf(cloud.ask('/shop'))).toBe(503)
    await cloud.m1.listen()
    await waitUntil('it is ready', async () => (await cloud.ask('/healthz')).status === 200)
    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
  })

  it('serves nothing once it is not registered any more', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1'])] })
    cloud.replica.want({})
    await waitUntil('it is not ready', async () => (await cloud.ask('/healthz')).status === 503)

    expect(await statusOf(cloud.ask('/shop'))).toBe(503)
  })

  it('serves on with what it knows when no hypervisor is there', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1'])] })
    cloud.m1.views.set('shop.m1/index', () => shown('there'))
    await cloud.replica.close()
    await waitUntil('the session is lost', () => cloud.log.said.includes('no session: trying another replica'))

    expect(await statusOf(cloud.ask('/healthz'))).toBe(200)
    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    cloud.m1.cut()
    await waitUntil('the link is back', async () => bare(await cloud.ask('/shop')) === '[there]')
    expect(cloud.m1.tickets).toHaveLength(2)
  })

  it('opens links with the ticket of each wire, keeps them, and uses a new ticket for the next one', async () => {
    const components = [aVersion('shop', ['m1'])]
    await cloud.want({ components })
    await cloud.want({ components, wires: [cloud.m1.wire('newer')] })
    expect([cloud.m1.tickets, cloud.m2.tickets]).toEqual([['Bearer ticket-for-m1'], ['Bearer ticket-for-m2']])
    cloud.m1.cut()
    await waitUntil('the link is back', () => cloud.m1.tickets.length === 2)

    expect(cloud.m1.tickets).toEqual(['Bearer ticket-for-m1', 'Bearer newer'])
  })

  it('follows a mothership to another address', async () => {
    const components = [aVersion('shop', ['m1'])]
    await cloud.want({ components })
    cloud.m2.views.set('shop.m1/index', () => shown('moved'))
    await cloud.want({ components, wires: [cloud.m2.wire()] })
    cloud.replica.want({
      server: someServer,
      'components/shop/1.0.0': components[0],
      'wires/m1': { ...cloud.m2.wire(), mothership: 'm1' },
    })

    await waitUntil('it is there', async () => bare(await cloud.ask('/shop')) === '[moved]')
  })

  it('keeps its links when it stood still for a while', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    for (const { id, views } of [cloud.m1, cloud.m2]) views.set(`shop.${id}/index`, () => shown('there'))
    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_600)

    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    expect([cloud.m1.tickets.length, cloud.m2.tickets.length]).toEqual([1, 1])
  })

  it('leaves a mothership that has become silent, and comes back to it', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])], server: { fragmentDeadlineMs: 500 } })
    for (const { id, views } of [cloud.m1, cloud.m2]) views.set(`shop.${id}/index`, () => shown(id))
    const silent = [...cloud.m1.links]
    for (const socket of silent) socket.pause()
    await waitUntil('another link is opened', () => cloud.m1.tickets.length === 2)

    for (const socket of silent) socket.terminate()
    await waitUntil('every page is whole', async () => (await cloud.ask('/shop')).status === 200)
  })

  it('closes every link and opens it anew when its wiring is reset', async () => {
    const components = [aVersion('shop', ['m1'])]
    await cloud.want({ components })
    await cloud.want({ components, server: { generation: 1 } })
    await waitUntil('both links are new', () => cloud.m1.tickets.length === 2 && cloud.m2.tickets.length === 2)
    await waitUntil('the old ones are gone', () => cloud.m1.links.size === 1 && cloud.m2.links.size === 1)
  })

  it('finishes a page on a wire that is taken away meanwhile', async () => {
    const components = [aVersion('shop', ['m1'])]
    await cloud.want({ components })
    let release!: () => void
    const released = new Promise<void>(resolve => (release = resolve))
    cloud.m1.views.set('shop.m1/index', () => released.then(() => shown('finished')))
    const page = cloud.ask('/shop')
    await waitUntil('it is asked for', () => cloud.m1.asked.length === 1)
    const revision = cloud.replica.want({ server: someServer })
    await waitUntil('it is applied', () => cloud.replica.applied.some(each => each.o[1] === revision))
    release()

    expect(bare(await page)).toBe('[finished]')
    await waitUntil('the link is gone', () => cloud.m1.links.size === 0)
  })

  it('tells what it cannot read of a wanted state, and applies the rest', async () => {
    cloud.replica.want({ server: someServer, 'wires/m9': { mothership: 'm9' }, 'components/x': 1, later: {} })
    await waitUntil('it is applied', () => cloud.replica.applied.length === 1)

    expect(cloud.replica.applied[0]?.refused?.map(each => each.key)).toEqual(['wires/m9', 'components/x', 'later'])
    expect(await statusOf(cloud.ask('/healthz'))).toBe(200)
  })

  it('says that it is going, and serves what still comes, before it stops', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1'])] })
    let release!: () => void
    const released = new Promise<void>(resolve => (release = resolve))
    cloud.m1.views.set('shop.m1/index', () => released.then(() => shown('last')))
    const page = cloud.ask('/shop')
    await waitUntil('it is asked for', () => cloud.m1.asked.length === 1)
    const stopped = cloud.server.stop()
    const health = await cloud.ask('/healthz')
    expect([health.status, health.body]).toEqual([503, 'stopping\n'])
    const another = cloud.ask('/shop')
    await waitUntil('the other is asked for', () => cloud.m1.asked.length === 2)
    release()

    expect([bare(await page), bare(await another)]).toEqual(['[last]', '[last]'])
    await stopped
    await expect(cloud.ask('/healthz')).rejects.toThrow('ECONNREFUSED')
    await waitUntil('the links are gone', () => cloud.m1.links.size === 0 && cloud.m2.links.size === 0)
  })
})

const someServer = {
  urls: ['/*'],
  generation: 0,
  fragmentDeadlineMs: 10_000,
  pageDeadlineMs: 15_000,
  errorComponent: null,
}
