/**
 * The metrics of a hypervisor replica. What it does is told by its edges (requests, calls of the store, commits);
 * what it is (leader or not, queue, map) is read from it at each scrape, so that nothing has to be kept in step.
 */
import { Gauge, type Registry } from 'prom-client'
import { nodeKinds } from '../cloud/ids.js'
import { type Kind, kinds } from '../cloud/records.js'
import type { Hypervisor } from '../hypervisor/hypervisor.js'
import type { PrometheusState } from './prometheus-loads.js'
import { bounded, counter, createRegistry, type Exposed, expose, histogram, prefix, type Reading } from './registry.js'

export interface ReplicaMetrics {
  readonly registry: Registry
  /** `route` is the pattern that matched (`/mothership/:id`), undefined when none did. */
  onRequest(method: string, route: string | undefined, status: number, ms: number): void
  /** A round of questions to Prometheus, by how it went. */
  onPrometheus(state: PrometheusState, ms: number): void
  /** To be given to the store: what it tells is counted. */
  readonly store: StoreListener
  /** From now on, scrapes show the replica itself too. */
  watch(hypervisor: Pick<Hypervisor, 'id' | 'maps' | 'status'>): void
}

/** The part of the store's events that is counted; the rooms meet in main only. */
interface StoreListener {
  onCall(method: string, outcome: string, ms: number): void
  onMove(): void
  onReopen(reason: string): void
  onResync(reason: string): void
  onUnreadable(key: string, reason: string): void
  onCommit(changes: number, requests: number, ms: number): void
  onAmbiguous(resolved: string): void
  onTerm(event: string, reason: string): void
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 125]
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
const routesMax = 200
const callsMax = 50

export function createReplicaMetrics(options: { readonly id: string; readonly software: string }): ReplicaMetrics {
  const registry = createRegistry({ role: 'hypervisor', ...options })
  return {
    registry,
    onRequest: requestMetrics(registry),
    onPrometheus: prometheusMetrics(registry),
    store: storeMetrics(registry),
    watch: hypervisor => expose(registry, ...readingsOf(hypervisor)),
  }
}

function requestMetrics(registry: Registry): ReplicaMetrics['onRequest'] {
  const total = counter(registry, 'http_requests_total', 'Requests answered', ['method', 'route', 'status'])
  const help = 'From the arrival of a request to the end of its answer'
  const duration = histogram(registry, 'http_request_duration_seconds', help, secondsBuckets, ['method', 'route'])
  const known = bounded(routesMax)
  return (asked, pattern, status, ms) => {
    const method = methods.has(asked) ? asked : 'other'
    const route = pattern === undefined ? 'none' : known(pattern)
    const code = Number.isInteger(status) && status >= 100 && status <= 599 ? String(status) : 'other'
    total.inc({ method, route, status: code })
    duration.observe({ method, route }, ms / 1000)
  }
}

function prometheusMetrics(registry: Registry): ReplicaMetrics['onPrometheus'] {
  const help = 'Rounds of questions to Prometheus for the load of motherships, by how they went'
  const rounds = counter(registry, 'prometheus_rounds_total', help, ['outcome'])
  const duration = histogram(registry, 'prometheus_round_duration_seconds', 'One such round', secondsBuckets)
  const gauge = (name: string, what: string): Gauge =>
    new Gauge({ name: `${prefix}${name}`, help: what, registers: [registry] })
  const up = gauge('prometheus_up', '1 while Prometheus tells the load of motherships')
  const told = gauge('prometheus_motherships', 'Motherships whose load Prometheus told in the last round')
  const what = 'Motherships whose load Prometheus did not tell in a round, by why'
  const lacking = counter(registry, 'prometheus_lacking_total', what, ['why'])
  return (state, ms) => {
    rounds.inc({ outcome: state.kind })
    duration.observe(ms / 1000)
    const motherships = 'motherships' in state ? state.motherships : 0
    up.set(Number(state.kind === 'good' || state.kind === 'partial'))
    told.set(motherships)
    for (const [why, count] of Object.entries(('lacking' in state && state.lacking) || {})) lacking.inc({ why }, count)
  }
}

function storeMetrics(registry: Registry): StoreListener {
  const calls = counter(registry, 'store_calls_total', 'Calls to etcd', ['method', 'outcome'])
  const duration = histogram(registry, 'store_call_duration_seconds', 'Calls to etcd', secondsBuckets, ['method'])
  const moves = counter(registry, 'store_moves_total', 'Changes from one etcd member to another')
  const reopened = counter(registry, 'map_watch_reopens_total', 'Watches of the map that were opened anew')
  const resyncs = counter(registry, 'map_resyncs_total', 'Times that the whole map was read anew')
  const unreadable = counter(registry, 'map_unreadable_values_total', 'Values in etcd that match no schema')
  const changes = histogram(registry, 'commit_changes', 'Changes carried by one transaction', sizeBuckets)
  const requests = histogram(registry, 'commit_requests', 'Requests answered by one transaction', sizeBuckets)
  const commit = histogram(registry, 'commit_duration_seconds', 'Transactions of the leader', secondsBuckets)
  const help = 'Transactions whose outcome had to be looked up, by what became of them'
  const ambiguous = counter(registry, 'commits_ambiguous_total', help, ['resolved'])
  const terms = counter(registry, 'terms_total', 'Leaderships of this replica that began and ended', ['event'])
  const known = bounded(callsMax)
  return {
    onCall: (asked, outcome, ms) => {
      const method = known(asked)
      calls.inc({ method, outcome })
      duration.observe({ method }, ms / 1000)
    },
    onMove: () => moves.inc(),
    onReopen: () => reopened.inc(),
    onResync: () => resyncs.inc(),
    onUnreadable: () => unreadable.inc(),
    onCommit: (changed, answered, ms) => {
      changes.observe(changed)
      requests.observe(answered)
      commit.observe(ms / 1000)
    },
    onAmbiguous: resolved => ambiguous.inc({ resolved }),
    onTerm: event => terms.inc({ event }),
  }
}

function readingsOf(hypervisor: Pick<Hypervisor, 'id' | 'maps' | 'status'>): readonly Exposed[] {
  const { id, maps } = hypervisor
  const gauge = (name: string, help: string, read: Exposed['read'], ...labels: string[]): Exposed => ({
    name,
    help,
    type: 'gauge',
    labels,
    read,
  })
  return [
    gauge('leading', '1 while this replica leads', () => Number(hypervisor.status().leading)),
    gauge('leader_known', '1 while the map names a leader', () => Number(hypervisor.status().leader !== null)),
    gauge('leader_term', 'Token of the leadership that the map names', () => hypervisor.status().term ?? 0),
    gauge('queue_length', 'Commands that wait for the leader here', () => hypervisor.status().queued),
    gauge('store_full', '1 while etcd takes no writes (NOSPACE)', () => Number(hypervisor.status().storeFull)),
    gauge('map_ready', '1 once the first snapshot is in memory', () => Number(hypervisor.status().ready)),
    gauge('map_era', 'How often this cloud was restored', () => maps.map.order.era),
    gauge('map_applied_revision', 'Revision that the map in memory has reached', () => maps.map.order.revision),
    gauge('map_stale_seconds', 'Age of the map while etcd is silent', () => maps.staleForMs() / 1000),
    gauge('map_records', 'Records in the map', () => recordsOf(maps), 'kind'),
    gauge('sessions', 'Nodes whose websocket this replica holds', () => sessionsOf(id, maps), 'kind'),
  ]
}

const recordsOf = ({ map }: Hypervisor['maps']): Reading[] =>
  (Object.keys(kinds) as Kind[]).map(kind => [{ kind }, map.count(kind)])

function sessionsOf(replica: string, { map }: Hypervisor['maps']): Reading[] {
  const counts = new Map<string, number>(nodeKinds.map(kind => [kind, 0]))
  for (const [, { value }] of map.all('sessions')) {
    if (value.replica === replica) counts.set(value.kind, (counts.get(value.kind) ?? 0) + 1)
  }
  return [...counts].map(([kind, count]) => [{ kind }, count])
}
