/** A real rain server with two real motherships: what each of them says of the other's protocol, put together. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemChance } from '../../src/main/world.js'
import { type Mothership, startMothership } from '../../src/mothership/mothership.js'
import type { WantedComponent } from '../../src/protocol/messages.js'
import { builtWorker } from '../support/build.js'
import { waitUntil } from '../support/etcd.js'
import { FakeReplica } from '../support/fake-replica.js'
import { TestLog } from '../support/logs.js'
import { aPackage } from '../support/packages.js'
import { testClock } from '../support/plain-store.js'
import { aVersion, bare, SmallCloud } from '../support/small-cloud.js'
import { aKey } from '../support/tickets.js'

const packages: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  shop: {
    'meta.json': JSON.stringify({ id: 'shop', version: '1.0', pageTitle: 'Shop', views: { index: {}, item: {} } }),
    'client/templates/index.html':
      '{{#each items}}{{component view="item" item=this}}{{/each}}{{component name="cart" of="<you>"}}',
    'client/templates/item.html': '<li>{{item}} for {{who}}</li>',
    'client/css/shop.css': 'li {}',
    'server/data.js': `
      exports.index = (environment, callback, context, request) =>
        callback(null, { items: ['rain', 'sun'], who: request.query.who })
    `,
  },
  cart: {
    'meta.json': JSON.stringify({ id: 'cart', version: '2.1.3', views: { index: { fallback: 'away.html' } } }),
    'client/templates/away.html': 'No cart today',
    'client/templates/index.html': '{{of}}: {{items.length}} on {{mothership}}',
    'client/js/index.js': 'cart()',
    'server/data.js': `
      exports.index = async (environment, callback, context) => ({ ...context, mothership: environment.mothership })
    `,
  },
}

let cloud: SmallCloud
const key = aKey()
const nodes: { replica: FakeReplica; mothership: Mothership }[] = []
const dataDir = mkdtempSync(join(tmpdir(), 'rain-together-'))

/** Runs `<component>.<id>` of each. */
async function mothershipWith(id: string, components: readonly string[]): Promise<Mothership> {
  const replica = await FakeReplica.start()
  const entries: Record<string, unknown> = { keys: { keys: [{ id: key.id, publicKey: key.publicKey }] } }
  for (const component of components) {
    entries[`instances/${component}.${id}`] = {
      component,
      version: component === 'cart' ? '2.1.3' : '1.0.0',
      digest: replica.has(await aPackage(packages[component]!)),
      size: 1,
      role: 'primary',
      epoch: 1,
      generation: 0,
      isolation: 'shared',
      need: { cpu: 50, ram: 32, bandwidth: 100 },
    }
  }
  replica.want(entries)
  const mothership = await startMothership(
    {
      id,
      host: '127.0.0.1',
      port: 0,
      metricsPort: 1,
      logLevel: 'silent',
      hypervisors: [replica.url],
      token: 'token',
      address: 'ws://127.0.0.1:1',
      labels: {},
      dataDir: join(dataDir, id),
      capacity: { cpu: 1000, ram: 1024, bandwidth: 1000 },
      measure: 'processes',
    },
    { log: new TestLog(), clock: testClock, chance: systemChance, workerPath: builtWorker },
  )
  nodes.push({ replica, mothership })
  for (const component of components) {
    await waitUntil(`${component} runs`, () => replica.last(`${component}.${id}`)?.phase === 'running')
  }
  return mothership
}

const cart = (...on: string[]): WantedComponent =>
  aVersion('cart', on, { version: '2.1.3', exact: '2.1.3', terms: { index: { fallback: true } } })

beforeAll(async () => {
  cloud = await SmallCloud.start()
  const m3 = await mothershipWith('m3', ['shop'])
  const m4 = await mothershipWith('m4', ['shop', 'cart'])
  const wire = (mothership: string, { port }: Mothership): object => ({
    mothership,
    address: `ws://127.0.0.1:${port}`,
    ticket: key.ticket(mothership),
  })
  cloud.replica.want({
    server: { urls: ['/*'], generation: 0, fragmentDeadlineMs: 8_000, pageDeadlineMs: 9_000, errorComponent: null },
    'components/shop/1.0.0': aVersion('shop', ['m3', 'm4'], { views: ['index', 'item'] }),
    'components/cart/2.1.3': cart('m4'),
    'wires/m3': wire('m3', m3),
    'wires/m4': wire('m4', m4),
  })
  await waitUntil('it is ready', async () => (await cloud.ask('/healthz')).status === 200)
})
afterAll(async () => {
  await cloud.stop()
  await Promise.all(nodes.map(each => each.mothership.stop()))
  await Promise.all(nodes.map(each => each.replica.close()))
  rmSync(dataDir, { recursive: true, force: true })
})

/** Ids of views are new at each render. */
const stable = (html: string): string => html.replace(/<div id="v[0-9a-f]{16}" data-rain-component="[a-z]+">/g, '(')

describe('a page', () => {
  it('of real packages on two motherships is whole', async () => {
    await waitUntil('both links are open', async () => (await cloud.ask('/cart')).status === 200)
    const reply = await cloud.ask('/shop?who=%3CAda%3E')

    expect(reply.status).toBe(200)
    expect(bare({ ...reply, body: stable(reply.body) })).toBe(
      '[([<li>rain for &lt;Ada&gt;</li>]]([<li>sun for &lt;Ada&gt;</li>]]([&lt;you&gt;: 2 on m4]]]',
    )
    expect(reply.body).toContain('<title>Shop</title>')
    expect([...reply.body.matchAll(/(?:href|src)="(.*?)"/g)].map(each => each[1])).toEqual([
      '/shop/1.0/css/shop.css',
      '/cart/2.1.3/js/index.js',
    ])
  })

  it('finds the files that it names', async () => {
    for (const [path, body] of [
      ['/shop/1.0/css/shop.css', 'li {}'],
      ['/cart/2.1.3/js/index.js', 'cart()'],
    ] as const) {
      const file = await cloud.ask(path)
      expect([path, file.status, file.body]).toEqual([path, 200, body])
      const again = await cloud.ask(path, { headers: { 'if-none-match': String(file.headers.etag) } })
      expect([path, again.status, again.body]).toEqual([path, 304, ''])
    }
  })

  it('is made by the other copies when a mothership stops, whoever asks', async () => {
    const asked = async (session: number): Promise<number> => {
      const cookie = `rain-sid=${session.toString(16).repeat(32)}`
      return (await cloud.ask('/shop', { headers: { accept: 'text/html', cookie } })).status
    }
    const stopped = nodes[0]!.mothership.stop()
    const during: number[] = []
    let done = false
    void stopped.then(() => (done = true))
    while (!done) during.push(...(await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(asked))))

    expect(during.length).toBeGreaterThan(0)
    expect(new Set(during)).toEqual(new Set([200]))
    expect(await Promise.all([8, 9, 10, 11].map(asked))).toEqual([200, 200, 200, 200])
  })

  it("has the packages' own fallbacks where nobody is left who could make it", async () => {
    await nodes[1]!.mothership.stop()
    const reply = await cloud.ask('/cart')
    expect([reply.status, bare(reply)]).toEqual([200, '[No cart today]'])
    // Without one, the page's own component decides.
    expect((await cloud.ask('/shop')).status).toBe(503)
  })
})
