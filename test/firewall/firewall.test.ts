/**
 * Real processes behind hostile networks: whatever stands between, nodes have a session again within a bound, what is
 * wanted reaches them and what they observe comes back, and what was started meanwhile runs and is shown.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { titled, whyNoNetwork } from '../faults/support/capabilities.js'
import { Network } from '../faults/support/network.js'
import { freePorts, waitUntil } from '../support/etcd.js'
import { BufferingProxy, ConnectProxy, Firewall, type Handshake } from '../support/hostile-proxies.js'
import { addOnce, readLog, tally } from '../support/tally.js'
import { WalledCloud } from '../support/walled-cloud.js'

/**
 * From the moment that something is asked for until it is shown: a few seconds on a machine that does nothing else, and
 * this on one that does much.
 */
const boundMs = 30_000

describe('a cloud whose nodes are behind a hostile proxy', () => {
  let cloud: WalledCloud
  let proxy: BufferingProxy
  let firewall: Firewall
  const proxied = (handshake: Handshake): void => {
    proxy.handshake = handshake
    firewall.target = new URL(proxy.url)
  }
  const ready = (withinMs: number): Promise<void> =>
    waitUntil(
      'both nodes have a session',
      async () =>
        (await cloud.stateOf('mothership', 'm1')) === 'ready' && (await cloud.stateOf('rainserver', 'r1')) === 'ready',
      withinMs,
    )

  beforeAll(async () => {
    cloud = await WalledCloud.start(['mothership/m1', 'rainserver/r1'], async url => {
      proxy = await BufferingProxy.start(url, 'strip')
      firewall = await Firewall.start(proxy.url)
      return firewall.url
    })
    await cloud.startNode({ kind: 'mothership', id: 'm1', flags: { hypervisor: firewall.url } })
    await cloud.startNode({ kind: 'rainserver', id: 'r1', flags: { hypervisor: firewall.url } })
  })
  afterAll(async () => {
    await cloud?.close()
    await firewall?.stop()
    await proxy?.stop()
  })

  it('works by polls from the start where the upgrade is stripped', async () => {
    await ready(boundMs)
    expect(await cloud.showsNew('stripped')).toBeLessThan(boundMs)
    expect(cloud.logOf('m1')).toMatch(/"way":"polling".*session is live/)
  })

  it('comes back to websockets by itself when these pass', async () => {
    firewall.target = new URL(cloud.url)
    const moved = (id: string): boolean => /"way":"websocket"[^\n]*session is live/.test(cloud.logOf(id))
    await waitUntil('both have websockets', () => moved('m1') && moved('r1'), 40_000)
    expect(await cloud.showsNew('back')).toBeLessThan(boundMs)
  }, 60_000)

  it.each<[string, Handshake]>([
    ['200', 200],
    ['400', 400],
    ['502', 502],
    ['nothing', 'hang'],
  ])('works again when all is cut, and handshakes are answered by %s then', async (name, handshake) => {
    proxied(handshake)
    firewall.cutAll()
    expect(await cloud.showsNew(`after-${name}`)).toBeLessThan(boundMs)
  })

  it('works while every third request fails in some way', async () => {
    const mishaps = ['doubled', 'request-lost', 'answer-lost', 'answer-cut', 'bad-gateway'] as const
    let count = 0
    proxy.mishap = () => (++count % 3 === 0 ? mishaps[Math.floor(count / 3) % mishaps.length]! : 'none')
    try {
      expect(await cloud.showsNew('mishaps')).toBeLessThan(boundMs)
    } finally {
      proxy.mishap = () => 'none'
    }
  })

  it('works where idle connections are dropped without a word', async () => {
    firewall.idleMs = 1_500
    firewall.cutAll()
    await waitUntil('a held poll was dropped', () => firewall.forgotten > 0)
    expect(await cloud.showsNew('idle')).toBeLessThan(boundMs)
    firewall.idleMs = Number.POSITIVE_INFINITY
  })

  it.each(['requests', 'replies'] as const)('works again when only %s were swallowed for 4 s', async way => {
    firewall.cut(way)
    const untilMs = performance.now() + 4_000
    await waitUntil('4 s have passed', () => performance.now() > untilMs)
    firewall.heal()
    expect(await cloud.showsNew(`without-${way}`)).toBeLessThan(boundMs)
  })

  it('works again when all connections are forgotten at once', async () => {
    firewall.forgetAll()
    expect(await cloud.showsNew('forgotten')).toBeLessThan(boundMs)
  })

  it('works when connections are reset in the midst of frames', async () => {
    let count = 0
    firewall.resetAfter = () => (count++ % 2 === 0 ? 900 : Number.POSITIVE_INFINITY)
    firewall.cutAll()
    expect(await cloud.showsNew('resets')).toBeLessThan(boundMs)
    firewall.resetAfter = () => Number.POSITIVE_INFINITY
    expect(firewall.resets).toBeGreaterThan(0)
  })
})

const whyNot = whyNoNetwork()

describe.skipIf(whyNot !== undefined)(titled('a mothership in a network without a way out', whyNot), () => {
  it('reaches the cloud through a proxy that opens tunnels to port 443 only, also after a cut', async () => {
    const network = Network.open(1)
    const hidden = 'http://h1.cloud.example:443'
    let proxy: ConnectProxy | undefined
    let cloud: WalledCloud | undefined
    try {
      cloud = await WalledCloud.start(['mothership/m1', 'rainserver/r1'], async url => {
        proxy = await ConnectProxy.start(new Map([['h1.cloud.example', new URL(url)]]), { host: network.gateway })
        return hidden
      })
      await cloud.startNode({ kind: 'rainserver', id: 'r1', flags: { hypervisor: cloud.url } })
      await cloud.startNode({
        kind: 'mothership',
        id: 'm1',
        command: network.command(0),
        host: network.address(0),
        flags: { hypervisor: hidden, proxy: proxy!.url },
      })
      expect(await cloud.showsNew('tunnelled', 'r1')).toBeLessThan(boundMs)
      expect([...new Set(proxy!.asked)]).toContain('h1.cloud.example:443')

      network.isolate(0)
      await waitUntil('it is gone', async () => (await cloud!.stateOf('mothership', 'm1')) !== 'ready', 20_000)
      network.heal()
      expect(await cloud.showsNew('healed', 'r1')).toBeLessThan(boundMs)
    } finally {
      await cloud?.close()
      await proxy?.stop()
      network.close()
    }
  }, 120_000)
})

describe.skipIf(whyNot !== undefined)(titled('links between nodes in networks without a way out', whyNot), () => {
  it('go through the proxy, for pages and for copies of kept state, and come back after a cut', async () => {
    const network = Network.open(2)
    const hidden = 'http://h1.cloud.example:443'
    const [port = 0] = await freePorts(1)
    const hosts = new Map([['m2.cloud.example', new URL(`http://127.0.0.1:${port}`)]])
    let proxy: ConnectProxy | undefined
    let cloud: WalledCloud | undefined
    try {
      cloud = await WalledCloud.start(['mothership/m1', 'mothership/m2', 'rainserver/r1'], async url => {
        hosts.set('h1.cloud.example', new URL(url))
        proxy = await ConnectProxy.start(hosts, { host: network.gateway })
        return hidden
      })
      // The other one's network is the same as its own: that way is direct.
      const walled = (place: number) => ({
        command: [...network.command(place), 'env', `NO_PROXY=${network.gateway}/24`],
        host: network.address(place),
        flags: { hypervisor: hidden, proxy: proxy!.url },
      })
      await cloud.startNode({ kind: 'mothership', id: 'm1', ...walled(0) })
      const outside = { hypervisor: cloud.url, address: 'ws://m2.cloud.example:443' }
      await cloud.startNode({ kind: 'mothership', id: 'm2', port, flags: outside })
      await cloud.startNode({ kind: 'rainserver', id: 'r1', ...walled(1) })
      const ready = async (id: string): Promise<boolean> => (await cloud!.stateOf('mothership', id)) === 'ready'
      await waitUntil('both motherships are ready', async () => (await ready('m1')) && (await ready('m2')), boundMs)

      expect((await cloud.rest('POST', '/webcomponent/', await tally('tally'))).status).toBe(201)
      const started = await cloud.rest('POST', '/webcomponent/tally/1.0', { id: 'tally.1', placement: { copies: 2 } })
      expect(started.status).toBe(201)
      const inSync = async (): Promise<number> =>
        ((await cloud!.rest('GET', '/webcomponent/tally.1')).body['inSync'] as unknown as string[]).length
      await waitUntil('both copies are in sync', async () => (await inSync()) === 2, boundMs)
      expect(proxy!.asked).toContain('m2.cloud.example:443')
      expect(cloud.logOf('m1')).toMatch(/"mothership":"m2"[^\n]*copies are linked/)

      const linked = (id: string): number =>
        cloud!.logOf('r1').match(new RegExp(`"mothership":"${id}","msg":"linked"`, 'g'))?.length ?? 0
      await waitUntil('the rain server is linked to both', () => linked('m1') > 0 && linked('m2') > 0, boundMs)
      const add = `${cloud.pages.get('r1')}/tally/1.0/controller/add`
      await waitUntil('it is changed', async () => (await addOnce(add, 'before', 3_000)) !== undefined, boundMs)

      network.isolate(1)
      await waitUntil('a link is lost', () => cloud!.logOf('r1').includes('link lost'), 20_000)
      network.heal()
      await waitUntil('both links are there again', () => linked('m1') > 1 && linked('m2') > 1, boundMs)
      await waitUntil('it is changed', async () => (await addOnce(add, 'after', 3_000)) !== undefined, boundMs)
      expect(await readLog(add)).toEqual(['before', 'after'])
    } finally {
      await cloud?.close()
      await proxy?.stop()
      network.close()
    }
  }, 180_000)
})
