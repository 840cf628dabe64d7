/** Stops and undeployments by REST, led by a real replica over an etcd in memory. The nodes are the test's own. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { wantedFor } from '../../src/hypervisor/wanted.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, aTwin, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Rest } from '../support/rest.js'

let hypervisor: TestReplica
let shared: ReturnType<typeof aTwin>
let admin: Rest
beforeEach(async () => {
  shared = aTwin()
  hypervisor = await aHypervisor(shared)
  await comes()
  const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
  await admin('POST', '/webcomponent/', await aPackage({ 'meta.json': meta, 'client/templates/index.html': '<p></p>' }))
})
afterEach(async () => {
  await hypervisor.close()
})

/** The nodes, at the replica that there is now. */
async function comes(): Promise<void> {
  admin = hypervisor.rest('admin')
  await connectMothership(hypervisor, 'm1')
  await admin('POST', '/rainservers/', { id: 'r1', address: 'http://r1.example:1', urls: ['/*'] })
  await hypervisor.replica.presence.openSession({ kind: 'rainserver', id: 'r1', address: 'http://r1.example:1' })
  await waitUntil('r1 is seen', () => mapOf().get('sessions', 'rainserver/r1') !== undefined)
}

const mapOf = () => hypervisor.replica.maps.map

function say(ids: readonly string[], ended = false): void {
  const session = mapOf().get('sessions', 'mothership/m1')!.modified
  const items = ids.map(instance => {
    const { epoch, generation } = mapOf().get('instances', instance)!.value
    const state = ended ? ({ phase: 'stopping', ended: true } as const) : ({ phase: 'running' } as const)
    return { instance, epoch, generation, ...state }
  })
  hypervisor.replica.observations.report('m1', session, items)
}

async function started(count: number): Promise<string[]> {
  const { body } = await admin('POST', `/webcomponent/news/1.0?count=${count}`, { need: { cpu: 1, ram: 1 } })
  const ids = (body['items'] as unknown as { id: string }[]).map(each => each.id).sort()
  say(ids)
  await waitUntil('they run', () => ids.every(id => mapOf().get('observed', `m1/${id}`)?.value.phase === 'running'))
  return ids
}

function rainServerApplies(): void {
  const session = mapOf().get('sessions', 'rainserver/r1')!.modified
  hypervisor.applied.note({ kind: 'rainserver', id: 'r1' }, session, mapOf().order)
}
const stage = (stage: 'unwire' | 'drain', ...ids: readonly string[]): Promise<void> =>
  waitUntil(`they are in ${stage}`, () => ids.every(id => mapOf().get('stops', id)?.value.stage === stage))
const wantedOf = (kind: 'rainserver' | 'mothership', id: string): Map<string, unknown> =>
  wantedFor(mapOf(), { kind, id }, () => '')

describe('a stop', () => {
  it('is in order, shown while it lasts, and answered when the instance is gone', async () => {
    const [id = ''] = await started(1)
    await waitUntil('r1 is wired', () => wantedOf('rainserver', 'r1').has('wires/m1'))
    const answer = admin('DELETE', `/webcomponent/${id}`)
    await stage('unwire', id)
    const { body } = await admin('GET', `/webcomponent/${id}`)
    expect(body).toMatchObject({ phase: 'stopping', copies: [{ phase: 'stopping' }] })
    await waitUntil('r1 is to let go', () => !wantedOf('rainserver', 'r1').has('wires/m1'))
    expect(wantedOf('mothership', 'm1').has(`instances/${id}`)).toBe(true)
    rainServerApplies()
    await stage('drain', id)
    expect(wantedOf('mothership', 'm1').has(`instances/${id}`)).toBe(false)
    say([id], true)
    expect((await answer).status).toBe(202)
    expect((await admin('GET', `/webcomponent/${id}`)).status).toBe(404)
    expect(mapOf().count('stops')).toBe(0)
  })

  it('is answered after the time that the caller gives, and goes on', async () => {
    const [id = ''] = await started(1)
    expect((await admin('DELETE', `/webcomponent/${id}?timeout=50ms`)).status).toBe(202)
    expect((await admin('POST', `/webcomponent/news/1.0`, { id })).text).toContain('just stopping')
    rainServerApplies()
    await stage('drain', id)
    say([id], true)
    await waitUntil('it is gone', () => mapOf().get('instances', id) === undefined)
  })
})

describe('an undeployment', () => {
  it('shows how far it is, and takes the package last', async () => {
    const ids = await started(3)
    const digest = String((await admin('GET', '/webcomponent/news/1.0')).body['digest'])
    const answer = admin('DELETE', '/webcomponent/news/1.0')
    await stage('unwire', ...ids)
    const { body } = await admin('GET', '/webcomponent/news/1.0')
    expect(body).toMatchObject({ active: false, undeploying: { total: 3, remaining: 3, by: 'admin' } })
    expect((await admin('PUT', '/webcomponent/news/1.0/activation', { active: true })).status).toBe(409)
    rainServerApplies()
    await stage('drain', ...ids)
    expect(await hypervisor.replica.blobs.get(digest, 1)).toBeDefined()
    say(ids, true)
    expect(await answer).toMatchObject({ status: 202, body: { stopping: 3 } })
    expect((await admin('GET', '/webcomponent/news/1.0')).status).toBe(404)
    expect(await hypervisor.replica.blobs.get(digest, 1)).toBeUndefined()
    expect([mapOf().count('removals'), mapOf().count('stops'), mapOf().count('observed')]).toEqual([0, 0, 0])
  })

  it('is carried on by the next leader', async () => {
    const ids = await started(2)
    await admin('DELETE', '/webcomponent/news/1.0?timeout=10ms')
    await stage('unwire', ...ids)
    await hypervisor.close()
    hypervisor = await aHypervisor(shared, 'h2')
    await comes()
    rainServerApplies()
    await stage('drain', ...ids)
    say(ids, true)
    await waitUntil('it is gone', () => mapOf().get('components', 'news/1.0.0') === undefined)
    expect(mapOf().count('instances')).toBe(0)
  })
})
