/** Packages over REST: versions that never change, what is stored of them, which are active, the way back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { aHypervisor, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Answer, Rest } from '../support/rest.js'

let hypervisor: TestReplica
let admin: Rest
beforeAll(async () => {
  hypervisor = await aHypervisor()
  admin = hypervisor.rest('admin')
})
afterAll(async () => {
  expect(hypervisor.errors).toEqual([])
  await hypervisor.close()
})

const component = (id: string, version: string, more: object = {}): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id, version, views: { index: {} }, ...more }),
    'client/templates/index.html': `<p>${id} ${version}</p>`,
  })
const deploy = async (id: string, version: string, query = ''): Promise<Answer> =>
  admin('POST', `/webcomponent/${query}`, await component(id, version))
const stored = (): Promise<ReadonlyMap<string, number>> => hypervisor.replica.blobs.list()

describe('a version', () => {
  it('is deployed, active, inactive and gone', async () => {
    const made = await deploy('states', '1.0', '?activate=false')
    expect([made.status, made.body['state'], made.body['active']]).toEqual([201, 'deployed', false])
    expect((await admin('GET', '/webcomponent/states/1')).body['detail']).toBe(
      'there is no component states/1 that is active (1.0.0 is not)',
    )
    expect((await admin('GET', '/webcomponent/states/1.0')).status).toBe(200)
    const set = (active: boolean): Promise<Answer> => admin('PUT', '/webcomponent/states/1.0/activation', { active })
    expect((await set(true)).body['state']).toBe('active')
    expect((await admin('GET', '/webcomponent/states/1')).body['version']).toBe('1.0')
    expect((await set(false)).body['state']).toBe('inactive')
    expect((await admin('DELETE', '/webcomponent/states/1.0')).status).toBe(202)
    expect((await admin('GET', '/webcomponent/states/1.0')).status).toBe(404)
  })

  it('is 200 again for the same bytes, 409 for others, with both digests, and nothing more is stored', async () => {
    const first = await deploy('same', '1.0')
    const before = await stored()
    expect((await deploy('same', '1.0')).status).toBe(200)
    const bytes = await component('same', '1.0.0')
    const other = await admin('POST', '/webcomponent/', bytes)
    expect(other.status).toBe(409)
    expect(other.body['detail']).toContain(first.body['digest'])
    expect(other.body['detail']).toMatch(/(sha256:[0-9a-f]{64}).*(sha256:[0-9a-f]{64})/)
    expect(await stored()).toEqual(before)
  })

  it('finds its chunks gone when they went between storing and registering them, and they are stored again', async () => {
    const { blobs } = hypervisor.replica
    const put = blobs.put.bind(blobs)
    let puts = 0
    blobs.put = async (digest, bytes) => {
      const chunks = await put(digest, bytes)
      if (++puts > 1) return chunks
      const command = { op: 'drop-package', body: { digest, chunks } } as const
      const actor = { role: 'system', subject: 'test' } as const
      await hypervisor.replica.submit({ requestId: 'drop-between', fresh: true, actor, command }, 5_000)
      expect(await stored()).not.toContain(digest)
      return chunks
    }
    const { status, body } = await deploy('between', '1.0')
    blobs.put = put
    expect([status, puts]).toEqual([201, 2])
    expect(await blobs.get(String(body['digest']), 1)).toBeDefined()
  })

  it('is refused above the budget, and leaves nothing behind', async () => {
    const before = await stored()
    const used = [...before.keys()].length
    await admin('PUT', '/settings', { packageBudgetMiB: 1 })
    const noise = Array.from({ length: 150_000 }, () => Math.random().toString(36)).join('')
    const bytes = await aPackage({ 'meta.json': JSON.stringify({ id: 'large', version: '1.0' }), 'resources/x': noise })
    expect(bytes.byteLength).toBeGreaterThan(1024 * 1024)
    const { status, body } = await admin('POST', '/webcomponent/', bytes)
    expect([status, body['code']]).toEqual([409, 'over-budget'])
    expect(body['detail']).toMatch(/^packages take .* of 1 MiB, and large\/1.0 takes 1\.\d MiB more: undeploy/)
    expect([await stored(), used]).toEqual([before, before.size])
    await admin('PUT', '/settings', { packageBudgetMiB: 512 })
    expect((await admin('POST', '/webcomponent/', bytes)).status).toBe(201)
  })
})

describe('a rollback', () => {
  it('goes back in one call, is in the history, and leaves no hole in pages', async () => {
    await connectMothership(hypervisor, 'm1')
    for (const version of ['1.0', '1.1']) await deploy('news', version)
    const history = async (): Promise<Answer['body']> => (await admin('GET', '/webcomponent/news/history')).body
    expect(await history()).toMatchObject({
      current: '1.1',
      previous: '1.0',
      items: [
        { what: 'deploy', version: '1.1', from: '1.0', to: '1.1', by: 'admin' },
        { what: 'deploy', version: '1.0', from: null, to: '1.0' },
      ],
    })
    const back = await admin('POST', '/webcomponent/news/rollback')
    expect([back.status, back.body]).toMatchObject([200, { from: '1.1', to: '1.0', component: { version: '1.0' } }])
    expect((await admin('GET', '/webcomponent/news/1')).body['version']).toBe('1.0')
    expect(await history()).toMatchObject({
      current: '1.0',
      previous: null,
      items: [{ what: 'rollback', from: '1.1' }, {}, {}],
    })
    expect((await admin('POST', '/webcomponent/news/rollback')).status).toBe(409)
    const forth = await admin('POST', '/webcomponent/news/rollback', { to: '1.1' })
    expect(forth.body).toMatchObject({ from: '1.0', to: '1.1' })
    expect((await admin('POST', '/webcomponent/news/rollback', { to: '1.1' })).body).toMatchObject({
      from: '1.1',
      to: '1.1',
    })
  })

  it('is for who may change something, and of what there is', async () => {
    expect((await hypervisor.rest('viewer')('POST', '/webcomponent/news/rollback')).status).toBe(403)
    expect((await hypervisor.rest('viewer')('GET', '/webcomponent/news/history')).status).toBe(200)
    expect((await admin('POST', '/webcomponent/nothing/rollback')).status).toBe(404)
    expect((await admin('GET', '/webcomponent/nothing/history')).status).toBe(404)
    expect((await admin('POST', '/webcomponent/news/rollback', { to: 'x' })).status).toBe(400)
  })
})
