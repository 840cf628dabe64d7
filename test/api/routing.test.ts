/** Where urls go, by REST: the table for other balancers, and one url with the reasons. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Route, Routes } from '../../src/api/routing-schemas.js'
import { dynamicCookie, dynamicCookieKey } from '../../src/cloud/routing/cookie.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Rest } from '../support/rest.js'

let hypervisor: TestReplica
let admin: Rest
const session = 'a'.repeat(32)

async function aServer(id: string, port: number, urls: readonly string[], here = true): Promise<void> {
  const address = `http://127.0.0.1:${port}`
  await admin('POST', '/rainservers/', { id, address, urls })
  if (here) await hypervisor.replica.presence.openSession({ kind: 'rainserver', id, address })
}

beforeAll(async () => {
  hypervisor = await aHypervisor()
  admin = hypervisor.rest('admin')
  const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
  await admin('POST', '/webcomponent/', await aPackage({ 'meta.json': meta, 'client/templates/index.html': '<p></p>' }))
  for (const id of ['m1', 'm2']) await connectMothership(hypervisor, id)
  const { body } = await admin('POST', '/webcomponent/news/1.0', {
    need: { cpu: 1, ram: 1 },
    placement: { copies: 2 },
  })
  const id = String(body['id'])
  const { map } = hypervisor.replica.maps
  for (const mothership of ['m1', 'm2']) {
    const number = map.get('sessions', `mothership/${mothership}`)!.modified
    hypervisor.replica.observations.report(mothership, number, [
      { instance: id, epoch: 1, generation: 0, phase: 'running' },
    ])
  }
  await aServer('r1', 7050, ['/*'])
  await aServer('r2', 7051, ['/*', '/news/*'])
  await aServer('r3', 7052, ['/news/*'])
  await aServer('r4', 7053, ['/news/old'], false)
  await admin('PUT', '/rainservers/r3', { draining: true })
  const where = (server: string) => map.get('wiring', server)?.value.wires.length
  await waitUntil('they are wired', () => where('r1') === 2 && where('r2') === 2)
  await waitUntil('copies run', async () => {
    const { page } = await route('/news')
    return page?.copies?.length === 2
  })
})
afterAll(() => hypervisor.close())

const route = async (url: string, visitor?: string): Promise<Route> => {
  const more = visitor === undefined ? '' : `&session=${encodeURIComponent(visitor)}`
  const { status, body } = await admin('GET', `/route?url=${encodeURIComponent(url)}${more}`)
  expect(status).toBe(200)
  return body as unknown as Route
}
const cookieOf = (port: number): string => dynamicCookie(dynamicCookieKey, '127.0.0.1', port)!

describe('GET /routes', () => {
  it('has the rain servers of each pattern, the most specific one first, and the replicas', async () => {
    const { status, body, headers } = await admin('GET', '/routes')
    expect(status).toBe(200)
    const { routes, replicas, cookie } = body as unknown as Routes
    const short = routes.map(each => [
      each.pattern,
      ...each.servers.map(({ id, state, weight }) => `${id} ${state} ${weight}`),
    ])
    expect(short).toEqual([
      ['/news/old', 'r1 ready 100', 'r2 ready 100', 'r3 draining 0', 'r4 gone 100'],
      ['/news/*', 'r1 ready 100', 'r2 ready 100', 'r3 draining 0'],
      ['/*', 'r1 ready 100', 'r2 ready 100'],
    ])
    expect(routes[2]!.servers[0]).toMatchObject({ host: '127.0.0.1', port: 7050, cookie: cookieOf(7050) })
    expect(replicas.map(each => each.id)).toEqual([hypervisor.replica.id])
    expect(cookie).toMatchObject({ name: 'RAIN', key: 'rain' })
    const etag = headers.get('etag')!
    expect((await admin('GET', '/routes', undefined, { 'if-none-match': etag })).status).toBe(304)
  })

  it('waits for a change when it is asked to', async () => {
    const look = async (after: string) =>
      (await admin('GET', `/routes?block=10s&after=${after}`)).body as unknown as Routes
    const { body } = await admin('GET', '/routes')
    const waiting = look(String(body['revision']))
    await aServer('r5', 7054, ['/later'])
    // What else changed meanwhile wakes it as well.
    let seen = await waiting
    while (!seen.routes.some(each => each.pattern === '/later')) seen = await look(seen.revision)
    expect(seen.routes.map(each => each.pattern)).toEqual(['/news/old', '/later', '/news/*', '/*'])
    await admin('DELETE', '/rainservers/r5')
  })
})

describe('GET /route', () => {
  it('says which pattern decides, who may take it, and by which part', async () => {
    const found = await route('https://shop.example/news/index?x=1')
    expect(found).toMatchObject({ path: '/news/index', pattern: '/news/*', patterns: ['/news/*', '/*'], chosen: null })
    expect(found.candidates.map(each => [each.id, each.share])).toEqual([
      ['r1', 0.5],
      ['r2', 0.5],
      ['r3', 0],
    ])
    expect(found.why).toBe('one of 2, round robin by their shares')
  })

  it('knows to whom a cookie belongs, a draining one included, and says what becomes of one whose server is gone', async () => {
    expect(await route('/news', cookieOf(7051))).toMatchObject({ chosen: 'r2', why: 'the cookie RAIN is that of r2' })
    expect(await route('/news', `x=y; RAIN=${cookieOf(7052)}`)).toMatchObject({ chosen: 'r3' })
    const gone = await route('/news/old', cookieOf(7053))
    expect(gone).toMatchObject({ pattern: '/news/old', chosen: null })
    expect(gone.why).toContain('the cookie is that of r4, which has no session')
    expect((await route('/x', 'b'.repeat(16))).chosen).toBeNull()
  })

  it('says which copies the page would ask, in which order, the same for the same session', async () => {
    const of = async (visitor: string) => (await route('/news', visitor)).page
    const first = await of(`RAIN=${cookieOf(7050)}; rain-sid=${session}`)
    expect(first).toMatchObject({ kind: 'view', component: 'news', version: '1.0', view: 'index' })
    expect(first!.copies!.map(each => each.mothership).sort()).toEqual(['m1', 'm2'])
    expect(first!.copies!.every(each => each.wired && each.reachable)).toBe(true)
    expect(await of(session)).toEqual(first)
    const chosen = new Set<string>()
    for (const digit of '0123456789') chosen.add((await of(digit.repeat(32)))!.copies![0]!.mothership)
    expect(chosen.size).toBe(2)
    expect((await route('/weather', session)).page).toMatchObject({
      kind: 'none',
      reason: 'there is no component weather',
    })
  })

  it('refuses what is no path, and tells that nobody renders one', async () => {
    for (const url of ['news', '/a b', '/a\u0000']) {
      const { status, body } = await admin('GET', `/route?url=${encodeURIComponent(url)}`)
      expect([url, status, body['code']]).toEqual([url, 400, 'bad-request'])
      expect(body['errors']).toMatchObject([{ path: 'query/url' }])
    }
    expect((await admin('GET', '/route')).status).toBe(400)
    for (const id of ['r1', 'r2']) await admin('PUT', `/rainservers/${id}`, { urls: ['/elsewhere'] })
    expect(await route('/news')).toMatchObject({
      pattern: '/news/*',
      chosen: null,
      why: 'nobody: all that match are draining',
    })
    expect(await route('/nowhere')).toMatchObject({ pattern: null, candidates: [], chosen: null, page: null })
  })
})
