/**
 * The table of the seed, every row, at two different replicas of a real cloud: before the leader is killed, and after.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { aPackage } from '../support/packages.js'
import { type Rest, restOf } from '../support/rest.js'

let cloud: TestCloud
beforeAll(async () => {
  cloud = await startCloud()
})
afterAll(async () => {
  await cloud.close()
})

const admin = (url: string): Rest => restOf(url, cloud.state().tokens.admin)

async function leaderOf(rest: Rest): Promise<string> {
  const { body } = await rest('GET', '/replicas')
  const items = body['items'] as unknown as { id: string; leader: boolean }[]
  return items.find(each => each.leader)?.id ?? ''
}

const widget = (id: string): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id, version: '1.0', description: 'made by a test', views: { index: {} } }),
    'client/templates/index.html': '<p>a widget</p>',
  })

/** Rows that change something are asked at `write`, what they did is read at `read`, which is another replica. */
async function walk(name: string, write: Rest, read: Rest, slash: '' | '/'): Promise<void> {
  const seen = async (path: string, revision: Headers): Promise<Awaited<ReturnType<Rest>>> =>
    read('GET', `${path}${slash}?minRevision=${revision.get('x-rain-revision')}`)

  // Rain servers
  const server = `${name}-server`
  const registration = { id: server, address: 'http://127.0.0.1:9', urls: [`/${name}/*`], labels: { made: 'by-test' } }
  const registered = await write('POST', `/rainservers${slash}`, registration)
  expect(registered.status).toBe(201)
  expect(registered.headers.get('location')).toBe(`/rainservers/${server}`)
  expect(registered.body).toMatchObject({ ...registration, state: 'registered', wires: [], load: null, generation: 0 })
  expect((await write('POST', `/rainservers${slash}`, registration)).status).toBe(200)
  const elsewhere = { ...registration, address: 'http://127.0.0.1:10' }
  expect((await write('POST', `/rainservers${slash}`, elsewhere)).status).toBe(409)
  const servers = await seen('/rainservers/all', registered.headers)
  expect(servers.status).toBe(200)
  expect((servers.body['items'] as unknown as { id: string }[]).map(each => each.id)).toContain(server)
  expect((await read('GET', `/rainservers/${server}${slash}`)).body).toMatchObject({ id: server })
  const urls = await read('GET', `/rainservers/${server}/urls${slash}`)
  expect(urls.body).toMatchObject({ total: 1, items: [{ pattern: `/${name}/*` }] })
  const reset = await write('PUT', `/rainservers/${server}${slash}`)
  expect([reset.status, reset.body['generation']]).toEqual([202, 1])
  expect((await write('DELETE', `/rainservers/${server}${slash}`)).status).toBe(204)
  expect((await write('DELETE', `/rainservers/${server}${slash}`)).status).toBe(404)

  // Motherships
  const mothership = `${name}-mothership`
  const ship = { id: mothership, address: 'ws://127.0.0.1:9', capacity: { cpu: 1, ram: 2, bandwidth: 3 } }
  const shipped = await write('POST', `/mothership${slash}`, ship)
  expect([shipped.status, shipped.body['state']]).toEqual([201, 'registered'])
  const ships = await seen('/mothership/all', shipped.headers)
  expect((ships.body['items'] as unknown as { id: string }[]).map(each => each.id)).toContain(mothership)
  expect((await read('GET', `/mothership/${mothership}${slash}`)).body).toMatchObject({
    ...ship,
    instances: 0,
    reserved: { cpu: 0, ram: 0, bandwidth: 0 },
    measured: null,
  })
  expect((await read('GET', `/mothership/${mothership}/webcomponents${slash}`)).body).toMatchObject({ total: 0 })
  const cordoned = await write('PUT', `/mothership/${mothership}${slash}`, { cordoned: true })
  expect([cordoned.status, cordoned.body['cordoned']]).toEqual([202, true])
  expect((await write('DELETE', `/mothership/${mothership}${slash}`)).status).toBe(204)
  expect((await read('GET', `/mothership/${mothership}-none${slash}`)).status).toBe(404)

  // Web components
  const bytes = await widget(name)
  const deployed = await write('POST', `/webcomponent${slash}`, bytes)
  expect(deployed.status).toBe(201)
  expect(deployed.body).toMatchObject({ id: name, version: '1.0', active: true, instances: { total: 0 } })
  expect((await write('POST', `/webcomponent${slash}`, bytes)).status).toBe(200)
  const component = `/webcomponent/${name}/1.0`
  expect((await seen(component, deployed.headers)).body).toMatchObject({ id: name, description: 'made by a test' })
  const all = await read('GET', `/webcomponent/all${slash}?start=0&range=1000`)
  expect((all.body['items'] as unknown as { id: string }[]).map(each => each.id)).toContain(name)
  expect((await read('GET', `${component}/descriptor${slash}`)).body).toMatchObject({ id: name, version: '1.0' })
  expect((await read('GET', `${component}/statistics${slash}`)).body).toMatchObject({ calls: 0, errors: 0 })

  // Instances
  const started = await write('POST', `${component}${slash}?wait=wired`)
  expect([started.status, started.body['phase']]).toEqual([201, 'running'])
  const instance = started.body['id'] as unknown as string
  const path = `/webcomponent/${instance}`
  expect(started.headers.get('location')).toBe(path)
  const there = await seen(path, started.headers)
  expect(there.body).toMatchObject({ id: instance, component: name, epoch: 1, generation: 0 })
  const hosts = await read('GET', `/mothership/${started.body['primary'] as unknown as string}/webcomponents${slash}`)
  expect((hosts.body['items'] as unknown as { id: string }[]).map(each => each.id)).toContain(instance)
  const page = await fetch(`${cloud.state().pages}/${name}/index`)
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('a widget')])
  const cloned = await write('POST', `${path}${slash}?wait=running`)
  expect([cloned.status, cloned.body['copies']]).toEqual([202, [expect.anything(), expect.anything()]])
  await waitUntil('the clone is in sync', async () => {
    const { body } = await read('GET', path)
    return (body['inSync'] as unknown as string[]).length === 2
  })
  const refreshed = await write('PUT', `${path}${slash}?wait=running`)
  expect([refreshed.status, refreshed.body['generation'], refreshed.body['phase']]).toEqual([202, 1, 'running'])
  expect((await write('PUT', `${component}${slash}`)).body).toEqual({ refreshing: 1 })
  expect((await read('GET', `${path}/placement${slash}`)).body).toMatchObject({ candidates: expect.anything() })
  expect((await write('DELETE', `${path}${slash}`)).status).toBe(202)
  expect((await write('GET', path)).status).toBe(404)
  const again = await write('POST', `${component}${slash}?count=3`)
  expect([again.status, (again.body['items'] as unknown as unknown[]).length]).toEqual([201, 3])
  const undeployed = await write('DELETE', `${component}${slash}`)
  expect([undeployed.status, undeployed.body]).toEqual([202, { stopping: 3 }])
  expect((await seen(component, undeployed.headers)).status).toBe(404)
}

describe('the table', () => {
  it('holds at two replicas, and holds after the leader was killed', async () => {
    const { replicas } = cloud.state()
    const leader = await leaderOf(admin(cloud.state().api))
    const others = replicas.filter(each => each.id !== leader)
    await walk('before', admin(others[0]!.url), admin(others[1]!.url), '')
    const killed = replicas.find(each => each.id === leader)!
    process.kill(killed.pid, 'SIGKILL')
    await waitUntil('another replica leads', async () => {
      const next = await leaderOf(admin(others[0]!.url))
      return next !== '' && next !== leader
    })
    await walk('after', admin(others[1]!.url), admin(others[0]!.url), '/')
    await waitUntil('the killed one is back', () => {
      const now = cloud.state().replicas.find(each => each.id === leader)!
      return now.pid !== 0 && now.pid !== killed.pid
    })
    await waitUntil(
      'it serves again',
      async () => (await fetch(`${killed.url}/readyz`).catch(() => undefined))?.ok === true,
    )
    await walk('back', admin(killed.url), admin(others[0]!.url), '')
  }, 120_000)

  it('keeps its rules for tokens: none and wrong ones 401, a viewer changes nothing, a token works by either header', async () => {
    const { api, tokens } = cloud.state()
    expect((await fetch(`${api}/mothership/all`)).status).toBe(401)
    expect((await restOf(api, 'wrong')('GET', '/mothership/all')).status).toBe(401)
    const viewer = restOf(api, tokens.viewer)
    expect((await viewer('GET', '/mothership/all')).status).toBe(200)
    expect((await viewer('POST', '/webcomponent/shop/1.0')).status).toBe(403)
    const bearer = await fetch(`${api}/mothership/all`, { headers: { authorization: `Bearer ${tokens.operator}` } })
    expect(bearer.status).toBe(200)
  })

  it('answers the same request once, at whatever replica it is asked again', async () => {
    const [first, second] = cloud.state().replicas
    const headers = { 'idempotency-key': 'the-same' }
    const one = await admin(first!.url)('POST', '/webcomponent/footer/1', {}, headers)
    const two = await admin(second!.url)('POST', '/webcomponent/footer/1', {}, headers)
    expect([one.status, two.status, two.body['id']]).toEqual([201, 201, one.body['id']])
    expect(two.headers.get('idempotency-replayed')).toBe('true')
    const other = await admin(second!.url)('POST', '/webcomponent/header/1', {}, headers)
    expect([other.status, other.body['code']]).toEqual([409, 'conflict'])
  })
})

describe('the sample page', () => {
  it('has fragments of at least two motherships, nested three deep, and names who made each', async () => {
    const page = await (await fetch(`${cloud.state().pages}/shop/index`, { headers: { accept: 'text/html' } })).text()
    const made = [...page.matchAll(/data-rain-instance="([^"]+)" data-rain-mothership="([^"]+)"/g)]
    expect(made.length).toBeGreaterThanOrEqual(9)
    expect(new Set(made.map(each => each[2])).size).toBeGreaterThanOrEqual(2)
    expect(page.indexOf('data-rain-component="catalog"')).toBeLessThan(page.indexOf('data-rain-component="product"'))
  })

  it('goes on without a part that fails or is late', async () => {
    const ask = async (query: string): Promise<string> =>
      (await fetch(`${cloud.state().pages}/shop/index${query}`)).text()
    const failing = await ask('?fail=1')
    expect(failing).toContain('data-rain-component="offers" data-rain-status="500"')
    expect(failing).toContain('Umbrella')
    const late = await ask('?slow=20000')
    expect(late).toContain('data-rain-component="news" data-rain-status="504"')
    expect(late).toContain('Umbrella')
  })

  it('is found by Prometheus, with every process of the cloud', async () => {
    const { prometheus, replicas, motherships, rainServers } = cloud.state()
    const expected = replicas.length + motherships.length + rainServers.length + 1
    await waitUntil('all targets are up', async () => {
      const answer = await fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent('count(up{job="rain"} == 1)')}`)
      const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } }
      return Number(data.result[0]?.value[1]) === expected
    })
  })
})
