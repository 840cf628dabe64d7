/** A balancer agent with a real HAProxy and the gateway of a replica: what it is told, and what it does after a restart. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { startBalancer } from '../../src/balancer/agent.js'
import { put, remove } from '../../src/cloud/records.js'
import type { BalancerConfig } from '../../src/config.js'
import { systemClock } from '../../src/main/world.js'
import { freePorts, waitUntil } from '../support/etcd.js'
import { aToken, FakeLog } from '../support/fake-hypervisor.js'
import { aReplica, closeAll, type GatewayReplica, rainServer } from '../support/gateways.js'
import { aRainServer } from '../support/records.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await closeAll()
})

async function aPage(text: string): Promise<string> {
  const server = createServer((_request, response) => response.end(text))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

const aDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'rain-agent-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function anAgent(replica: GatewayReplica, dataDir: string) {
  const [port = 0, apiPort = 0] = await freePorts(2)
  const token = aToken(replica.store, { kind: 'balancer', id: 'b1' })
  const config = {
    role: 'balancer',
    id: 'b1',
    host: '127.0.0.1',
    port,
    apiPort,
    address: `http://127.0.0.1:${port}`,
    metricsHost: '127.0.0.1',
    metricsPort: 1,
    hypervisors: [replica.url],
    token,
    dataDir,
    haproxy: 'haproxy',
    slots: 4,
    logLevel: 'info',
  } as unknown as BalancerConfig
  const log = new FakeLog()
  const agent = await startBalancer(config, { log, clock: systemClock })
  cleanups.push(() => agent.stop())
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
  return { agent, log, get, text: async (path: string) => (await get(path)).text() }
}

const targetsIn = (directory: string): { order: object; servers: { id: string }[] } =>
  JSON.parse(readFileSync(join(directory, 'targets.json'), 'utf8'))

describe('a balancer agent', () => {
  it('has HAProxy do what the map wants, weigh as it is told, and says all that in its metrics', async () => {
    const replica = await aReplica()
    for (const id of ['r1', 'r2']) {
      replica.store.apply([put('rainservers', id, aRainServer(id, { address: await aPage(id) }))])
    }
    const { agent, text } = await anAgent(replica, aDirectory())
    await waitUntil('pages are there', async () => /^r\d$/.test(await text('/x')))
    const load = (id: string, cpu: number) => ({ node: rainServer(id), cpu, ram: 0, bandwidth: 0, components: {} })
    const weighed = /rain_balancer_server_weight\{pattern="\/\*",server="r2"\} 60$/m
    await waitUntil('r2 weighs less', async () => {
      replica.hypervisor.loads.note(load('r1', 200))
      replica.hypervisor.loads.note(load('r2', 600))
      replica.clock.advance(100)
      return weighed.test(await agent.registry.metrics())
    })
    const metrics = await agent.registry.metrics()
    expect(metrics).toMatch(/^rain_balancer_server_up\{pattern="api",server="h1"\} [01]$/m)
    expect(metrics).toMatch(/^haproxy_backend_http_responses_total\{proxy="pages-1",code="2xx"\} [1-9]/m)
    expect(metrics).not.toContain('state="MAINT"} 1')
  })

  it('serves what it was told last as soon as it is started again, and refuses what is older than that', async () => {
    const replica = await aReplica()
    replica.store.apply([put('rainservers', 'r1', aRainServer('r1', { address: await aPage('r1') }))])
    const directory = aDirectory()
    const first = await anAgent(replica, directory)
    await waitUntil('it has a page', async () => (await first.text('/x')) === 'r1')
    await first.agent.stop()
    const remembered = targetsIn(directory)
    expect(remembered.servers.map(each => each.id)).toEqual(['r1'])
    writeFileSync(
      join(directory, 'targets.json'),
      JSON.stringify({ ...remembered, order: { ...remembered.order, revision: 1_000_000 } }),
    )
    replica.store.apply([remove('rainservers', 'r1')])
    const second = await anAgent(replica, directory)
    expect(await second.text('/x')).toBe('r1')
    await waitUntil('the replica heard that it is behind', () =>
      replica.log.notes.some(note => JSON.stringify(note.fields).includes('older than')),
    )
    expect(await second.text('/x')).toBe('r1')
  })

  it('begins anew when what it remembers could not stand in a configuration', async () => {
    const replica = await aReplica()
    const directory = aDirectory()
    const evil = { id: 'x', host: '127.0.0.1', port: 1, draining: false, urls: ['/a\nglobal'] }
    writeFileSync(join(directory, 'targets.json'), JSON.stringify({ servers: [evil], replicas: [] }))
    const { get } = await anAgent(replica, directory)
    expect((await get('/a')).status).toBe(503)
    expect(readFileSync(join(directory, 'haproxy.cfg'), 'utf8')).not.toContain('/a')
  })
})
