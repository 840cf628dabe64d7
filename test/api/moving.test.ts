/** What makes instances move: rebalance, drain, failure. The motherships are the test's own, and say what it wants. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Phase } from '../../src/cloud/records.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Answer, Rest } from '../support/rest.js'

let hypervisor: TestReplica
let admin: Rest
beforeEach(async () => {
  hypervisor = await aHypervisor()
  admin = hypervisor.rest('admin')
  const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
  await admin('POST', '/webcomponent/', await aPackage({ 'meta.json': meta, 'client/templates/index.html': '<p></p>' }))
})
afterEach(async () => {
  await hypervisor.close()
})

const mapOf = () => hypervisor.replica.maps.map

function say(mothership: string, phase: Phase, ids: readonly string[], reason?: string): void {
  const session = mapOf().get('sessions', `mothership/${mothership}`)!.modified
  const items = ids.map(instance => {
    const { epoch, generation } = mapOf().get('instances', instance)!.value
    return { instance, epoch, generation, phase, ...(reason === undefined ? {} : { reason }) }
  })
  hypervisor.replica.observations.report(mothership, session, items)
}

async function started(count: number, cpu: number): Promise<string[]> {
  const wish = { need: { cpu, ram: 1, bandwidth: 1 } }
  const { body } = await admin('POST', `/webcomponent/news/1.0?count=${count}`, wish)
  return (body['items'] as unknown as { id: string }[]).map(each => each.id)
}

const on = (id: string): readonly string[] => {
  const { inSync, learners } = mapOf().get('instances', id)!.value
  return [...inSync, ...learners]
}

async function runs(mothership: string, ids: readonly string[]): Promise<void> {
  say(mothership, 'running', ids)
  await waitUntil('it is seen that they run', () =>
    ids.every(id => mapOf().get('observed', `${mothership}/${id}`)?.value.phase === 'running'),
  )
}

interface Move {
  readonly instance: string
  readonly from: string
  readonly to: string
}
const movesIn = ({ body }: Answer): readonly Move[] => body['moves'] as unknown as Move[]

describe('a rebalance', () => {
  it('is planned without being done, done once, and planned to nothing then', async () => {
    await connectMothership(hypervisor, 'm1')
    const ids = await started(3, 300)
    await connectMothership(hypervisor, 'm2')
    const plan = () => admin('GET', '/rebalance/plan')
    // What does not run yet is not moved.
    expect((await plan()).body).toMatchObject({
      moves: [],
      staying: { 'does not run yet': 3 },
      imbalance: { before: 0.45 },
    })
    await runs('m1', ids)
    const planned = await plan()
    expect(planned.body).toMatchObject({
      policy: 'spread',
      automatic: true,
      inUse: { before: 1, after: 2 },
      underWay: [],
    })
    expect(movesIn(planned)).toMatchObject([{ from: 'm1', to: 'm2', component: 'news', version: '1.0.0' }])
    expect((await hypervisor.rest('viewer')('POST', '/rebalance', {})).status).toBe(403)
    expect((await admin('POST', '/rebalance', { moves: 0 })).status).toBe(400)

    const done = await admin('POST', '/rebalance', {}, { 'idempotency-key': 'once' })
    const again = await admin('POST', '/rebalance', {}, { 'idempotency-key': 'once' })
    expect([done.status, again.body]).toEqual([202, done.body])
    const [move] = movesIn(done)
    expect(movesIn(done)).toEqual([{ instance: movesIn(planned)[0]!.instance, from: 'm1', to: 'm2' }])
    expect(done.body).toMatchObject({ moving: 1, imbalance: { before: 0.45, after: expect.any(Number) } })
    expect((await admin('POST', '/rebalance', {})).body).toMatchObject({ moving: 0, moves: [] })
    expect((await plan()).body['underWay']).toMatchObject([move!])

    // It serves where it was until it runs where it goes.
    expect(on(move!.instance)).toEqual(['m1', 'm2'])
    await runs('m2', [move!.instance])
    await waitUntil('it has moved', () => on(move!.instance).join() === 'm2')
    expect((await plan()).body).toMatchObject({ moves: [], underWay: [] })
  })
})

describe('a drain', () => {
  it('tells how far it has come, can be cancelled, and after its deadline waits for nothing', async () => {
    await connectMothership(hypervisor, 'm1')
    const ids = await started(2, 100)
    await runs('m1', ids)
    const drain = (draining: unknown) => admin('PUT', '/mothership/m1', { draining })
    const stuck = await drain({ deadline: '1h' })
    expect(stuck.body['draining']).toMatchObject({ remaining: 2, total: 2, since: expect.any(String) })
    // Nowhere to go: it waits, and goes on by itself when there is a place.
    await connectMothership(hypervisor, 'm2')
    await waitUntil('they are started elsewhere', () => ids.every(id => on(id).includes('m2')))
    expect(ids.every(id => on(id).includes('m1'))).toBe(true)
    await runs('m2', [ids[0]!])
    await waitUntil('one has gone', () => on(ids[0]!).join() === 'm2')
    expect((await admin('GET', '/mothership/m1')).body['draining']).toMatchObject({ remaining: 1, total: 2 })

    const cancelled = await drain(false)
    expect(cancelled.body).toMatchObject({ draining: null, state: 'ready' })
    await drain({ deadline: '0ms' })
    await waitUntil('the other one has gone too, though it does not run yet', () => on(ids[1]!).join() === 'm2')
    expect((await drain({ deadline: 'soon' })).status).toBe(400)
  })
})

describe('what fails', () => {
  it('is placed elsewhere, kept away from where it keeps failing, and tried there again after a refresh', async () => {
    await admin('PUT', '/settings', { quarantine: { failures: 2 } })
    await connectMothership(hypervisor, 'm1')
    const ids = await started(2, 10)
    await connectMothership(hypervisor, 'm2')
    say('m1', 'failed', ids, 'no such library')
    await waitUntil('they are elsewhere', () => ids.every(id => on(id).join() === 'm2'))
    const quarantined = async () => (await admin('GET', '/mothership/m1')).body['quarantined']
    await waitUntil('m1 is left alone', async () => JSON.stringify(await quarantined()).includes('no such library'))
    await admin('PUT', '/mothership/m2', { cordoned: true })
    const refused = await admin('POST', '/webcomponent/news/1.0')
    expect(refused.body['reasons']).toMatchObject([
      { mothership: 'm1', rule: 'quarantine', reason: expect.stringContaining('no such library') },
      { mothership: 'm2', rule: 'not-cordoned' },
    ])
    expect((await admin('PUT', '/webcomponent/news/1.0')).body).toEqual({ refreshing: 2 })
    expect(await quarantined()).toEqual([])
    expect((await admin('POST', '/webcomponent/news/1.0')).body['primary']).toBe('m1')
  })
})

describe('a start that finds no room', () => {
  it('waits for some when it is asked to, as long as it is asked to, and is refused at once else', async () => {
    const start = (query: string) => admin('POST', `/webcomponent/news/1.0${query}`, { need: { cpu: 900 } })
    expect((await start('')).status).toBe(409)
    const late = await start('?wait=placed&timeout=50ms')
    expect([late.status, late.body['code']]).toEqual([409, 'no-room'])
    expect((await start('?wait=placed&timeout=2h')).status).toBe(400)
    const waiting = start('?wait=placed&timeout=30s')
    await connectMothership(hypervisor, 'm1')
    const placed = await waiting
    expect([placed.status, placed.body['primary']]).toEqual([201, 'm1'])
    // Another one fits when the first one goes.
    const next = start('?wait=placed&timeout=30s')
    await admin('DELETE', `/webcomponent/${placed.body['id'] as unknown as string}`)
    expect((await next).status).toBe(201)
  })
})

it('a replica that stops lets nobody wait for room', async () => {
  const other = await aHypervisor()
  const waiting = other.rest('admin')('POST', '/webcomponent/none/1.0?wait=placed&timeout=30s')
  expect((await waiting).status).toBe(404)
  const meta = JSON.stringify({ id: 'late', version: '1.0', views: { index: {} } })
  const files = { 'meta.json': meta, 'client/templates/index.html': '<p></p>' }
  await other.rest('admin')('POST', '/webcomponent/', await aPackage(files))
  const late = other.rest('admin')('POST', '/webcomponent/late/1.0?wait=placed&timeout=30s')
  await new Promise(resolve => setImmediate(resolve))
  const closing = other.api.close()
  expect([409, 503]).toContain((await late).status)
  await closing
  await other.close()
})
