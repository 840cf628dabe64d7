import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { put } from '../../src/cloud/records.js'
import type { Hypervisor, Status } from '../../src/hypervisor/hypervisor.js'
import { createReplicaMetrics, type ReplicaMetrics } from '../../src/metrics/replica.js'
import { PlainStore } from '../support/plain-store.js'
import { motherships } from '../support/records.js'

const status: Status = { leader: 'h1', leading: true, term: 42, ready: true, queued: 3, storeFull: false }

function metricsOf(store = new PlainStore()): ReplicaMetrics {
  const metrics = createReplicaMetrics({ id: 'h1', software: '0.1.0' })
  const hypervisor: Pick<Hypervisor, 'id' | 'maps' | 'status'> = { id: 'h1', maps: store, status: () => status }
  metrics.watch(hypervisor)
  return metrics
}

describe('the metrics of a replica', () => {
  it('show what the replica is at the moment of the scrape', async () => {
    const store = new PlainStore()
    const { registry } = metricsOf(store)
    store.apply([...motherships('m1', 'm2'), put('era', '', { schema: 1, era: 3 })])
    const text = await registry.metrics()

    expect(text).toContain('rain_leading 1')
    expect(text).toContain('rain_leader_term 42')
    expect(text).toContain('rain_queue_length 3')
    expect(text).toContain('rain_map_era 3')
    expect(text).toContain('rain_map_applied_revision 1')
    expect(text).toContain('rain_map_records{kind="motherships"} 2')
    expect(text).toContain('rain_sessions{kind="mothership"} 2')
    expect(text).toContain('rain_sessions{kind="balancer"} 0')
  })

  it('count requests, calls of the store and commits', async () => {
    const { registry, onRequest, store } = metricsOf()
    onRequest('GET', '/mothership/:id', 200, 4)
    onRequest('GET', '/mothership/:id', 404, 4)
    store.onCall('Txn', 'ok', 12)
    store.onCommit(40, 20, 12)
    store.onResync('the history was compacted')
    store.onTerm('won', '')
    const text = await registry.metrics()

    expect(text).toContain('rain_http_requests_total{method="GET",route="/mothership/:id",status="404"} 1')
    expect(text).toContain(
      'rain_http_request_duration_seconds_bucket{le="0.005",method="GET",route="/mothership/:id"} 2',
    )
    expect(text).toContain('rain_store_calls_total{method="Txn",outcome="ok"} 1')
    expect(text).toContain('rain_commit_changes_bucket{le="50"} 1')
    expect(text).toContain('rain_map_resyncs_total 1')
    expect(text).toContain('rain_terms_total{event="won"} 1')
  })

  it('count how it went with Prometheus, and of which motherships it told nothing for what', async () => {
    const { registry, onPrometheus } = metricsOf()
    const lacking = { unnamed: 2, amount: 1 }
    onPrometheus({ kind: 'good', motherships: 5 }, 20)
    onPrometheus({ kind: 'partial', motherships: 2, message: '', lacking }, 20)
    const partial = await registry.metrics()
    expect(partial).toContain('rain_prometheus_rounds_total{outcome="partial"} 1')
    expect(partial).toContain('rain_prometheus_lacking_total{why="unnamed"} 2')
    expect(partial).toContain('rain_prometheus_lacking_total{why="amount"} 1')
    expect([partial.includes('rain_prometheus_up 1'), partial.includes('rain_prometheus_motherships 2')]).toEqual([
      true,
      true,
    ])
    onPrometheus({ kind: 'down', message: '' }, 20)
    const down = await registry.metrics()
    expect([down.includes('rain_prometheus_up 0'), down.includes('rain_prometheus_motherships 0')]).toEqual([
      true,
      true,
    ])
  })

  it('make no series of what strangers send', async () => {
    const { registry, onRequest } = metricsOf()
    for (let i = 0; i < 5_000; i++) onRequest(`VERB${i}`, i % 2 ? undefined : `/made-up-${i}`, i, 1)
    const series = (await registry.metrics()).split('\n').filter(line => line.startsWith('rain_http_requests_total{'))

    expect(series.length).toBeLessThan(1_000)
    expect(series.some(line => line.includes('route="other"') && line.includes('method="other"'))).toBe(true)
  })

  it('have names and units that Prometheus approves of', async () => {
    const { registry, onRequest, store } = metricsOf()
    onRequest('GET', '/', 200, 1)
    store.onCall('Range', 'ok', 1)
    const ours = (await registry.metrics())
      .split('\n\n')
      .filter(block => !/# HELP rain_(process|nodejs)_/.test(block))
      .join('\n\n')
    const checked = spawnSync('/usr/bin/promtool', ['check', 'metrics'], {
      input: `${ours.trim()}\n`,
      encoding: 'utf8',
    })

    expect(checked.stdout + checked.stderr).toBe('')
    expect(checked.status).toBe(0)
  })
})
