/** The command line of every process of a cloud on one machine. Pure, but for the directories that they will make. */
import { join } from 'node:path'
import { host, type Layout } from './layout.js'
import type { Secrets } from './secrets.js'

export interface ProcessSpec {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
}

export interface Commands {
  /** This program, and the Node that runs it. */
  readonly node: string
  readonly rain: string
}

/**
 * How Node is to run a replica. Records live long, and what a decision needs dies with its batch: in the young space of
 * 16 MiB that Node has by itself a batch outlives two collections, is moved to the old space, and is garbage there.
 */
export const replicaFlags: readonly string[] = ['--max-semi-space-size=64']

/**
 * How Node is to run a mothership. What a call leaves behind is little and dies at once, and its processors belong to
 * the components: a collection of a young space of 16 MiB takes 20 ms and more while its helper threads wait for one.
 */
export const mothershipFlags: readonly string[] = ['--max-semi-space-size=2', '--single-threaded-gc']

/**
 * How Node is to run a rain server. A page lives as long as its slowest fragment, over some collections of the young space
 * of 1 MiB that Node begins with: each copies what lives. Measured: a page of 20 costs a quarter less, one of 50 a sixth.
 */
export const rainServerFlags: readonly string[] = ['--max-semi-space-size=32', '--min-semi-space-size=16']

const flags = (given: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)])

export function etcdProcesses({ etcd }: Layout, dataDir: string): ProcessSpec[] {
  const cluster = etcd.map(each => `${each.id}=http://${host}:${each.peerPort}`).join(',')
  return etcd.map(({ id, url, peerPort }) => ({
    name: `etcd-${id}`,
    program: 'etcd',
    args: [
      ...flags({
        name: id,
        'data-dir': join(dataDir, 'etcd', id),
        'listen-client-urls': url,
        'advertise-client-urls': url,
        'listen-peer-urls': `http://${host}:${peerPort}`,
        'initial-advertise-peer-urls': `http://${host}:${peerPort}`,
        'initial-cluster': cluster,
        'initial-cluster-state': 'new',
        'initial-cluster-token': 'rain',
        'heartbeat-interval': 100,
        'election-timeout': 1000,
        'auto-compaction-mode': 'periodic',
        'auto-compaction-retention': '10m',
        'quota-backend-bytes': 4 * 2 ** 30,
        'log-level': 'warn',
        logger: 'zap',
      }),
      '--pre-vote=true',
    ],
  }))
}

export function replicaProcesses(layout: Layout, secrets: Secrets, { node, rain }: Commands): ProcessSpec[] {
  return layout.replicas.map(({ id, port }) => ({
    name: `hypervisor-${id}`,
    program: node,
    args: [
      ...replicaFlags,
      rain,
      'hypervisor',
      ...flags({
        id,
        host,
        port,
        etcd: layout.etcd.map(each => each.url).join(','),
        prometheus: layout.prometheus.url,
        'peer-secret-file': secrets.peerSecretFile,
        'bootstrap-file': secrets.bootstrapFile,
      }),
    ],
  }))
}

export function nodeProcesses(layout: Layout, secrets: Secrets, dataDir: string, commands: Commands): ProcessSpec[] {
  const hypervisor = layout.replicas.map(each => each.url).join(',')
  const common = (kind: Parameters<Secrets['tokenFile']>[0], each: Layout['motherships'][number]): string[] =>
    flags({
      id: each.id,
      host,
      port: each.port,
      'metrics-port': each.metricsPort,
      hypervisor,
      'token-file': secrets.tokenFile(kind, each.id),
    })
  const rain = (name: string, role: string, args: readonly string[], how: readonly string[] = []): ProcessSpec => ({
    name,
    program: commands.node,
    args: [...how, commands.rain, role, ...args],
  })
  const { balancer } = layout
  return [
    ...layout.motherships.map(each =>
      rain(
        `mothership-${each.id}`,
        'mothership',
        [...common('mothership', each), ...flags({ 'data-dir': join(dataDir, 'motherships', each.id) })],
        mothershipFlags,
      ),
    ),
    ...layout.rainServers.map(each =>
      rain(`rainserver-${each.id}`, 'server', common('rainserver', each), rainServerFlags),
    ),
    rain(`balancer-${balancer.id}`, 'balancer', [
      ...common('balancer', balancer),
      ...flags({ 'api-port': balancer.apiPort, 'data-dir': join(dataDir, 'balancer') }),
    ]),
  ]
}

export const prometheusProcess = ({ prometheus }: Layout, dataDir: string, config: string): ProcessSpec => ({
  name: 'prometheus',
  program: 'prometheus',
  args: [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(dataDir, 'prometheus')}`,
    '--storage.tsdb.retention.time=2d',
    `--web.listen-address=${host}:${prometheus.port}`,
    '--log.level=warn',
  ],
})
