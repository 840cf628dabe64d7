/** Motherships: what hosts the instances. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { RegisterMothership, UpdateMothership } from '../../cloud/commands.js'
import { CloudError } from '../../cloud/errors.js'
import { byId } from '../../cloud/ids.js'
import { sortedIds } from '../../cloud/map.js'
import { instanceView, mothershipView } from '../../hypervisor/views.js'
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
import { Instance, List, listQuery, Mothership } from '../schemas.js'

const params = { id: pathParams.node }
const tag = 'motherships'

export function mothershipRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const view = (id: string) => mothershipView(id, viewPorts(ports))

  define(app, {
    method: 'GET',
    url: '/mothership/all',
    access: anyone,
    tag,
    summary: 'All motherships',
    query: listQuery,
    answers: { 200: List(Mothership) },
    handle: ({ query, request }) => pageOf(sortedIds(maps.map, 'motherships'), query, view, maps.map.order, request),
  })

  define(app, {
    method: 'GET',
    url: '/mothership/:id',
    access: anyone,
    tag,
    summary: 'One mothership',
    params,
    answers: { 200: Mothership },
    handle: ({ params: { id } }) => found(view(id), 'mothership', id),
  })

  define(app, {
    method: 'GET',
    url: '/mothership/:id/webcomponents',
    access: anyone,
    tag,
    summary: 'The instances with a copy on a mothership',
    params,
    query: listQuery,
    answers: { 200: List(Instance) },
    handle: ({ params: { id }, query, request }) => {
      found(maps.map.get('motherships', id), 'mothership', id)
      const ids = [...maps.map.instancesOn(id)].sort(byId)
      return pageOf(ids, query, each => instanceView(each, viewPorts(ports)), maps.map.order, request)
    },
  })

  define(app, {
    method: 'POST',
    url: '/mothership/',
    access: changersAndNodes,
    tag,
    summary: 'Register a mothership',
    body: RegisterMothership,
    answers: { 200: Mothership, 201: Mothership },
    handle: async call => {
      const { node } = call.actor
      if (call.actor.role === 'node' && (node?.kind !== 'mothership' || node.id !== call.body.id)) {
        throw new CloudError('forbidden', 'a node registers itself only, by its own id')
      }
      const answer = await submit(ports, call, { op: 'register-mothership', body: call.body })
      const id = answer.ids[0]!
      call.reply.code(answer.outcome === 'created' ? 201 : 200).header('location', `/mothership/${id}`)
      return found(view(id), 'mothership', id)
    },
  })

  define(app, {
    method: 'PUT',
    url: '/mothership/:id',
    access: changers,
    ifMatch: true,
    tag,
    summary: 'Cordon or drain a mothership, or change its labels',
    params,
    body: UpdateMothership,
    answers: { 202: Mothership },
    handle: async call => {
      const { id } = call.params
      const body = { id, change: call.body, ...ifRevision(call.request) }
      await submit(ports, call, { op: 'update-mothership', body })
      call.reply.code(202)
      return found(view(id), 'mothership', id)
    },
  })

  define(app, {
    method: 'DELETE',
    url: '/mothership/:id',
    access: changers,
    ifMatch: true,
    tag,
    summary: 'Unregister a mothership; with instances only with ?drain=true, and then when it is empty',
    params,
    query: { drain: Type.Optional(Type.Boolean()) },
    answers: { 202: Mothership, 204: null },
    handle: async call => {
      const { id } = call.params
      const body = { id, drain: call.query.drain ?? false, ...ifRevision(call.request) }
      const answer = await submit(ports, call, { op: 'unregister-mothership', body })
      const left = answer.outcome === 'removed' ? undefined : view(id)
      return left ? call.reply.code(202).send(left) : call.reply.code(204).send()
    },
  })
}
