/**
 * The routing table as files for Envoy's dynamic configuration from the file system (CDS, EDS and RDS). Pure. Envoy
 * checks /healthz itself; a visitor stays with a rain server by a cookie of Envoy's own, hashed on a ring.
 */
import type { PatternRoute, RouteServer, RoutesAnswer } from '../cloud/routing/table.js'

const typed = (name: string, rest: object): object => ({ '@type': `type.googleapis.com/envoy.config.${name}`, ...rest })

/** `directory`: where Envoy reads them. */
export function envoyFiles({ revision, routes }: RoutesAnswer, directory: string): Record<string, string> {
  const clusters = routes.map((route, index) => ({ ...route, name: `rain_${index + 1}` }))
  const file = (resources: object[]): string => `${JSON.stringify({ version_info: revision, resources }, null, 2)}\n`
  return {
    'cds.json': file(clusters.map(({ name }) => clusterOf(name, `${directory}/eds.json`))),
    'eds.json': file(clusters.map(({ name, servers }) => endpointsOf(name, servers))),
    'rds.json': file([routesOf(clusters)]),
  }
}

const clusterOf = (name: string, path: string): object =>
  typed('cluster.v3.Cluster', {
    name,
    type: 'EDS',
    eds_cluster_config: { eds_config: { path_config_source: { path } } },
    lb_policy: 'RING_HASH',
    connect_timeout: '1s',
    health_checks: [
      {
        timeout: '1s',
        interval: '0.5s',
        unhealthy_threshold: 2,
        healthy_threshold: 1,
        http_health_check: { path: '/healthz' },
      },
    ],
  })

const endpointsOf = (name: string, servers: readonly RouteServer[]): object =>
  typed('endpoint.v3.ClusterLoadAssignment', {
    cluster_name: name,
    endpoints: [{ lb_endpoints: servers.map(endpointOf) }],
  })

const endpointOf = ({ host, port, weight, state }: RouteServer): object => ({
  endpoint: { address: { socket_address: { address: host, port_value: port } } },
  load_balancing_weight: Math.max(1, weight),
  ...(state === 'draining' ? { health_status: 'DRAINING' } : {}),
})

const routesOf = (clusters: readonly (PatternRoute & { readonly name: string })[]): object =>
  typed('route.v3.RouteConfiguration', {
    name: 'rain',
    virtual_hosts: [
      { name: 'rain', domains: ['*'], routes: clusters.flatMap(({ pattern, name }) => rows(pattern, name)) },
    ],
  })

/** The first one that matches decides: whole paths come before prefixes. */
function rows(pattern: string, cluster: string): object[] {
  const route = {
    cluster,
    timeout: '65s',
    hash_policy: [{ cookie: { name: 'rain-envoy', path: '/', ttl: '0s' } }],
    upgrade_configs: [{ upgrade_type: 'websocket' }],
    retry_policy: { retry_on: 'connect-failure,refused-stream', num_retries: 3 },
  }
  if (!pattern.endsWith('/*')) return [{ match: { path: pattern }, route }]
  const path = pattern.slice(0, -2)
  return [{ match: { prefix: `${path}/` }, route }, ...(path === '' ? [] : [{ match: { path }, route }])]
}
