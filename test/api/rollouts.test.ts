/** Rollouts by REST, led by a real replica over an etcd in memory. The mothership is the test's own. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ObservedItem } from '../../src/hypervisor/ports.js'
import type { RolloutView } from '../../src/hypervisor/rollout-view.js'
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
  admin = hypervisor.rest('admin')
  const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
  await admin('POST', '/webcomponent/', await aPackage({ 'meta.json': meta, 'client/templates/index.html': '<p></p>' }))
  await connectMothership(hypervisor, 'm1')
})
afterEach(async () => {
  await hypervisor.close()
})

const mapOf = () => hypervisor.replica.maps.map

async function started(count: number): Promise<string[]> {
  const { body } = await admin('POST', `/webcomponent/news/1.0?count=${count}`, { need: { cpu: 1, ram: 1 } })
  const ids = (body['items'] as unknown as { id: string }[]).map(each => each.id).sort()
  say(ids)
  await waitUntil('they run', () => ids.every(id => mapOf().get('observed', `m1/${id}`)?.value.phase === 'running'))
  return ids
}

function say(ids: readonly string[], more: (generation: number) => Partial<ObservedItem> = () => ({})): void {
  const session = mapOf().get('sessions', 'mothership/m1')!.modified
  const items = ids.map((instance): ObservedItem => {
    const { epoch, generation } = mapOf().get('instances', instance)!.value
    return { instance, epoch, generation, phase: 'running', ...more(generation) }
  })
  hypervisor.replica.observations.report('m1', session, items)
}

const shown = async (id: string): Promise<RolloutView> =>
  (await admin('GET', `/rollouts/${id}`)).body as unknown as RolloutView
async function underWay(id: string, ...ids: readonly string[]): Promise<void> {
  await waitUntil(`${ids.join()} are under way`, async () => {
    return JSON.stringify((await shown(id)).underWay) === JSON.stringify(ids)
  })
}
async function becomes(id: string, phase: RolloutView['phase']): Promise<RolloutView> {
  await waitUntil(`it is ${phase}`, async () => (await shown(id)).phase === phase)
  return shown(id)
}

async function begun(more: object = {}): Promise<string> {
  const { status, body, headers } = await admin('POST', '/rollouts/', { component: 'news', version: '1.0', ...more })
  expect(status).toBe(201)
  expect(headers.get('location')).toBe(`/rollouts/${body['id']}`)
  return String(body['id'])
}

describe('a rollout', () => {
  it('goes on batch by batch, shows how far it is, and ends', async () => {
    const ids = await started(3)
    const id = await begun({ maxUnavailable: 2 })
    await underWay(id, ids[0]!, ids[1]!)
    say(ids.slice(0, 2))
    await underWay(id, ids[2]!)
    expect(await shown(id)).toMatchObject({
      phase: 'running',
      done: 2,
      total: 3,
      maxUnavailable: 2,
      startedBy: 'admin',
    })
    say(ids.slice(2))
    expect(await becomes(id, 'done')).toMatchObject({ done: 3, underWay: [] })
    const { body } = await admin('GET', '/rollouts')
    expect(body).toMatchObject({ total: 1, items: [{ id, version: '1.0' }] })
  })

  it('pauses where one does not come up, and is resumed, or aborted', async () => {
    const [first = '', second = ''] = await started(2)
    const id = await begun({ maxUnavailable: '1%' })
    await underWay(id, first)
    const fails = (generation: number) => ({ generation: generation - 1, tried: generation, reason: 'no such module' })
    say([first], fails)
    expect(await becomes(id, 'paused')).toMatchObject({
      reason: `${first} on m1: no such module`,
      failures: [{ instance: first, reason: 'on m1: no such module' }],
    })
    expect((await admin('POST', '/rollouts/', { component: 'news', version: '1.0' })).status).toBe(409)
    expect((await admin('PUT', `/rollouts/${id}`, { action: 'resume' })).status).toBe(202)
    await waitUntil('it is tried again', () => mapOf().get('instances', first)!.value.generation === 2)
    say([first])
    await underWay(id, second)
    const { status, body } = await admin('PUT', `/rollouts/${id}`, { action: 'abort' })
    expect([status, body]).toEqual([
      202,
      expect.objectContaining({ phase: 'aborted', done: 1, reason: 'aborted by admin' }),
    ])
    expect(mapOf().get('instances', second)!.value).toMatchObject({ generation: 2, refresh: '0' })
  })

  it('is carried on by the next leader', async () => {
    const ids = await started(4)
    const id = await begun({ maxUnavailable: 2 })
    await underWay(id, ids[0]!, ids[1]!)
    await hypervisor.close()
    hypervisor = await aHypervisor(shared, 'h2')
    admin = hypervisor.rest('admin')
    await connectMothership(hypervisor, 'm1')
    say(ids.slice(0, 2))
    await underWay(id, ids[2]!, ids[3]!)
    say(ids.slice(2))
    expect(await becomes(id, 'done')).toMatchObject({ done: 4 })
    expect(ids.map(each => mapOf().get('instances', each)!.value.generation)).toEqual([1, 1, 1, 1])
  })

  it('is refused where it makes no sense, field by field', async () => {
    const refused = async (body: object): Promise<unknown[]> => {
      const answer = await admin('POST', '/rollouts/', { component: 'news', version: '1.0', ...body })
      return [answer.status, answer.text]
    }
    expect(await refused({ version: '3.0' })).toEqual([404, expect.stringContaining('news/3.0.0')])
    expect(await refused({ maxUnavailable: '110%' })).toEqual([400, expect.stringContaining('/maxUnavailable')])
    expect(await refused({ timeout: '2h' })).toEqual([400, expect.stringContaining('1ms to 1h')])
    expect((await admin('PUT', '/rollouts/nothing', { action: 'pause' })).status).toBe(404)
    expect((await admin('GET', '/rollouts/nothing')).status).toBe(404)
  })
})
