/**
 * Wires as they are: real motherships, a real rain server with the wiring that the cloud would give it, and its sockets.
 * Each wire goes through a proxy of its own, so that it can be cut.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultSettings, put } from '../../src/cloud/records.js'
import { wireAll } from '../../src/cloud/wiring/wiring.js'
import { wantedFor } from '../../src/hypervisor/wanted.js'
import { apply, mapOf } from '../support/clouds.js'
import { waitUntil } from '../support/etcd.js'
import { shown } from '../support/fake-mothership.js'
import { TestProxy } from '../support/proxy.js'
import { RealMotherships } from '../support/real-motherships.js'
import { aComponent, aMothership, anInstance, aRainServer, running, session } from '../support/records.js'
import { aVersion, SmallCloud } from '../support/small-cloud.js'

const packageOf = (id: string, template: string): Readonly<Record<string, string>> => ({
  'meta.json': JSON.stringify({ id, version: '1.0', views: { index: {} } }),
  'client/templates/index.html': template,
})
const packages = {
  page: packageOf('page', '<h1>page</h1>{{component name="part"}}'),
  part: packageOf('part', '<p>part</p>'),
  other: packageOf('other', '<p>other</p>'),
}
/** What runs where: every version of a page twice, its part three times, and what pages of r1 never come to. */
const hosted: Readonly<Record<string, readonly (keyof typeof packages)[]>> = {
  m1: ['page', 'part'],
  m2: ['part'],
  m3: ['page', 'part'],
  m4: ['other'],
}
const hosts = Object.keys(hosted)

const uses = (id: string) => ({ views: [{ id: 'index', uses: id === 'page' ? [{ component: 'part' }] : [] }] })
/** The map of it; two rain servers, of which the first one is real. */
const map = mapOf(
  put('settings', '', {
    ...defaultSettings,
    ...{ fragmentDeadlineMs: 8_000, pageDeadlineMs: 9_000 },
    wiring: { ...defaultSettings.wiring, redundancy: 2 },
  }),
  ...Object.keys(packages).map(id => put('components', `${id}/1.0.0`, aComponent(id, '1.0', uses(id)))),
  ...hosts.flatMap(id => [session('mothership', id)]),
  ...Object.entries(hosted).flatMap(([on, components]) =>
    components.flatMap(id => [
      put('instances', `${id}.${on}`, anInstance(`${id}.${on}`, [on])),
      running(on, `${id}.${on}`),
    ]),
  ),
  put('rainservers', 'r1', aRainServer('r1', { urls: ['/page/*'] })),
  put('rainservers', 'r2', aRainServer('r2', { urls: ['/part/*'] })),
  session('rainserver', 'r1'),
  session('rainserver', 'r2'),
)

const motherships = new RealMotherships(packages)
const proxies = new Map<string, TestProxy>()
let cloud: SmallCloud
let wires: readonly string[]

beforeAll(async () => {
  const [small, ...hostings] = await Promise.all([
    SmallCloud.start(),
    ...hosts.map(id => motherships.start(id, hosted[id]!)),
  ])
  cloud = small
  for (const { id, mothership } of hostings) {
    proxies.set(id, await TestProxy.start(`http://127.0.0.1:${mothership.port}`))
    apply(map, [put('motherships', id, aMothership(id, { address: `ws://127.0.0.1:${portOf(id)}` }))])
  }
  const wiring = wireAll(map)
  apply(
    map,
    [...wiring].map(([id, record]) => put('wiring', id, record)),
  )
  wires = wiring.get('r1')!.wires.map(each => each.mothership)
  const entries = wantedFor(map, { kind: 'rainserver', id: 'r1' }, (_who, { id }) => motherships.key.ticket(id))
  cloud.replica.want(Object.fromEntries(entries))
  await waitUntil('pages are whole', async () => (await marks(0)).length === 2)
}, 60_000)
afterAll(async () => {
  await cloud.stop()
  await Promise.all([...proxies.values()].map(each => each.stop()))
  await motherships.stop()
})

const portOf = (id: string): number => Number(new URL(proxies.get(id)!.url).port)

/** Motherships to whose proxies connections are established, each as often as there are, by the kernel's word. */
function connected(): string[] {
  const ports = new Map(hosts.map(id => [portOf(id), id]))
  const lines = readFileSync('/proc/self/net/tcp', 'utf8').trim().split('\n').slice(1)
  return lines
    .map(line => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === '01')
    .flatMap(([, , remote = '']) => ports.get(Number.parseInt(remote.split(':')[1]!, 16)) ?? [])
    .sort()
}

/** Which mothership made each fragment of the page that a visitor sees: `page m1`. */
async function marks(visitor: number): Promise<string[]> {
  const cookie = `rain-sid=${visitor.toString(16).padStart(32, '0')}`
  const { status, body } = await cloud.ask('/page', { headers: { accept: 'text/html', cookie } })
  if (status !== 200) return []
  return [...body.matchAll(/data-rain-component="(\w+)"[^>]*data-rain-mothership="(\w+)"/g)].map(
    each => `${each[1]} ${each[2]}`,
  )
}

const visitors = Array.from({ length: 24 }, (_, index) => index)
const seen = (): Promise<string[][]> => Promise.all(visitors.map(marks))

describe('the sockets of a rain server', () => {
  it('are its wires: none to a copy that it does not need, none to what its pages never come to', async () => {
    expect(wires).toEqual(['m1', 'm3'])
    await waitUntil('links are open', () => connected().length === wires.length)
    expect(connected()).toEqual([...wires])
    expect(proxies.get('m2')!.connections + proxies.get('m4')!.connections).toBe(0)
    // What it does not need is another one's.
    expect(map.get('wiring', 'r2')!.value.wires.map(each => each.mothership)).toContain('m2')
  })

  it('bring every fragment: each names a mothership that is wired, and each wire brings some', async () => {
    const all = (await seen()).flat()
    expect(all).toHaveLength(2 * visitors.length)
    expect(new Set(all)).toEqual(new Set(['page m1', 'page m3', 'part m1', 'part m3']))
  })

  it('are what fragments hang on: a wire that is cut changes those that came through it, and no other', async () => {
    const before = await seen()
    for (const [cut, other] of [
      ['m1', 'm3'],
      ['m3', 'm1'],
    ] as const) {
      proxies.get(cut)!.refuse()
      await waitUntil('the wire is cut', () => connected().join() === other)
      const without = before.map(each => each.map(mark => mark.replace(cut, other)))
      await waitUntil('the rain server knows', async () => JSON.stringify(await seen()) === JSON.stringify(without))
      proxies.get(cut)!.accept()
      await waitUntil('the wire is back', () => connected().length === 2)
      await waitUntil('all is as before', async () => JSON.stringify(await seen()) === JSON.stringify(before))
    }
  })

  it('fail the page where all are cut: a rain server makes nothing itself', async () => {
    for (const id of wires) proxies.get(id)!.refuse()
    await waitUntil('no wire is left', () => connected().length === 0)
    const { status, body } = await cloud.ask('/page')
    expect([status, body.includes('<h1>page</h1>')]).toEqual([503, false])
    for (const id of wires) proxies.get(id)!.accept()
    await waitUntil('pages are whole', async () => (await marks(0)).length === 2)
  })
})

describe('wires that are exchanged', () => {
  it('leave no page without a link: the old one goes when the new one was tried', async () => {
    const fakes = await SmallCloud.start()
    const components = [aVersion('shop', ['m1', 'm2'])]
    for (const each of [fakes.m1, fakes.m2]) each.views.set(`shop.${each.id}/index`, () => shown('shop'))
    await fakes.want({ components, wires: [fakes.m1.wire()] })
    const statuses: number[] = []
    let over = false
    const asking = (async () => {
      while (!over) statuses.push((await fakes.ask('/shop')).status)
    })()
    for (let round = 0; round < 20; round++) {
      await fakes.want({ components, wires: [(round % 2 === 0 ? fakes.m2 : fakes.m1).wire()] })
    }
    over = true
    await asking
    await fakes.stop()
    expect(statuses.length).toBeGreaterThan(20)
    expect(new Set(statuses)).toEqual(new Set([200]))
  })
})
