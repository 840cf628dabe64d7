/**
 * The configuration of a Prometheus that watches this cloud: it asks every replica for the targets, so that it goes on
 * as long as one of them answers, and scrapes what they name. All replicas name the same targets; Prometheus keeps one
 * of each, because what tells apart who named a target is dropped before it compares them.
 */
import { CloudError } from '../cloud/errors.js'

export interface PrometheusOptions {
  /** Urls of the replicas: `http://host:port`. */
  readonly replicas: readonly string[]
  readonly scrapeIntervalMs?: number
  /** How long a new node waits at most until it is scraped. */
  readonly refreshIntervalMs?: number
  /** File that holds a token, where the cloud asks one for targets and metrics. */
  readonly tokenFile?: string
}

const defaults = { scrapeIntervalMs: 2_000, refreshIntervalMs: 5_000 }
const targetsPath = '/prometheus/targets'

/** Text of a `prometheus.yml`. Throws `misconfigured` for what Prometheus would refuse or never do. */
export function renderPrometheusConfig(options: PrometheusOptions): string {
  const { replicas, scrapeIntervalMs, refreshIntervalMs, tokenFile } = { ...defaults, ...options }
  if (replicas.length === 0) throw new CloudError('misconfigured', 'Prometheus needs the url of at least one replica')
  const scrape = duration('scrape interval', scrapeIntervalMs)
  const refresh = duration('refresh interval', refreshIntervalMs)
  const token = (indent: string): string[] =>
    tokenFile === undefined
      ? []
      : [`${indent}authorization:`, `${indent}  credentials_file: ${JSON.stringify(tokenFile)}`]
  const lines = [
    'global:',
    `  scrape_interval: ${scrape}`,
    `  scrape_timeout: ${scrape}`,
    `  evaluation_interval: ${scrape}`,
    'scrape_configs:',
    '  - job_name: rain',
    ...token('    '),
    '    http_sd_configs:',
    ...[...new Set(replicas.map(targetsUrl))].flatMap(url => [
      `      - url: ${JSON.stringify(url)}`,
      `        refresh_interval: ${refresh}`,
      ...token('        '),
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function targetsUrl(replica: string): string {
  const url = URL.canParse(replica) ? new URL(replica) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new CloudError('misconfigured', `${JSON.stringify(replica)} is not the url of a replica`)
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}${targetsPath}`
}

function duration(what: string, ms: number): string {
  if (!Number.isInteger(ms) || ms <= 0) throw new CloudError('misconfigured', `${what}: ${ms} ms is no duration`)
  return `${ms}ms`
}
