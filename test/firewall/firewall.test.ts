/**
 * Real processes behind hostile networks: whatever stands between, nodes have a session again within a bound, what is
 * wanted reaches them and what they observe comes back, and what was started meanwhile runs and is shown.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { titled, whyNoNetwork } from '../faults/support/capabilities.js'
import { Network } from '../faults/support/network.js'
import { waitUntil } from '../support/etcd.js'
import { BufferingProxy, ConnectProxy, Firewall, type Handshake } from '../support/hostile-proxies.js'
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
