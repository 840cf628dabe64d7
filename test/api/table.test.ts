/** Rows of the table on one whole replica over an etcd in memory: answers, refusals, and what they name. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Json, Rest } from '../support/rest.js'

let hypervisor: TestReplica
let admin: Rest
beforeAll(async () => {
  hypervisor = await aHypervisor()
  admin = hypervisor.rest('admin')
  await connectMothership(hypervisor, 'm1')
  await connectMothership(hypervisor, 'm2')
})
afterAll(async () => {
  await hypervisor.close()
  expect(hypervisor.errors).toEqual([])
})

const pathsOf = (body: Json): unknown =>
  (body['errors'] as unknown as { path: string }[] | undefined)?.map(each => each.path)

const component = (id: string, version = '1.0', more: object = {}): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id, version, views: { index: {} }, ...more }),
    'client/templates/index.html': `<p>${id} ${version}</p>`,
  })

async function deployed(id: string, version = '1.0', more: object = {}): Promise<void> {
  expect((await admin('POST', '/webcomponent/', await component(id, version, more))).status).toBe(201)
}

describe('wrong input', () => {
  const wrong: readonly [method: string, path: string, body: unknown, status: number, field: string][] = [
    ['POST', '/rainservers/', undefined, 400, '/address'],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: [] }, 400, '/urls'],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: ['no-slash'] }, 400, '/urls/0'],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: ['/a\u0000b'] }, 400, '/urls/0'],
    ['POST', '/rainservers/', { address: 'ws://x:1', urls: ['/*'] }, 400, '/address'],
    ['POST', '/rainservers/', { address: 'http://x:65536', urls: ['/*'] }, 400, '/address'],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: ['/*'], id: 'a/b' }, 400, '/id'],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: ['/*'], id: 'all' }, 400, '/id'],
    [
      'POST',
      '/mothership/',
      { address: 'ws://x:1', capacity: { cpu: 1, ram: 1, bandwidth: 1 }, id: 'all' },
      400,
      '/id',
    ],
    ['POST', '/rainservers/', { address: 'http://x:1', urls: ['/*'], colour: 'red' }, 400, '/colour'],
    ['POST', '/mothership/', { address: 'ws://x:1' }, 400, '/capacity'],
    [
      'POST',
      '/mothership/',
      { address: 'ws://x:1', capacity: { cpu: -1, ram: 1, bandwidth: 1 } },
      400,
      '/capacity/cpu',
    ],
    ['PUT', '/mothership/m1', { draining: { deadline: 'soon' } }, 400, '/draining'],
    ['GET', '/mothership/all?range=0', undefined, 400, 'query/range'],
    ['GET', '/mothership/all?range=1001', undefined, 400, 'query/range'],
    ['GET', '/mothership/all?range=', undefined, 400, 'query/range'],
    ['GET', '/mothership/all?range=true', undefined, 400, 'query/range'],
    ['GET', '/mothership/all?range=0x10', undefined, 400, 'query/range'],
    ['GET', '/mothership/all?start=1.0', undefined, 400, 'query/start'],
    ['GET', '/webcomponent/all?start=-1', undefined, 400, 'query/start'],
    ['GET', '/webcomponent/all?colour=red', undefined, 400, 'query/colour'],
    ['GET', '/webcomponent/all?minRevision=new', undefined, 400, 'query/minRevision'],
    ['GET', '/mothership/a%2Fb', undefined, 404, 'params/id'],
    ['GET', '/webcomponent/none', undefined, 404, 'params/instanceId'],
    ['PUT', '/settings', {}, 400, ''],
    ['PUT', '/settings', { lostAfterMs: 'soon' }, 400, '/lostAfterMs'],
    ['POST', '/tokens', { role: 'king', subject: 'x' }, 400, '/role'],
    ['POST', '/tokens', { role: 'viewer', subject: 'x', expires: '2020-13-41T00:00:00Z' }, 400, '/expires'],
  ]
  for (const [method, path, body, status, field] of wrong) {
    it(`${method} ${path} ${JSON.stringify(body) ?? ''} is ${status} and names ${field || 'the body'}`, async () => {
      const answer = await admin(method, path, body)
      expect(answer.status).toBe(status)
      expect(answer.headers.get('content-type')).toContain('application/problem+json')
      expect(answer.body).toMatchObject({ status, code: expect.any(String), instance: path.split('?')[0] })
      expect(pathsOf(answer.body)).toContain(field)
    })
  }

  it('of a field that may be several things is told for each of them', async () => {
    const { body } = await admin('PUT', '/mothership/m1', { draining: { deadlin: '5s' } })
    expect(body['errors']).toEqual([
      { path: '/draining', message: 'must be boolean' },
      { path: '/draining/deadline', message: 'is needed' },
      { path: '/draining/deadlin', message: 'there is no such field' },
    ])
  })

  it('what is one too many is told once, in words', async () => {
    const { body } = await admin('GET', '/mothership/all?colour=red')
    expect(body['errors']).toEqual([{ path: 'query/colour', message: 'there is no such field' }])
  })

  it('JSON that is none is 400, another media type 415, a body too large 413', async () => {
    const json = await admin('POST', '/mothership/', '{"id":')
    expect([json.status, json.body['detail']]).toEqual([400, expect.stringContaining('not JSON')])
    const form = await admin('POST', '/mothership/', 'id=m9', { 'content-type': 'application/x-www-form-urlencoded' })
    expect([form.status, pathsOf(form.body)]).toEqual([415, ['headers/content-type']])
    const large = await admin('POST', '/mothership/', JSON.stringify({ id: 'x'.repeat(1024 * 1024) }))
    expect(large.status).toBe(413)
  })

  it('a poisoned prototype is refused', async () => {
    const answer = await admin('POST', '/mothership/', '{"__proto__":{"admin":true},"address":"ws://x:1"}')
    expect(answer.status).toBe(400)
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('what is not there is 404, a method that is not 405 with what is', async () => {
    for (const path of [
      '/mothership/m9',
      '/rainservers/r9',
      '/webcomponent/none/1',
      '/webcomponent/no.such',
      '/nowhere',
    ]) {
      const answer = await admin('GET', path)
      expect([path, answer.status, answer.body['code']]).toEqual([path, 404, 'unknown-thing'])
    }
    const patch = await admin('PATCH', '/mothership/m1')
    expect([patch.status, patch.headers.get('allow')]).toEqual([405, 'DELETE, GET, HEAD, PUT'])
  })
})

describe('every answer', () => {
  it('says the revision, and reads wait for one, in this era only', async () => {
    const { headers } = await admin('GET', '/mothership/all')
    const revision = headers.get('x-rain-revision')!
    expect(revision).toMatch(/^1\.\d+$/)
    expect((await admin('GET', '/%zz')).headers.get('x-rain-revision')).toMatch(/^1\.\d+$/)
    expect((await admin('GET', `/mothership/all?minRevision=${revision}`)).status).toBe(200)
    expect((await admin('GET', '/mothership/all?consistency=linearizable')).status).toBe(200)
    const later = await admin('GET', `/mothership/all?block=50ms&after=${revision}`)
    expect(later.status).toBe(200)
    expect((await admin('GET', '/mothership/all?block=50ms&after=7.1')).status).toBe(410)
    expect((await admin('GET', '/mothership/all?after=1.1')).status).toBe(400)
  })

  it('to a blocking query comes with the change', async () => {
    const { headers } = await admin('GET', '/rainservers/all')
    const waiting = admin('GET', `/rainservers/all?block=20s&after=${headers.get('x-rain-revision')}`)
    await admin('POST', '/rainservers/', { id: 'blocked', address: 'http://b:1', urls: ['/*'] })
    const { body } = await waiting
    expect((body['items'] as unknown as { id: string }[]).map(each => each.id)).toContain('blocked')
  })

  it('to who has it already is 304', async () => {
    const first = await admin('GET', '/settings')
    const again = await admin('GET', '/settings', undefined, { 'if-none-match': first.headers.get('etag')! })
    expect([again.status, again.text]).toEqual([304, ''])
  })

  it('is the same with and without a slash at the end', async () => {
    for (const path of [
      '/mothership/all',
      '/mothership/m1',
      '/mothership/m1/webcomponents',
      '/replicas',
      '/settings',
    ]) {
      const [plain, slash] = [await admin('GET', path), await admin('GET', `${path}/`)]
      expect([path, plain.status, slash.status]).toEqual([path, 200, 200])
    }
  })
})

describe('nodes', () => {
  it('register once: the same again is 200, another address 409', async () => {
    const body = { id: 'r1', address: 'http://r1:1', urls: ['/*'] }
    expect((await admin('POST', '/rainservers/', body)).status).toBe(201)
    expect((await admin('POST', '/rainservers/', body)).status).toBe(200)
    const other = await admin('POST', '/rainservers/', { ...body, address: 'http://r1:2' })
    expect([other.status, other.body['detail']]).toEqual([409, expect.stringContaining('http://r1:1')])
  })

  it('are changed only as the caller saw them (If-Match)', async () => {
    const { body } = await admin('GET', '/mothership/m2')
    const revision = String(body['revision'])
    const first = await admin('PUT', '/mothership/m2', { labels: { a: 'b' } }, { 'if-match': `"${revision}"` })
    expect([first.status, first.body['labels']]).toEqual([202, { a: 'b' }])
    const second = await admin('PUT', '/mothership/m2', { labels: {} }, { 'if-match': `"${revision}"` })
    expect([second.status, second.body['code']]).toEqual([409, 'conflict'])
    const wrong = await admin('PUT', '/mothership/m2', { labels: {} }, { 'if-match': 'yesterday' })
    expect([wrong.status, pathsOf(wrong.body)]).toEqual([400, ['headers/if-match']])
    const passedOver = await admin('DELETE', '/webcomponent/no.such', undefined, { 'if-match': '"1"' })
    expect([passedOver.status, pathsOf(passedOver.body)]).toEqual([400, ['headers/if-match']])
  })

  it('register themselves with their own credential, and nobody else', async () => {
    const node = hypervisor.rest('node')
    const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
    expect((await node('POST', '/mothership/', { id: 'm1', address: 'ws://m1.example:1', capacity })).status).toBe(200)
    expect((await node('POST', '/mothership/', { id: 'm7', address: 'ws://m7:1', capacity })).status).toBe(403)
    expect((await node('POST', '/rainservers/', { id: 'm1', address: 'http://m1:1', urls: ['/*'] })).status).toBe(403)
  })

  it('say their load, and how old it is', async () => {
    const capacity = { cpu: 1, ram: 1, bandwidth: 1 }
    await admin('POST', '/mothership/', { id: 'm8', address: 'ws://m8:1', capacity })
    hypervisor.loads.note({ node: { kind: 'mothership', id: 'm8' }, cpu: 10, ram: 20, bandwidth: 30, components: {} })
    const { body } = await admin('GET', '/mothership/m8')
    expect(body['measured']).toMatchObject({ cpu: 10, ram: 20, bandwidth: 30, freshness: 'fresh', source: 'report' })
  })

  it('with instances leave by a drain only', async () => {
    await connectMothership(hypervisor, 'm3')
    await deployed('leaver')
    const wish = { placement: { labels: { only: 'm3' } } }
    await admin('PUT', '/mothership/m3', { labels: { only: 'm3' } })
    const { body } = await admin('POST', '/webcomponent/leaver/1.0', wish)
    expect(body['primary']).toBe('m3')
    expect((await admin('DELETE', '/mothership/m3')).status).toBe(409)
    const draining = await admin('DELETE', '/mothership/m3?drain=true')
    const drain = { deadline: null, remaining: 1, total: 1, since: expect.any(String) }
    expect([draining.status, draining.body['draining']]).toEqual([202, drain])
    await admin('DELETE', `/webcomponent/${body['id'] as unknown as string}`)
    await waitUntil('it is gone', async () => (await admin('GET', '/mothership/m3')).status === 404)
  })
})

describe('components', () => {
  it('are packages: what is wrong in one is named, file by file', async () => {
    const nothing = await admin('POST', '/webcomponent/', Buffer.from('no package'))
    expect([nothing.status, nothing.body['code']]).toEqual([422, 'invalid-package'])
    expect((await admin('POST', '/webcomponent/')).status).toBe(422)
    const bad = await aPackage({ 'meta.json': JSON.stringify({ id: 'bad', version: '1', views: { index: {} } }) })
    const answer = await admin('POST', '/webcomponent/', bad)
    const missing = {
      path: 'meta.json#/views/index',
      line: 1,
      column: 36,
      message: expect.stringMatching(/is missing$/),
    }
    const version = { path: 'meta.json#/version', line: 1, column: 13, message: expect.stringMatching(/not a version/) }
    expect([answer.status, answer.body['errors']]).toEqual([422, [version, missing]])
    expect(answer.body['detail']).toMatch(/^meta\.json:1:13: \/version: "1" is not a version.* \(and 1 more\)$/)
  })

  it('never change: the same bytes are 200, others 409, equal versions too', async () => {
    await deployed('fixed')
    expect((await admin('POST', '/webcomponent', await component('fixed'))).status).toBe(200)
    expect((await admin('POST', '/webcomponent/', await component('fixed', '1.0', { description: 'x' }))).status).toBe(
      409,
    )
    expect((await admin('POST', '/webcomponent/', await component('fixed', '1.0.0'))).status).toBe(409)
  })

  it('are taken whatever the content type says', async () => {
    const bytes = await component('typed')
    const answer = await admin('POST', '/webcomponent/', bytes, { 'content-type': 'application/json' })
    expect(answer.status).toBe(201)
  })

  it('are found by fragments of versions, changed by exact ones', async () => {
    for (const version of ['1.2', '1.3.1', '1.3.5', '2.0']) await deployed('versions', version)
    const found = async (fragment: string): Promise<unknown> =>
      (await admin('GET', `/webcomponent/versions/${fragment}`)).body['version']
    expect([await found('1.3'), await found('1'), await found('2'), await found('1.2')]).toEqual([
      '1.3.5',
      '1.3.5',
      '2.0',
      '1.2',
    ])
    expect((await admin('GET', '/webcomponent/versions/3')).status).toBe(404)
    expect((await admin('DELETE', '/webcomponent/versions/1')).status).toBe(404)
    const list = await admin('GET', '/webcomponent/all?id=versions&range=2')
    expect((list.body['items'] as unknown as { version: string }[]).map(each => each.version)).toEqual(['2.0', '1.3.5'])
    expect(list.body).toMatchObject({
      total: 4,
      start: 0,
      range: 2,
      next: '/webcomponent/all?id=versions&range=2&start=2',
    })
  })

  it('give back their descriptor unchanged, and their bytes', async () => {
    const bytes = await component('bytes')
    const { body } = await admin('POST', '/webcomponent/', bytes)
    const meta = await admin('GET', '/webcomponent/bytes/1.0/descriptor')
    expect(meta.text).toBe(JSON.stringify({ id: 'bytes', version: '1.0', views: { index: {} } }))
    const digest = body['digest'] as unknown as string
    const fetched = await hypervisor.api.inject({
      url: `/packages/${encodeURIComponent(digest)}`,
      headers: { user: 'the-node-secret' },
    })
    expect(fetched.rawPayload.equals(bytes)).toBe(true)
  })

  it('are started while active only', async () => {
    await deployed('sleepy')
    const off = await admin('PUT', '/webcomponent/sleepy/1.0/activation', { active: false })
    expect([off.status, off.body['active']]).toEqual([200, false])
    expect((await admin('POST', '/webcomponent/sleepy/1.0')).status).toBe(409)
    await admin('PUT', '/webcomponent/sleepy/1.0/activation', { active: true })
    expect((await admin('POST', '/webcomponent/sleepy/1.0')).status).toBe(201)
    const { body } = await admin('GET', '/webcomponent/sleepy/1.0/activation')
    expect((body['history'] as unknown as { active: boolean; by: string }[]).map(each => each.active)).toEqual([
      true,
      false,
      true,
    ])
  })

  it('that were undeployed are gone, and come back with the same bytes only', async () => {
    await deployed('gone')
    const digest = (await admin('GET', '/webcomponent/gone/1.0')).body['digest'] as unknown as string
    expect(await hypervisor.replica.blobs.get(digest, 1)).toBeDefined()
    await admin('POST', '/webcomponent/gone/1.0?count=2')
    const answer = await admin('DELETE', '/webcomponent/gone/1.0')
    expect([answer.status, answer.body]).toEqual([202, { stopping: 2 }])
    expect((await admin('GET', '/webcomponent/gone/1.0')).status).toBe(404)
    expect(await hypervisor.replica.blobs.get(digest, 1)).toBeUndefined()
    expect((await admin('POST', '/webcomponent/', await component('gone', '1.0', { description: 'x' }))).status).toBe(
      409,
    )
    expect((await admin('POST', '/webcomponent/', await component('gone'))).status).toBe(201)
  })

  it('say what motherships measured of them', async () => {
    await deployed('measured')
    const latency = [0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0]
    const stats = { calls: 10, errors: 1, timeouts: 2, restarts: 3, cpu: 4, ram: 5, bandwidth: 6, latency }
    hypervisor.loads.note({
      node: { kind: 'mothership', id: 'm8' },
      cpu: 1,
      ram: 1,
      bandwidth: 1,
      components: { 'measured/1.0.0': stats },
    })
    const { body } = await admin('GET', '/webcomponent/measured/1.0/statistics')
    expect(body).toMatchObject({
      calls: 10,
      errors: 1,
      timeouts: 2,
      restarts: 3,
      load: { cpu: 4, ram: 5, bandwidth: 6 },
    })
    expect(body['latencyMs']).toEqual({ p50: 75, p95: 97.5, p99: 99.5 })
  })
})

describe('instances', () => {
  it('that fit nowhere are 409 with a reason for each mothership', async () => {
    await deployed('huge')
    const answer = await admin('POST', '/webcomponent/huge/1.0', { need: { ram: 1_000_000 } })
    expect([answer.status, answer.body['code']]).toEqual([409, 'no-room'])
    const reasons = answer.body['reasons'] as unknown as { mothership: string; rule: string }[]
    expect(reasons.map(each => [each.mothership, each.rule])).toEqual(
      expect.arrayContaining([
        ['m1', 'enough-room'],
        ['m2', 'enough-room'],
        ['m8', 'connected'],
      ]),
    )
  })

  it('are started in bulk as far as they fit, and the rest is refused with reasons', async () => {
    await deployed('bulk')
    const answer = await admin('POST', '/webcomponent/bulk/1.0?count=1000', {
      need: { cpu: 300, ram: 0, bandwidth: 0 },
    })
    const items = answer.body['items'] as unknown as { id: string }[]
    const refused = answer.body['refused'] as unknown as { reasons: unknown[] }[]
    expect(answer.status).toBe(201)
    expect(items.length + refused.length).toBe(1000)
    expect(items.length).toBeGreaterThan(0)
    expect(refused[0]!.reasons.length).toBeGreaterThan(0)
    expect((await admin('DELETE', '/webcomponent/bulk/1.0')).status).toBe(202)
    expect((await admin('POST', '/webcomponent/bulk/1.0?count=0')).status).toBe(400)
    expect((await admin('POST', '/webcomponent/bulk/1.0?count=1001')).status).toBe(400)
  })

  it('need what the request says, else the descriptor, else the settings, resource by resource', async () => {
    await deployed('needy', '1.0', { need: { ram: 64 } })
    const { body } = await admin('GET', '/settings')
    const changed = { defaultNeed: { cpu: 77, bandwidth: 7 } }
    expect((await admin('PUT', '/settings', changed)).status).toBe(200)
    const made = await admin('POST', '/webcomponent/needy/1.0', { need: { bandwidth: 9 } })
    expect(made.body['need']).toEqual({ cpu: 77, ram: 64, bandwidth: 9 })
    await admin('PUT', '/settings', { defaultNeed: body['defaultNeed'] })
    expect((await admin('DELETE', '/webcomponent/needy/1.0')).status).toBe(202)
  })

  it('go where both the descriptor and the request want them', async () => {
    await deployed('picky', '1.0', { placement: { labels: { disk: 'ssd', gpu: 'yes' }, copies: 2, priority: 7 } })
    const ask = async (wish: object): Promise<unknown> =>
      (await admin('POST', '/webcomponent/picky/1.0?dryRun=true', { placement: wish })).body['reasons']
    const of = (reason: string) => expect.arrayContaining([{ mothership: 'm1', rule: 'labels', reason }])
    expect(await ask({ labels: { disk: 'hdd', zone: 'x' } })).toEqual(of('has no label disk'))
    // What the request does not name is asked as the descriptor asks it.
    await admin('PUT', '/mothership/m1', { labels: { disk: 'hdd' } })
    expect(await ask({ labels: { disk: 'hdd' } })).toEqual(of('has no label gpu'))
    await admin('PUT', '/mothership/m1', { labels: {} })
    expect((await admin('DELETE', '/webcomponent/picky/1.0')).status).toBe(202)
  })

  it('are tried on a map that has reached a revision', async () => {
    await deployed('after')
    const { headers } = await admin('PUT', '/settings', { ceilings: { cpu: 0.9 } })
    const revision = headers.get('x-rain-revision')!
    expect((await admin('POST', `/webcomponent/after/1.0?dryRun=true&minRevision=${revision}`)).status).toBe(200)
    const never = await admin('POST', '/webcomponent/after/1.0?dryRun=true&minRevision=1.999999999')
    expect(never.status).toBe(504)
    expect((await admin('DELETE', '/webcomponent/after/1.0')).status).toBe(202)
  })

  it('are tried without doing it: the same decision, and nothing in the map', async () => {
    await deployed('dry')
    const { body: before } = await admin('GET', '/map')
    const dry = await admin('POST', '/webcomponent/dry/1.0?dryRun=true&count=2')
    expect(dry.status).toBe(200)
    const placed = dry.body['placed'] as unknown as string[][]
    expect(placed).toHaveLength(2)
    expect((await admin('GET', '/map')).body['instances']).toBe(before['instances'])
    const real = await admin('POST', '/webcomponent/dry/1.0')
    expect(real.body['primary']).toBe(placed[0]![0])
    const nowhere = await admin('POST', '/webcomponent/dry/1.0?dryRun=true', { need: { ram: 1e9 } })
    expect([nowhere.status, nowhere.body['placed']]).toEqual([200, []])
  })

  it('are cloned to another mothership, refreshed, explained, stopped', async () => {
    await deployed('life')
    const started = await admin('POST', '/webcomponent/life/1', { id: 'life.mine', owner: 'me' })
    expect([started.status, started.headers.get('location')]).toEqual([201, '/webcomponent/life.mine'])
    expect(started.body).toMatchObject({ id: 'life.mine', owner: 'me', phase: 'placed', epoch: 1, generation: 0 })
    expect((await admin('POST', '/webcomponent/life/1', { id: 'life.mine' })).status).toBe(409)
    const why = await admin('GET', '/webcomponent/life.mine/placement')
    expect(why.body).toMatchObject({ candidates: [{ mothership: expect.any(String) }, {}], now: { refusedByRule: {} } })
    const cloned = await admin('POST', '/webcomponent/life.mine')
    expect([cloned.status, cloned.body]).toEqual([
      202,
      expect.objectContaining({ copies: [expect.anything(), expect.anything()] }),
    ])
    const full = await admin('POST', '/webcomponent/life.mine')
    expect([full.status, full.body['code']]).toEqual([409, 'no-room'])
    expect((await admin('POST', '/webcomponent/life.mine', { mothership: 'm9' })).status).toBe(404)
    expect((await admin('PUT', '/webcomponent/life.mine')).body['generation']).toBe(1)
    expect((await admin('PUT', '/webcomponent/life/1.0')).body).toEqual({ refreshing: 1 })
    const whyThere = await admin('GET', '/webcomponent/life.mine/placement')
    expect(whyThere.body).toMatchObject({ candidates: [{}], refusedByRule: expect.anything() })
    expect((await admin('DELETE', '/webcomponent/life.mine?wait=placed')).status).toBe(202)
    expect((await admin('GET', '/webcomponent/life.mine')).status).toBe(404)
    expect((await admin('DELETE', '/webcomponent/life.mine')).status).toBe(404)
  })

  it('that are waited for in vain come back with the phase reached', async () => {
    await deployed('slow')
    const answer = await admin('POST', '/webcomponent/slow/1.0?wait=running&timeout=50ms')
    expect([answer.status, answer.body['phase']]).toEqual([201, 'placed'])
    expect((await admin('POST', '/webcomponent/slow/1.0?wait=running&timeout=2h')).status).toBe(400)
  })
})

describe('the platform', () => {
  it('changes settings at once, as far as they make sense together', async () => {
    const changed = await admin('PUT', '/settings', { lostAfterMs: 5000 })
    expect([changed.status, changed.body['lostAfterMs']]).toEqual([200, 5000])
    const wrong = await admin('PUT', '/settings', { fragmentDeadlineMs: 9000 })
    expect([wrong.status, pathsOf(wrong.body)]).toEqual([400, ['/fragmentDeadlineMs']])
  })

  it('names every setting that is wrong, and what it may be', async () => {
    const told = async (change: object): Promise<string[]> => {
      const { status, body } = await admin('PUT', '/settings', change)
      expect(status).toBe(400)
      return (body['errors'] as unknown as { path: string; message: string }[]).map(
        ({ path, message }) => `${path} ${message}`,
      )
    }
    const schemas = {
      ceilings: { cpu: 90, ram: -1, bandwidth: 'much', gpu: 1 },
      overcommit: { cpu: 0, ram: 1_000 },
      weights: { cpu: 1e308 },
      policy: 'tight',
      errorComponent: 5,
      load: { staleMs: 'soon' },
      color: 'red',
    }
    expect((await told(schemas)).sort()).toEqual([
      '/ceilings/bandwidth must be number',
      '/ceilings/cpu must be <= 10',
      '/ceilings/gpu there is no such field',
      '/ceilings/ram must be >= 0.01',
      '/color there is no such field',
      '/errorComponent must be null or must be string',
      '/load/staleMs must be integer',
      '/overcommit/cpu must be >= 0.01',
      '/overcommit/ram must be <= 100',
      '/policy must be one of spread, pack, balanced',
      '/weights/cpu must be <= 1000',
    ])
    const contradictions = {
      pageDeadlineMs: 500,
      load: { freshMs: 20_000, staleMs: 10_000 },
      prometheus: { everyMs: 20_000, timeoutMs: 25_000 },
      rebalance: { startAbove: 0.1, stopBelow: 0.2 },
      weights: { cpu: 0, ram: 0, bandwidth: 0 },
    }
    expect(await told(contradictions)).toEqual([
      '/fragmentDeadlineMs must not be longer than pageDeadlineMs',
      '/load/freshMs must not be longer than staleMs',
      '/rebalance/stopBelow must not be above startAbove',
      '/prometheus/timeoutMs must not be longer than everyMs',
      '/prometheus/everyMs must not be longer than load.staleMs: samples would be stale before the next ones come',
      '/weights must not all be 0',
    ])
  })

  it('makes tokens whose secret is told once, and that end when they are revoked', async () => {
    const made = await admin('POST', '/tokens', { role: 'viewer', subject: 'a control center' })
    expect(made.status).toBe(201)
    const secret = made.body['token'] as unknown as string
    const use = async (): Promise<number> => (await admin('GET', '/map', undefined, { user: secret })).status
    expect(await use()).toBe(200)
    expect((await admin('GET', '/tokens')).text).not.toContain(secret)
    expect((await admin('DELETE', `/tokens/${made.body['id'] as unknown as string}`)).status).toBe(204)
    expect(await use()).toBe(401)
  })

  it('ends no last admin token', async () => {
    const { body } = await admin('GET', '/tokens')
    const own = (body['items'] as unknown as { id: string; role: string }[]).find(each => each.role === 'admin')!
    expect((await admin('DELETE', `/tokens/${own.id}`)).status).toBe(409)
  })

  it('names everything that Prometheus is to scrape', async () => {
    await hypervisor.replica.presence.openSession({
      kind: 'balancer',
      id: 'b1',
      address: 'http://b1:1',
      metrics: 'http://b1:9/metrics',
    })
    await waitUntil('it is seen', async () => {
      const { body } = await hypervisor.rest('')('GET', '/prometheus/targets')
      const targets = body as unknown as { targets: string[]; labels: Record<string, string> }[]
      return targets.some(each => each.targets[0] === 'b1:9' && each.labels['role'] === 'balancer')
    })
  })
})
