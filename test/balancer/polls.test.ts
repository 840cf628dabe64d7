/** Nodes that poll through HAProxy: each reaches the replica where its session is, and another one when that is gone. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { startBalancer } from '../../src/balancer/agent.js'
import type { BalancerConfig } from '../../src/config.js'
import { systemClock } from '../../src/main/world.js'
import { PollingTransport } from '../../src/sdk/polling-transport.js'
import { freePorts, waitUntil } from '../support/etcd.js'
import { aToken, FakeLog } from '../support/fake-hypervisor.js'
import { aReplica, closeAll, type GatewayReplica, mothership } from '../support/gateways.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await closeAll()
})

/** Url of the REST of these replicas at a HAProxy of their own. */
async function balanced(replicas: readonly [GatewayReplica, ...GatewayReplica[]]): Promise<string> {
  const [port = 0, apiPort = 0] = await freePorts(2)
  const dataDir = mkdtempSync(join(tmpdir(), 'rain-polls-'))
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const config = {
    role: 'balancer',
    id: 'b1',
    host: '127.0.0.1',
    port,
    apiPort,
    address: `http://127.0.0.1:${port}`,
    metricsHost: '127.0.0.1',
    metricsPort: 1,
    // Its own session is not to be at the replica that goes: a websocket would keep that from closing.
    hypervisors: [replicas[0].url],
    token: aToken(replicas[0].store, { kind: 'balancer', id: 'b1' }),
    dataDir,
    haproxy: 'haproxy',
    slots: 4,
    logLevel: 'info',
  } as unknown as BalancerConfig
  const agent = await startBalancer(config, { log: new FakeLog(), clock: systemClock })
  cleanups.push(() => agent.stop())
  const up = async (): Promise<number> =>
    (await agent.registry.metrics()).match(/^rain_balancer_server_up\{pattern="api",server="h\d"\} 1$/gm)?.length ?? 0
  await waitUntil('all replicas are up', async () => (await up()) === replicas.length)
  return `http://127.0.0.1:${apiPort}`
}

/** A session's wire of that node, by polls. */
class Polling {
  open = false
  heard = 0
  ended: string | undefined
  readonly #transport: PollingTransport

  constructor(url: string, node: string, token: string) {
    this.#transport = new PollingTransport(
      { url, node, token, holdMs: 20_000 },
      {
        onOpen: () => (this.open = true),
        onFrame: () => undefined,
        onHeard: () => this.heard++,
        onEnd: ({ reason }) => (this.ended = reason),
      },
    )
    cleanups.push(() => this.#transport.terminate())
  }

  /** Until it was answered, or the wire is over. */
  async ping(): Promise<void> {
    const before = this.heard
    this.#transport.ping()
    await waitUntil('the ping is answered', () => this.heard > before || this.ended !== undefined)
  }
}

async function threeReplicas(): Promise<[GatewayReplica, GatewayReplica, GatewayReplica]> {
  const first = await aReplica('h1')
  return [first, await aReplica('h2', first.store), await aReplica('h3', first.store)]
}

it('come to one replica each, and find another one when that is gone', async () => {
  const replicas = await threeReplicas()
  const url = await balanced(replicas)
  const ids = Array.from({ length: 6 }, (_, i) => `m${i + 1}`)
  const tokens = new Map(ids.map(id => [id, aToken(replicas[0].store, mothership(id))]))
  const polling = new Map(ids.map(id => [id, new Polling(url, id, tokens.get(id)!)]))
  const all = [...polling.values()]
  await waitUntil('all are open', () => all.every(each => each.open))
  for (let i = 0; i < 5; i++) await Promise.all(all.map(each => each.ping()))
  expect(all.map(each => each.ended)).toEqual(ids.map(() => undefined))

  await replicas[1].close()
  const gone = (): [string, Polling][] => [...polling].filter(([, each]) => each.ended !== undefined)
  // They were opened in turn: a third of them was there.
  await waitUntil('those that were there are told so', async () => {
    await Promise.all(all.map(each => each.ping()))
    return gone().length >= 2
  })
  for (let i = 0; i < 5; i++) await Promise.all(all.map(each => each.ping()))
  expect(gone().map(([, each]) => each.ended)).toEqual(Array(2).fill('no such connection: it is not known here'))
  const again = gone().map(([id]) => new Polling(url, id, tokens.get(id)!))
  await waitUntil('they are open again', () => again.every(each => each.open))
  for (let i = 0; i < 5; i++) await Promise.all(again.map(each => each.ping()))
  expect(again.map(each => each.ended)).toEqual([undefined, undefined])
}, 60_000)

it('have a cookie, and nobody else has', async () => {
  const replicas = await threeReplicas()
  const [first] = replicas
  const url = await balanced(replicas)
  const asked = new Set<GatewayReplica>()
  for (const each of replicas) {
    each.server.on('request', request => {
      if (request.url === '/openapi.json') asked.add(each)
    })
  }
  const authorization = `Bearer ${aToken(first.store, mothership('m1'))}`
  const opened = await fetch(`${url}/nodes/m1/poll`, { method: 'POST', headers: { authorization } })
  const [cookie = ''] = opened.headers.getSetCookie()
  expect([opened.status, cookie.replace(/[0-9a-f]{16}/, '…')]).toEqual([
    201,
    'RAIN-REPLICA=…; path=/; HttpOnly; SameSite=Lax',
  ])
  for (let i = 0; i < 9; i++) {
    const answer = await fetch(`${url}/openapi.json`, { headers: { cookie: cookie.split(';')[0]! } })
    expect(answer.headers.getSetCookie()).toEqual([])
    await answer.text()
  }
  expect(asked.size).toBe(3)
}, 60_000)
