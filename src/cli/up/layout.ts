/** Which processes make a cloud on one machine, on which ports. Pure. */

export interface Sizes {
  readonly etcd: number
  readonly replicas: number
  readonly motherships: number
  readonly rainServers: number
  readonly portBase: number
}

export interface Place {
  readonly id: string
  readonly port: number
  readonly url: string
}

export interface NodePlace extends Place {
  readonly metricsPort: number
}

export interface Layout {
  readonly pages: string
  readonly api: string
  readonly prometheus: Place
  readonly etcd: readonly (Place & { readonly peerPort: number })[]
  readonly replicas: readonly Place[]
  readonly motherships: readonly NodePlace[]
  readonly rainServers: readonly NodePlace[]
  readonly balancer: NodePlace & { readonly apiPort: number }
}

export const host = '127.0.0.1'

const offsets = {
  api: 1,
  prometheus: 2,
  balancerMetrics: 5,
  replicas: 10,
  motherships: 30,
  rainServers: 50,
  mothershipMetrics: 70,
  rainServerMetrics: 90,
  etcd: 120,
}
/** Ports from the base that a cloud may take. */
export const portsTaken = 140

export function layoutOf(sizes: Sizes): Layout {
  const { portBase: base } = sizes
  const place = (id: string, port: number, scheme = 'http'): Place => ({ id, port, url: `${scheme}://${host}:${port}` })
  const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))
  return {
    pages: `http://${host}:${base}`,
    api: `http://${host}:${base + offsets.api}`,
    prometheus: place('prometheus', base + offsets.prometheus),
    etcd: many(sizes.etcd, i => ({
      ...place(`e${i + 1}`, base + offsets.etcd + 2 * i),
      peerPort: base + offsets.etcd + 2 * i + 1,
    })),
    replicas: many(sizes.replicas, i => place(`h${i + 1}`, base + offsets.replicas + i)),
    motherships: many(sizes.motherships, i => ({
      ...place(`m${i + 1}`, base + offsets.motherships + i, 'ws'),
      metricsPort: base + offsets.mothershipMetrics + i,
    })),
    rainServers: many(sizes.rainServers, i => ({
      ...place(`r${i + 1}`, base + offsets.rainServers + i),
      metricsPort: base + offsets.rainServerMetrics + i,
    })),
    balancer: { ...place('b1', base), apiPort: base + offsets.api, metricsPort: base + offsets.balancerMetrics },
  }
}

/** Every port of the layout, to see first whether they are free. */
export const portsOf = ({ prometheus, etcd, replicas, motherships, rainServers, balancer }: Layout): number[] => [
  balancer.port,
  balancer.apiPort,
  balancer.metricsPort,
  prometheus.port,
  ...etcd.flatMap(each => [each.port, each.peerPort]),
  ...replicas.map(each => each.port),
  ...[...motherships, ...rainServers].flatMap(each => [each.port, each.metricsPort]),
]
