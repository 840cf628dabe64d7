/** Rollouts: all instances of a version refreshed a few at a time; watched, held up, gone on with, ended. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { StartRollout, SteerRollout } from '../../cloud/commands.js'
import { byId, nodeIdPattern } from '../../cloud/ids.js'
import { onFailures, rolloutPhases } from '../../cloud/records.js'
import { type RolloutView, rolloutView } from '../../hypervisor/rollout-view.js'
import { pageOf } from '../lists.js'
import { type ApiPorts, anyone, changers, define, found, submit } from '../route.js'
import { List, listQuery } from '../schemas.js'

const text = Type.String()
const count = Type.Integer({ minimum: 0 })

const Rollout = Type.Object({
  id: text,
  component: text,
  version: text,
  phase: Type.Enum([...rolloutPhases]),
  reason: Type.Optional(Type.String({ description: 'why it is paused, or ended before it was done' })),
  failures: Type.Array(Type.Object({ instance: text, reason: text })),
  maxUnavailable: count,
  onFailure: Type.Enum([...onFailures]),
  timeoutMs: count,
  total: Type.Integer({ description: 'instances when it began' }),
  done: count,
  underWay: Type.Array(text),
  startedAt: text,
  startedBy: text,
  endedAt: Type.Optional(text),
  revision: count,
})

const params = { id: Type.String({ pattern: nodeIdPattern, description: 'rollout id' }) }
const tag = 'rollouts'

export function rolloutRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const view = (id: string): RolloutView => found(rolloutView(id, maps.map), 'rollout', id)

  define(app, {
    method: 'GET',
    url: '/rollouts',
    access: anyone,
    tag,
    summary: 'Rollouts, the newest first; those that are over for a day at most',
    query: listQuery,
    answers: { 200: List(Rollout) },
    handle: ({ query, request }) => {
      const ids = [...maps.map.all('rollouts')]
        .sort(([, a], [, b]) => byId(b.value.startedAt, a.value.startedAt) || byId(a.value.id, b.value.id))
        .map(([id]) => id)
      return pageOf(ids, query, id => rolloutView(id, maps.map), maps.map.order, request)
    },
  })

  define(app, {
    method: 'GET',
    url: '/rollouts/:id',
    access: anyone,
    tag,
    summary: 'One rollout, with its progress',
    params,
    answers: { 200: Rollout },
    handle: ({ params: { id } }) => view(id),
  })

  define(app, {
    method: 'POST',
    url: '/rollouts/',
    access: changers,
    tag,
    summary: 'Refresh all instances of a version, a few at a time: the next ones when these run',
    body: StartRollout,
    answers: { 201: Rollout },
    handle: async call => {
      const answer = await submit(ports, call, { op: 'start-rollout', body: call.body })
      const id = answer.ids[0]!
      call.reply.code(201).header('location', `/rollouts/${id}`)
      return view(id)
    },
  })

  define(app, {
    method: 'PUT',
    url: '/rollouts/:id',
    access: changers,
    tag,
    summary: 'Pause, resume, abort or return a rollout; what does not run yet keeps its process when it ends',
    params,
    body: SteerRollout,
    answers: { 202: Rollout },
    handle: async call => {
      const { id } = call.params
      await submit(ports, call, { op: 'steer-rollout', body: { id, action: call.body.action } })
      call.reply.code(202)
      return view(id)
    },
  })
}
