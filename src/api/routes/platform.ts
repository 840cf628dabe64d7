/** The platform itself: health, replicas, the whole map, settings, tokens, metrics. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { settingsOf } from '../../cloud/decide/verdict.js'
import { type CloudMap, sortedIds } from '../../cloud/map.js'
import { formatOrder } from '../../cloud/order.js'
import { digestOf } from '../../hypervisor/actors.js'
import { componentView, mothershipView, rainServerView } from '../../hypervisor/views.js'
import { pageOf } from '../lists.js'
import { type ApiPorts, admins, anyone, changers, define, found, ifRevision, submit, viewPorts } from '../route.js'
import {
  CloudView,
  Health,
  List,
  listQuery,
  NewToken,
  Readiness,
  Replicas,
  SettingsChange,
  SettingsView,
  Targets,
  Token,
  TokenMade,
} from '../schemas.js'

const tag = 'platform'

export function platformRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { hypervisor, software } = ports
  const { maps } = hypervisor

  define(app, {
    method: 'GET',
    url: '/healthz',
    access: 'open',
    tag,
    summary: 'Alive',
    answers: { 200: Health },
    handle: () => ({ status: 'alive', id: hypervisor.id, software }),
  })

  define(app, {
    method: 'GET',
    url: '/readyz',
    access: 'open',
    tag,
    summary: 'Serves: it has a map, however old',
    answers: { 200: Readiness, 503: Readiness },
    handle: ({ reply }) => {
      const status = hypervisor.status()
      if (!status.ready) reply.code(503)
      return {
        ready: status.ready,
        revision: formatOrder(maps.map.order),
        staleForMs: Math.round(maps.staleForMs()),
        storeFull: status.storeFull,
        leader: status.leader,
        prometheus: prometheusOf(ports),
        ...reasonOf(status),
      }
    },
  })

  define(app, {
    method: 'GET',
    url: '/replicas',
    access: anyone,
    tag,
    summary: 'The replicas of the hypervisor, and who leads',
    answers: { 200: Replicas },
    handle: () => ({ items: replicasOf(ports) }),
  })

  define(app, {
    method: 'GET',
    url: '/map',
    access: anyone,
    tag,
    summary: 'The infrastructure map: nodes, components, wires, load',
    answers: { 200: CloudView },
    handle: () => {
      const views = viewPorts(ports)
      return {
        revision: formatOrder(maps.map.order),
        replicas: replicasOf(ports),
        prometheus: prometheusOf(ports),
        rainServers: sortedIds(maps.map, 'rainservers').map(id => rainServerView(id, views)),
        motherships: sortedIds(maps.map, 'motherships').map(id => mothershipView(id, views)),
        components: sortedIds(maps.map, 'components').map(key => componentView(key, views)),
        wires: sortedIds(maps.map, 'wiring').flatMap(id =>
          maps.map.get('wiring', id)!.value.wires.map(({ mothership }) => ({ rainServer: id, mothership })),
        ),
        instances: maps.map.count('instances'),
      }
    },
  })

  const settings = (): Record<string, unknown> => {
    const { schema: _schema, ...rest } = settingsOf(maps.map)
    return { ...rest, revision: maps.map.get('settings')?.modified ?? 0 }
  }
  define(app, {
    method: 'GET',
    url: '/settings',
    access: anyone,
    tag,
    summary: 'Settings of the cloud',
    answers: { 200: SettingsView },
    handle: settings,
  })
  define(app, {
    method: 'PUT',
    url: '/settings',
    access: changers,
    ifMatch: true,
    tag,
    summary: 'Change settings, at once and everywhere',
    body: SettingsChange,
    answers: { 200: SettingsView },
    handle: async call => {
      await submit(ports, call, { op: 'put-settings', body: { change: call.body, ...ifRevision(call.request) } })
      return settings()
    },
  })

  const token = (id: string): Record<string, unknown> | undefined => {
    const entry = maps.map.get('tokens', id)
    if (!entry) return undefined
    const { schema: _schema, ...rest } = entry.value
    return { ...rest, revision: entry.modified }
  }
  define(app, {
    method: 'GET',
    url: '/tokens',
    access: admins,
    tag,
    summary: 'All tokens, without their secrets',
    query: listQuery,
    answers: { 200: List(Token) },
    handle: ({ query, request }) => pageOf(sortedIds(maps.map, 'tokens'), query, token, maps.map.order, request),
  })
  define(app, {
    method: 'POST',
    url: '/tokens',
    access: admins,
    tag,
    summary: 'Make a token; its secret is told this once',
    body: NewToken,
    answers: { 201: TokenMade },
    handle: async call => {
      const secret = `rain_${randomBytes(32).toString('base64url')}`
      const id = digestOf(secret)
      await submit(ports, call, { op: 'create-token', body: { digest: id, ...call.body } })
      call.reply.code(201).header('location', `/tokens/${id}`).header('cache-control', 'no-store')
      return { id, token: secret }
    },
  })
  define(app, {
    method: 'DELETE',
    url: '/tokens/:id',
    access: admins,
    tag,
    summary: 'Revoke a token, at once and everywhere',
    params: { id: Type.String({ pattern: '^[0-9a-f]{64}$' }) },
    answers: { 204: null },
    handle: async call => {
      found(maps.map.get('tokens', call.params.id), 'token', call.params.id)
      await submit(ports, call, { op: 'revoke-token', body: { id: call.params.id } })
      return call.reply.code(204).send()
    },
  })

  define(app, {
    method: 'GET',
    url: '/metrics',
    access: 'metrics',
    tag,
    summary: 'Metrics of this replica, for Prometheus',
    produces: 'text/plain',
    answers: { 200: Type.String() },
    handle: async ({ reply }) =>
      reply
        .type(ports.metrics.contentType)
        .serializer(String)
        .send(await ports.metrics.metrics()),
  })
  define(app, {
    method: 'GET',
    url: '/prometheus/targets',
    access: 'metrics',
    tag,
    summary: "Everything to scrape, as Prometheus' HTTP service discovery wants it",
    answers: { 200: Targets },
    handle: () => targetsOf(maps.map),
  })
}

function replicasOf({ hypervisor }: ApiPorts): Record<string, unknown>[] {
  const { map } = hypervisor.maps
  const status = hypervisor.status()
  return sortedIds(map, 'replicas').map(id => {
    const own = id === hypervisor.id
    const leader = id === status.leader
    return {
      id,
      url: map.get('replicas', id)!.value.url,
      leader,
      term: leader ? status.term : null,
      appliedRevision: own ? formatOrder(map.order) : null,
      lagMs: own ? Math.round(hypervisor.maps.staleForMs()) : null,
    }
  })
}

const roleNames = { mothership: 'mothership', rainserver: 'rainserver', balancer: 'balancer' } as const

/** Replicas and every node with a session that says where its metrics are. */
function targetsOf(map: CloudMap): { targets: string[]; labels: Record<string, string> }[] {
  const found: { targets: string[]; labels: Record<string, string> }[] = []
  const add = (url: string, role: string, id: string): void => {
    if (!URL.canParse(url)) return
    const { host, pathname, protocol } = new URL(url)
    const path = pathname === '/' ? '/metrics' : pathname
    const labels = { role, id, __metrics_path__: path, __scheme__: protocol.slice(0, -1) }
    found.push({ targets: [host], labels })
  }
  for (const id of sortedIds(map, 'replicas')) add(map.get('replicas', id)!.value.url, 'hypervisor', id)
  for (const key of sortedIds(map, 'sessions')) {
    const { metrics, kind, id } = map.get('sessions', key)!.value
    if (metrics !== undefined) add(metrics, roleNames[kind], id)
  }
  return found
}

function prometheusOf({ prometheus }: ApiPorts): Record<string, unknown> | null {
  const state = prometheus?.()
  if (!state) return null
  const { kind, ...rest } = state
  return { state: kind, ...rest }
}

/** Why it is not as it should be. */
function reasonOf({ ready, storeFull }: { readonly ready: boolean; readonly storeFull: boolean }): { reason?: string } {
  if (!ready) return { reason: 'no map yet' }
  return storeFull ? { reason: 'etcd is full (NOSPACE): reads only, until an operator makes room' } : {}
}
