import { spawnSync } from 'node:child_process'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { serveMetrics } from '../../src/metrics/listener.js'
import { renderPrometheusConfig } from '../../src/metrics/prometheus-config.js'
import { createRegistry, expose } from '../../src/metrics/registry.js'
import { atTheEnd, cleanUp, configFile, startPrometheus, targets } from '../support/prometheus.js'

afterEach(cleanUp)

interface Answer<T> {
  readonly data: T
}
interface Targets {
  readonly activeTargets: readonly { readonly scrapeUrl: string; readonly health: string; readonly labels: object }[]
}
interface Query {
  readonly result: readonly { readonly metric: object; readonly value: readonly [number, string] }[]
}
const get = async <T>(url: string): Promise<T> => ((await (await fetch(url)).json()) as Answer<T>).data

describe('the configuration of Prometheus', () => {
  it('is one that promtool approves of', () => {
    const texts = [
      renderPrometheusConfig({ replicas: ['http://127.0.0.1:1', 'http://127.0.0.1:2/'] }),
      renderPrometheusConfig({ replicas: ['https://rain.example/api'], scrapeIntervalMs: 500, tokenFile: '/dev/null' }),
    ]
    for (const text of texts) {
      const { file } = configFile(text)
      const checked = spawnSync('/usr/bin/promtool', ['check', 'config', file], { encoding: 'utf8' })
      expect(checked.stderr + checked.stdout).toContain('SUCCESS')
    }
    expect(texts[1]).toContain('"https://rain.example/api/prometheus/targets"')
  })

  it('is refused when it could not work', () => {
    expect(() => renderPrometheusConfig({ replicas: [] })).toThrow('at least one replica')
    expect(() => renderPrometheusConfig({ replicas: ['ftp://x'] })).toThrow('"ftp://x" is not the url of a replica')
    expect(() => renderPrometheusConfig({ replicas: ['http://x'], scrapeIntervalMs: 0 })).toThrow('scrape interval')
  })

  it('makes a real Prometheus find what the replicas name, once each, though one replica is away', async () => {
    const registry = createRegistry({ role: 'mothership', id: 'm1', software: '0.1.0' })
    expose(registry, { name: 'instances', help: 'Copies that run here', type: 'gauge', read: () => 7 })
    const node = await serveMetrics({ host: '127.0.0.1', port: 0, registry })
    atTheEnd(() => node.close())
    const named = [{ targets: [`127.0.0.1:${node.port}`], labels: { node: 'm1', kind: 'mothership' } }]
    const replicas = [await targets(() => named), await targets(() => named), 'http://127.0.0.1:1']
    const { url } = await startPrometheus(
      renderPrometheusConfig({ replicas, scrapeIntervalMs: 500, refreshIntervalMs: 500 }),
    )

    await vi.waitFor(
      async () => {
        const { activeTargets } = await get<Targets>(`${url}/api/v1/targets?state=active`)
        expect(activeTargets).toMatchObject([
          { scrapeUrl: node.url, health: 'up', labels: { job: 'rain', node: 'm1' } },
        ])
        const { result } = await get<Query>(`${url}/api/v1/query?query=rain_instances`)
        expect(result.map(each => each.value[1])).toEqual(['7'])
      },
      { timeout: 45_000, interval: 200 },
    )
  }, 60_000)
})
