/**
 * A real Prometheus between motherships and a replica: who is loaded by its word gets no more instances, and when it
 * dies, the motherships' own reports stand in.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Counter, Gauge, Registry } from 'prom-client'
import { afterEach, expect, it } from 'vitest'
import { settingsOf } from '../../src/cloud/decide/verdict.js'
import { questionsOf } from '../../src/cloud/settings.js'
import { systemClock } from '../../src/main/world.js'
import { serveMetrics } from '../../src/metrics/listener.js'
import { renderPrometheusConfig } from '../../src/metrics/prometheus-config.js'
import { PrometheusLoads } from '../../src/metrics/prometheus-loads.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership } from '../support/hypervisors.js'
import { TestLog } from '../support/logs.js'
import { aPackage } from '../support/packages.js'
import { atTheEnd, cleanUp, startPrometheus, targets } from '../support/prometheus.js'

afterEach(cleanUp)

/** The metrics of a mothership, of which a test says how loaded it is. */
async function measuredMothership(id: string) {
  const registry = new Registry()
  const help = 'Measured load'
  const gauge = new Gauge({ name: 'rain_mothership_load', help, labelNames: ['resource'], registers: [registry] })
  const cpu = (amount: number): void => {
    for (const resource of ['cpu', 'ram', 'bandwidth']) gauge.set({ resource }, resource === 'cpu' ? amount : 1)
  }
  const listener = await serveMetrics({ host: '127.0.0.1', port: 0, registry })
  atTheEnd(() => listener.close())
  return { cpu, target: { targets: [`127.0.0.1:${listener.port}`], labels: { id, role: 'mothership' } } }
}

it('takes loaded motherships out by the word of a real Prometheus, and by reports when that dies', async () => {
  const hypervisor = await aHypervisor()
  atTheEnd(() => hypervisor.close())
  const { replica, loads } = hypervisor
  const rest = hypervisor.rest('admin')
  const settings = {
    load: { freshMs: 2_500, staleMs: 3_000, halfLifeMs: 0 },
    prometheus: { everyMs: 500, timeoutMs: 500 },
  }
  expect((await rest('PUT', '/settings', settings)).status).toBe(200)
  const motherships = new Map<string, Awaited<ReturnType<typeof measuredMothership>>>()
  for (const id of ['m1', 'm2']) {
    await connectMothership(hypervisor, id)
    motherships.set(id, await measuredMothership(id))
  }
  motherships.get('m1')!.cpu(950)
  motherships.get('m2')!.cpu(10)
  const named = await targets(() => [...motherships.values()].map(each => each.target))
  const server = await startPrometheus(
    renderPrometheusConfig({ replicas: [named], scrapeIntervalMs: 500, refreshIntervalMs: 500 }),
  )
  const log = new TestLog()
  const prometheus = new PrometheusLoads({
    url: server.url,
    clock: systemClock,
    log,
    settings: () => questionsOf(settingsOf(replica.maps.map)),
    staleMs: () => settingsOf(replica.maps.map).load.staleMs,
    motherships: () => motherships.keys(),
    note: (id, load, ageMs) => loads.noteTold({ kind: 'mothership', id }, load, ageMs),
  })
  atTheEnd(() => prometheus.close())
  prometheus.start()
  await waitUntil(
    'Prometheus tells of both',
    () => prometheus.state.kind === 'good' && prometheus.state.motherships === 2,
    45_000,
  )

  const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
  const files = { 'meta.json': meta, 'client/templates/index.html': '<p>news</p>' }
  expect((await rest('POST', '/webcomponent/', await aPackage(files))).status).toBe(201)
  const run = async (): Promise<string[]> => {
    const { body } = await rest('POST', '/webcomponent/news/1.0?count=4', { need: { cpu: 10, ram: 1, bandwidth: 1 } })
    return (body['items'] as unknown as { primary: string }[]).map(each => each.primary)
  }
  expect(await run()).toEqual(['m2', 'm2', 'm2', 'm2'])
  const loaded = await rest('GET', '/mothership/m1')
  expect(loaded.body['measured']).toMatchObject({ cpu: 950, freshness: 'fresh', source: 'prometheus' })
  const dryRun = await rest('POST', '/webcomponent/news/1.0?dryRun=true', { placement: { labels: {} } })
  expect(dryRun.body).toMatchObject({ candidates: [{ mothership: 'm2' }] })

  // It recovers in Prometheus: then it is the emptier one.
  motherships.get('m1')!.cpu(5)
  await waitUntil('that is seen', () => loads.latest({ kind: 'mothership', id: 'm1' })?.cpu === 5, 10_000)
  expect(await run()).toContain('m1')

  motherships.get('m1')!.cpu(950)
  await waitUntil('that is seen', () => loads.latest({ kind: 'mothership', id: 'm1' })?.cpu === 950, 10_000)
  await server.kill()
  await waitUntil('its death is seen', () => prometheus.state.kind === 'down', 10_000)
  const report = (id: string, cpu: number): void =>
    loads.note({ node: { kind: 'mothership', id }, cpu, ram: 1, bandwidth: 1, components: {} })
  await waitUntil('reports stand in', () => {
    report('m1', 5)
    report('m2', 950)
    return ['m1', 'm2'].every(id => loads.latest({ kind: 'mothership', id })?.source === 'report')
  })
  expect(await run()).toEqual(['m1', 'm1', 'm1', 'm1'])
  expect(log.said).toContain('Prometheus does not tell the load: reports stand in')
}, 90_000)

it('is asked by the expressions for node_exporter, too, which a real Prometheus understands', async () => {
  const file = join(import.meta.dirname, '..', '..', 'deploy', 'prometheus', 'node-exporter-settings.json')
  const { prometheus: change } = JSON.parse(readFileSync(file, 'utf8')) as { prometheus: object }
  const hypervisor = await aHypervisor()
  atTheEnd(() => hypervisor.close())
  expect((await hypervisor.rest('admin')('PUT', '/settings', { prometheus: change })).status).toBe(200)
  const registry = new Registry()
  const gauge = (name: string, value: number, labels: Readonly<Record<string, string>> = {}): void =>
    new Gauge({ name, help: name, labelNames: Object.keys(labels), registers: [registry] }).set(labels, value)
  gauge('node_memory_MemTotal_bytes', 3 * 2 ** 30)
  gauge('node_memory_MemAvailable_bytes', 2 ** 30)
  const growing = (name: string, perS: number, labels: Readonly<Record<string, string>>): void => {
    new Counter({
      name,
      help: name,
      labelNames: Object.keys(labels),
      registers: [registry],
      collect() {
        this.reset()
        this.inc(labels, (Date.now() / 1000) * perS)
      },
    })
  }
  growing('node_cpu_seconds_total', 0.5, { mode: 'user', cpu: '0' })
  growing('node_network_receive_bytes_total', 100_000, { device: 'eth0' })
  growing('node_network_transmit_bytes_total', 25_000, { device: 'eth0' })
  const listener = await serveMetrics({ host: '127.0.0.1', port: 0, registry })
  atTheEnd(() => listener.close())
  const named = await targets(() => [{ targets: [`127.0.0.1:${listener.port}`], labels: { id: 'm1' } }])
  const server = await startPrometheus(
    renderPrometheusConfig({ replicas: [named], scrapeIntervalMs: 500, refreshIntervalMs: 500 }),
  )
  const told: { cpu: number; ram: number; bandwidth: number; ageMs: number }[] = []
  const prometheus = new PrometheusLoads({
    url: server.url,
    clock: systemClock,
    log: new TestLog(),
    settings: () => ({ ...questionsOf(settingsOf(hypervisor.replica.maps.map)), everyMs: 500, timeoutMs: 500 }),
    staleMs: () => 15_000,
    motherships: () => ['m1'],
    note: (_id, load, ageMs) => told.push({ ...load, ageMs }),
  })
  atTheEnd(() => prometheus.close())
  prometheus.start()
  await waitUntil('it tells of the machine', () => told.length > 0, 60_000)
  const { cpu, ram, bandwidth, ageMs } = told.at(-1)!
  expect(ram).toBe(2048)
  // A rate over half a minute that has just begun is too low, and no other unit would be within these bounds.
  expect([cpu / 500, bandwidth / 1000].map(share => share > 0.01 && share < 1.2)).toEqual([true, true])
  expect(ageMs).toBeLessThan(5_000)
}, 90_000)
