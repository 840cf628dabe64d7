/**
 * The pictures of the seed, on a real cloud: seven nodes open a channel and register; two instantiations wire a partial
 * graph, in which one mothership stays empty and one rain server is wired to nothing.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { InstanceView, MothershipView, RainServerView } from '../../src/hypervisor/views.js'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { type Rest, restOf } from '../support/rest.js'

let cloud: TestCloud
let rest: Rest
beforeAll(async () => {
  cloud = await startCloud({ args: ['--replicas', '1', '--motherships', '3', '--rain-servers', '4'] })
  rest = restOf(cloud.state().api, cloud.state().tokens.admin)
})
afterAll(async () => {
  await cloud.close()
})

interface Picture {
  readonly rainServers: readonly RainServerView[]
  readonly motherships: readonly MothershipView[]
}

async function picture(): Promise<Picture> {
  const { body } = await rest('GET', '/map?consistency=linearizable')
  return body as unknown as Picture
}

const wires = ({ rainServers }: Picture): Record<string, string[]> =>
  Object.fromEntries(rainServers.map(({ id, wires: all }) => [id, all.map(each => each.mothership)]))

async function stopEverything(): Promise<void> {
  for (const { id } of (await picture()).motherships) {
    const { body } = await rest('GET', `/mothership/${id}/webcomponents`)
    for (const instance of body['items'] as unknown as InstanceView[])
      await rest('DELETE', `/webcomponent/${instance.id}`)
  }
}

const one = { placement: { copies: 1 } }

it('is the cloud that the pictures show', async () => {
  // Off, then booted: everyone registers, and nothing else.
  await stopEverything()
  const urls = { r1: ['/header/*'], r2: ['/shop/*'], r3: ['/header/*', '/footer/*'], r4: ['/footer/*'] }
  for (const component of ['shop', 'catalog', 'product', 'news', 'offers']) {
    expect((await rest('DELETE', `/webcomponent/${component}/1.0`)).status).toBe(202)
  }
  for (const [id, own] of Object.entries(urls)) {
    expect((await rest('PUT', `/rainservers/${id}`, { urls: own })).status).toBe(202)
  }
  await waitUntil('nothing is wired', async () =>
    Object.values(wires(await picture())).every(each => each.length === 0),
  )
  const booted = await picture()
  expect(booted.rainServers.map(each => [each.id, each.state])).toEqual(
    ['r1', 'r2', 'r3', 'r4'].map(id => [id, 'ready']),
  )
  expect(booted.motherships.map(each => [each.id, each.state, each.instances])).toEqual(
    ['m1', 'm2', 'm3'].map(id => [id, 'ready', 0]),
  )

  // Two instantiations, on motherships 1 and 3: what each of them measures of itself must not decide here.
  const only = async (id: string): Promise<void> => {
    for (const each of ['m1', 'm2', 'm3']) await rest('PUT', `/mothership/${each}`, { cordoned: each !== id })
  }
  await only('m1')
  const first = await rest('POST', '/webcomponent/header/1?wait=running', one)
  expect([first.status, first.body['primary']]).toEqual([201, 'm1'])
  await only('m3')
  const second = await rest('POST', '/webcomponent/footer/1?wait=wired', one)
  expect([second.status, second.body['primary']]).toEqual([201, 'm3'])
  const expected = { r1: ['m1'], r2: [], r3: ['m1', 'm3'], r4: ['m3'] }
  await waitUntil('the wiring is that of the picture', async () => {
    return JSON.stringify(wires(await picture())) === JSON.stringify(expected)
  })
  expect((await picture()).motherships.map(each => each.instances)).toEqual([1, 0, 1])

  // Who may render what is asked, and nobody else; HAProxy follows.
  await waitUntil('pages come from who renders them', async () => {
    const [header, footer, shop] = await Promise.all(
      ['header', 'footer', 'shop'].map(async name => (await fetch(`${cloud.state().pages}/${name}/index`)).status),
    )
    return header === 200 && footer === 200 && shop === 404
  })

  // Elastic: more pieces, and clones use them.
  await rest('PUT', '/mothership/m2', { cordoned: false })
  const cloned = await rest('POST', `/webcomponent/${first.body['id'] as unknown as string}?wait=wired`, {
    mothership: 'm2',
  })
  expect(cloned.status).toBe(202)
  await waitUntil(
    'the clone is wired too',
    async () =>
      JSON.stringify(wires(await picture())) ===
      JSON.stringify({ r1: ['m1', 'm2'], r2: [], r3: ['m1', 'm2', 'm3'], r4: ['m3'] }),
  )
}, 90_000)
