/** Wires by REST: why they are there, who waits for them, and that none is missing while copies move. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'
import type { Rest } from '../support/rest.js'

let hypervisor: TestReplica
let admin: Rest
beforeEach(async () => {
  hypervisor = await aHypervisor()
  admin = hypervisor.rest('admin')
  for (const id of ['news', 'shop']) {
    const meta = JSON.stringify({ id, version: '1.0', views: { index: {} } })
    await admin(
      'POST',
      '/webcomponent/',
      await aPackage({ 'meta.json': meta, 'client/templates/index.html': '<p></p>' }),
    )
  }
})
afterEach(async () => {
  await hypervisor.close()
})

const mapOf = () => hypervisor.replica.maps.map

async function rainServer(id: string, urls: readonly string[]): Promise<void> {
  await admin('POST', '/rainservers/', { id, address: `http://${id}.example:1`, urls })
  await hypervisor.replica.presence.openSession({ kind: 'rainserver', id, address: `http://${id}.example:1` })
  await waitUntil(`${id} is seen`, () => mapOf().get('sessions', `rainserver/${id}`) !== undefined)
}

function applies(...ids: readonly string[]): void {
  for (const id of ids) {
    const session = mapOf().get('sessions', `rainserver/${id}`)!.modified
    hypervisor.applied.note({ kind: 'rainserver', id }, session, mapOf().order)
  }
}

async function runs(mothership: string, instance: string): Promise<void> {
  const session = mapOf().get('sessions', `mothership/${mothership}`)!.modified
  const { epoch, generation } = mapOf().get('instances', instance)!.value
  hypervisor.replica.observations.report(mothership, session, [{ instance, epoch, generation, phase: 'running' }])
  await waitUntil('it runs', () => mapOf().get('observed', `${mothership}/${instance}`)?.value.phase === 'running')
}

/** Of the component on this mothership and no other. */
async function startedOn(mothership: string, component = 'news'): Promise<string> {
  const all = [...mapOf().all('motherships')].map(([id]) => id)
  for (const id of all) await admin('PUT', `/mothership/${id}`, { cordoned: id !== mothership })
  const need = { cpu: 1, ram: 1, bandwidth: 1 }
  const { status, body } = await admin('POST', `/webcomponent/${component}/1.0`, { need })
  expect(status).toBe(201)
  for (const id of all) await admin('PUT', `/mothership/${id}`, { cordoned: false })
  return String(body['id'])
}

const wiresOf = (id: string): string[] => (mapOf().get('wiring', id)?.value.wires ?? []).map(each => each.mothership)
const wired = (id: string, ...to: readonly string[]): Promise<void> =>
  waitUntil(`${id} is wired to ${to.join(', ')}`, () => String(wiresOf(id)) === String(to))
const redundancy = (count: number) => admin('PUT', '/settings', { wiring: { redundancy: count } })

describe('the wiring of a rain server', () => {
  it('is told with the reason for each wire, what is short of copies, and when it changed', async () => {
    for (const id of ['m1', 'm2']) await connectMothership(hypervisor, id)
    await rainServer('r1', ['/*'])
    await runs('m1', await startedOn('m1'))
    await startedOn('m2')
    await wired('r1', 'm1', 'm2')
    const { status, body } = await hypervisor.rest('viewer')('GET', '/rainservers/r1/wiring')
    expect(status).toBe(200)
    expect(body).toEqual({
      id: 'r1',
      redundancy: 3,
      changedAt: expect.stringMatching(/^\d{4}-.*Z$/),
      wires: [
        { mothership: 'm1', because: 'covers', components: [{ component: 'news/1.0.0', state: 'serves', only: true }] },
        { mothership: 'm2', because: 'covers', components: [{ component: 'news/1.0.0', state: 'comes', only: false }] },
      ],
      components: [{ component: 'news/1.0.0', motherships: 2, wired: 2, serving: 1, wanted: 2 }],
      withoutCopies: ['shop/1.0.0'],
    })
    expect((await admin('GET', '/rainservers/r9/wiring')).status).toBe(404)
    expect((await hypervisor.rest('node')('GET', '/rainservers/r1/wiring')).status).toBe(403)
    const map = await admin('GET', '/map')
    expect(map.body['wires']).toEqual([
      { rainServer: 'r1', mothership: 'm1' },
      { rainServer: 'r1', mothership: 'm2' },
    ])
    expect(map.body['rainServers']).toMatchObject([{ wires: [{ components: ['news/1.0.0'] }, { mothership: 'm2' }] }])
  })

  it('is made anew by a reset, and says for which', async () => {
    await connectMothership(hypervisor, 'm1')
    await rainServer('r1', ['/*'])
    await runs('m1', await startedOn('m1'))
    await wired('r1', 'm1')
    const before = mapOf().get('wiring', 'r1')!.modified
    expect((await admin('PUT', '/rainservers/r1')).body).toMatchObject({ generation: 1 })
    await waitUntil('it is wired anew', () => mapOf().get('wiring', 'r1')?.value.generation === 1)
    expect(wiresOf('r1')).toEqual(['m1'])
    expect(mapOf().get('wiring', 'r1')!.modified).toBeGreaterThan(before)
  })

  it('leaves no copy idle: one that nobody needs for redundancy goes to the rain server with the fewest wires', async () => {
    for (const id of ['m1', 'm2', 'm3']) await connectMothership(hypervisor, id)
    await redundancy(1)
    for (const id of ['r1', 'r2']) await rainServer(id, ['/news/*'])
    for (const on of ['m1', 'm2', 'm3']) await runs(on, await startedOn(on))
    await waitUntil('every copy is wired', () => new Set([...wiresOf('r1'), ...wiresOf('r2')]).size === 3)
    expect(wiresOf('r1').length + wiresOf('r2').length).toBe(3)
  })
})

describe('waiting until it is wired', () => {
  it('is for those that are wired to the mothership, and for nobody where others do', async () => {
    for (const id of ['m1', 'm2']) await connectMothership(hypervisor, id)
    await redundancy(1)
    await rainServer('r1', ['/news/*'])
    await rainServer('r2', ['/shop/*'])
    await runs('m1', await startedOn('m1'))
    await wired('r1', 'm1')
    for (const id of ['m1', 'm2']) await admin('PUT', `/mothership/${id}`, { cordoned: id === 'm1' })

    const ask = async (): Promise<{ id: string; answer: Promise<unknown>; over: () => boolean }> => {
      const known = new Set([...mapOf().all('instances')].map(([id]) => id))
      let over = false
      const answer = admin('POST', '/webcomponent/news/1.0?wait=wired&timeout=20s', { need: { cpu: 1, ram: 1 } })
      void answer.then(() => (over = true))
      const found = (): string | undefined => [...mapOf().all('instances')].map(([id]) => id).find(id => !known.has(id))
      await waitUntil('it is placed', () => found() !== undefined)
      return { id: found()!, answer, over: () => over }
    }
    // The copy would be idle without a wire: it is waited for it, and for the word of who has it.
    const first = await ask()
    await runs('m2', first.id)
    await wired('r1', 'm1', 'm2')
    expect(first.over()).toBe(false)
    applies('r2')
    expect(first.over()).toBe(false)
    applies('r1')
    await first.answer
    // A second one there is reached by the wire that there is: the rain server has to know it, and no more.
    const second = await ask()
    await runs('m2', second.id)
    expect(second.over()).toBe(false)
    applies('r1')
    await second.answer
    expect(wiresOf('r1')).toEqual(['m1', 'm2'])
  })

  it('needs nobody where redundancy is reached by others that take visitors', async () => {
    for (const id of ['m1', 'm2']) await connectMothership(hypervisor, id)
    await redundancy(1)
    for (const id of ['r1', 'r2']) await rainServer(id, ['/news/*'])
    for (const on of ['m1', 'm2']) await runs(on, await startedOn(on))
    await waitUntil('both copies are used', () => new Set([...wiresOf('r1'), ...wiresOf('r2')]).size === 2)
    const [on2] = ['r1', 'r2'].filter(id => wiresOf(id).includes('m2'))
    for (const id of ['m1', 'm2']) await admin('PUT', `/mothership/${id}`, { cordoned: id === 'm1' })
    const answer = admin('POST', '/webcomponent/news/1.0?wait=wired&timeout=20s', { need: { cpu: 1, ram: 1 } })
    await waitUntil('it is placed', () => mapOf().count('instances') === 3)
    const id = [...mapOf().instancesOn('m2')].find(each => !mapOf().get('observed', `m2/${each}`))!
    await runs('m2', id)
    // Only who is wired there is heard, the other one says nothing.
    applies(on2!)
    expect((await answer).status).toBe(201)
  })
})

describe('a copy that moves', () => {
  it('is there until every rain server that showed it is wired to the other one, and has said so', async () => {
    await connectMothership(hypervisor, 'm1')
    await redundancy(1)
    await rainServer('r1', ['/news/*'])
    const id = await startedOn('m1')
    await runs('m1', id)
    await wired('r1', 'm1')
    applies('r1')
    await connectMothership(hypervisor, 'm2')
    await admin('PUT', '/mothership/m1', { draining: true })
    await waitUntil('it is to run elsewhere, too', () => {
      const { inSync, learners } = mapOf().get('instances', id)!.value
      return [...inSync, ...learners].includes('m2')
    })
    expect(wiresOf('r1')).toEqual(['m1'])
    await runs('m2', id)
    await wired('r1', 'm2')
    const copies = (): string[] => {
      const { inSync, learners } = mapOf().get('instances', id)!.value
      return [...inSync, ...learners].sort()
    }
    expect(copies()).toEqual(['m1', 'm2'])
    applies('r1')
    await waitUntil('the first copy goes', () => String(copies()) === 'm2')
  })

  it('goes after three seconds where a rain server does not speak', async () => {
    await connectMothership(hypervisor, 'm1')
    await rainServer('r1', ['/news/*'])
    const id = await startedOn('m1')
    await runs('m1', id)
    await wired('r1', 'm1')
    await connectMothership(hypervisor, 'm2')
    await admin('PUT', '/mothership/m1', { draining: true })
    await waitUntil('it is to run elsewhere, too', () => mapOf().tallyOf('news/1.0.0').copies.has('m2'))
    const fromMs = performance.now()
    await runs('m2', id)
    await waitUntil('the first copy goes', () => !mapOf().tallyOf('news/1.0.0').copies.has('m1'), 10_000)
    expect(performance.now() - fromMs).toBeGreaterThan(2_000)
  })
})
