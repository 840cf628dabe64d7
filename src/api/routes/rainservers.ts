/** The servers map: rain servers, and which urls they can render. */
import type { FastifyInstance } from 'fastify'
import { RegisterRainServer, UpdateRainServer } from '../../cloud/commands.js'
import { CloudError } from '../../cloud/errors.js'
import { byId } from '../../cloud/ids.js'
import { type CloudMap, sortedIds } from '../../cloud/map.js'
import { explainWiring } from '../../cloud/wiring/explain.js'
import { reachable } from '../../cloud/wiring/wiring.js'
import { rainServerView } from '../../hypervisor/views.js'
import { pageOf } from '../lists.js'
import {
  type ApiPorts,
  anyone,
  changers,
  changersAndNodes,
  define,
  found,
  ifRevision,
  pathParams,
  submit,
  viewPorts,
} from '../route.js'
import { List, listQuery, RainServer, RainServerWiring, UrlEntry } from '../schemas.js'

const params = { id: pathParams.node }
const tag = 'rain servers'

export function rainServerRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const view = (id: string) => rainServerView(id, viewPorts(ports))

  define(app, {
    method: 'GET',
    url: '/rainservers/all',
    access: anyone,
    tag,
    summary: 'All rain servers',
    query: listQuery,
    answers: { 200: List(RainServer) },
    handle: ({ query, request }) => pageOf(sortedIds(maps.map, 'rainservers'), query, view, maps.map.order, request),
  })

  define(app, {
    method: 'GET',
    url: '/rainservers/:id',
    access: anyone,
    tag,
    summary: 'One rain server',
    params,
    answers: { 200: RainServer },
    handle: ({ params: { id } }) => found(view(id), 'rain server', id),
  })

  define(app, {
    method: 'GET',
    url: '/rainservers/:id/urls',
    access: anyone,
    tag,
    summary: 'The url patterns that a rain server can render, and the components below each',
    params,
    query: listQuery,
    answers: { 200: List(UrlEntry) },
    handle: ({ params: { id }, query, request }) => {
      const { urls } = found(maps.map.get('rainservers', id)?.value, 'rain server', id)
      return pageOf(urls, query, pattern => urlEntry(maps.map, pattern), maps.map.order, request)
    },
  })

  define(app, {
    method: 'GET',
    url: '/rainservers/:id/wiring',
    access: anyone,
    tag,
    summary: 'Why a rain server is wired as it is, and how redundantly it makes what its urls reach',
    params,
    answers: { 200: RainServerWiring },
    handle: ({ params: { id } }) => {
      const why = explainWiring(maps.map, ports.hypervisor.wires.wiring, id)
      return { id, ...found(why, 'rain server', id) }
    },
  })

  define(app, {
    method: 'POST',
    url: '/rainservers/',
    access: changersAndNodes,
    tag,
    summary: 'Register a rain server',
    body: RegisterRainServer,
    answers: { 200: RainServer, 201: RainServer },
    handle: async call => {
      const { node } = call.actor
      if (call.actor.role === 'node' && (node?.kind !== 'rainserver' || node.id !== call.body.id)) {
        throw new CloudError('forbidden', 'a node registers itself only, by its own id')
      }
      const answer = await submit(ports, call, { op: 'register-rainserver', body: call.body })
      const id = answer.ids[0]!
      call.reply.code(answer.outcome === 'created' ? 201 : 200).header('location', `/rainservers/${id}`)
      return found(view(id), 'rain server', id)
    },
  })

  define(app, {
    method: 'PUT',
    url: '/rainservers/:id',
    access: changers,
    ifMatch: true,
    tag,
    summary: 'Reset the wiring of a rain server (without a body), or change it',
    params,
    body: UpdateRainServer,
    answers: { 202: RainServer },
    handle: async call => {
      const { id } = call.params
      const body = { id, change: call.body, ...ifRevision(call.request) }
      await submit(ports, call, { op: 'update-rainserver', body })
      call.reply.code(202)
      return found(view(id), 'rain server', id)
    },
  })

  define(app, {
    method: 'DELETE',
    url: '/rainservers/:id',
    access: changers,
    ifMatch: true,
    tag,
    summary: 'Unregister a rain server',
    params,
    answers: { 204: null },
    handle: async call => {
      const body = { id: call.params.id, ...ifRevision(call.request) }
      await submit(ports, call, { op: 'unregister-rainserver', body })
      return call.reply.code(204).send()
    },
  })
}

/** What a url pattern leads to: components that pages below it are made of, nested ones included. */
function urlEntry(map: CloudMap, pattern: string): { pattern: string; components: { id: string; version: string }[] } {
  const components = reachable(map, { urls: [pattern] })
    .sort(byId)
    .flatMap(key => {
      const component = map.get('components', key)?.value
      return component?.active ? [{ id: component.id, version: component.version }] : []
    })
  return { pattern, components }
}
