/** Component versions: deployed as packages, activated, looked at, undeployed. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { packageBytesMax } from '../../cloud/component/archive.js'
import { componentKey } from '../../cloud/decide/components.js'
import { CloudError } from '../../cloud/errors.js'
import { byId, componentIdPattern, digestPattern } from '../../cloud/ids.js'
import type { CloudMap } from '../../cloud/map.js'
import { nothing, plus } from '../../cloud/placement/resources.js'
import type { ComponentRecord, Resources } from '../../cloud/records.js'
import { compareVersions } from '../../cloud/version.js'
import { type ComponentView, componentView } from '../../hypervisor/views.js'
import { latencyBucketsMs } from '../../protocol/messages.js'
import { Deploys } from '../deploying.js'
import { pageOf } from '../lists.js'
import { PackageReadings } from '../package-readings.js'
import { percentile } from '../percentile.js'
import {
  type ApiPorts,
  anyone,
  changers,
  define,
  everyToken,
  found,
  pathParams,
  submit,
  unknownThing,
  viewPorts,
} from '../route.js'
import { Component, List, listQuery, Refreshing, Statistics, Stopping, type WaitQuery, waitQuery } from '../schemas.js'
import { waitPorts, waitUntilGone } from '../waiting.js'
import { componentNamed } from './activations.js'

const params = { id: pathParams.component, version: pathParams.version }
const exact = { id: pathParams.component, version: pathParams.exact }
const tag = 'web components'

export function componentRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const readings = new PackageReadings()
  const deploys = new Deploys(ports)
  const view = (key: string): ComponentView | undefined => componentView(key, viewPorts(ports))
  const named = (id: string, version: string): ComponentRecord => componentNamed(maps.map, id, version)
  const keyFor = (id: string, version: string): string => {
    const record = named(id, version)
    return componentKey(record.id, record.version)
  }

  define(app, {
    method: 'GET',
    url: '/webcomponent/all',
    access: anyone,
    tag,
    summary: 'All component versions',
    query: {
      ...listQuery,
      id: Type.Optional(Type.String({ pattern: componentIdPattern, description: 'versions of this component only' })),
      active: Type.Optional(Type.Boolean({ description: 'active (or inactive) versions only' })),
    },
    answers: { 200: List(Component) },
    handle: ({ query, request }) => pageOf(listed(maps.map, query), query, view, maps.map.order, request),
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:id/:version',
    access: anyone,
    tag,
    summary: 'One component version, or the highest that a fragment of a version means',
    params,
    answers: { 200: Component },
    handle: ({ params: { id, version } }) => found(view(keyFor(id, version)), 'component', `${id}/${version}`),
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:id/:version/descriptor',
    access: anyone,
    tag,
    summary: "The package's meta.json, unchanged",
    params,
    produces: 'application/json',
    answers: { 200: Type.String({ description: 'meta.json' }) },
    handle: ({ params: { id, version }, reply }) =>
      reply.type('application/json; charset=utf-8').serializer(String).send(named(id, version).meta),
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:id/:version/statistics',
    access: anyone,
    tag,
    summary: 'Calls, errors, latency and load of a component version, over all motherships',
    params,
    answers: { 200: Statistics },
    handle: ({ params: { id, version } }) => statisticsOf(ports, keyFor(id, version)),
  })

  define(app, {
    method: 'PUT',
    url: '/webcomponent/:id/:version',
    access: changers,
    tag,
    summary: 'Refresh all instances of a version',
    params: exact,
    body: Type.Object({}, { additionalProperties: false }),
    answers: { 202: Refreshing },
    handle: async call => {
      const { id: component, version } = call.params
      const answer = await submit(ports, call, { op: 'refresh-version', body: { component, version } })
      call.reply.code(202)
      return { refreshing: answer.touched ?? 0 }
    },
  })

  define(app, {
    method: 'DELETE',
    url: '/webcomponent/:id/:version',
    access: changers,
    tag,
    summary: 'Undeploy: stop all instances, then remove the package; it is waited for that (3 s at most)',
    params: exact,
    query: { timeout: waitQuery.timeout },
    answers: { 202: Stopping },
    handle: async call => {
      const { id: component, version } = call.params
      const answer = await submit(ports, call, { op: 'undeploy', body: { component, version } })
      const key = componentKey(component, version)
      await waitUntilGone(waitPorts(ports, call.reply), 'components', key, call.query as WaitQuery)
      call.reply.code(202)
      return { stopping: answer.touched ?? 0 }
    },
  })

  define(app, {
    method: 'GET',
    url: '/packages/:digest',
    access: everyToken,
    tag,
    summary: 'A package by the digest of its bytes',
    params: { digest: Type.String({ pattern: digestPattern }) },
    produces: 'application/gzip',
    answers: { 200: Type.String({ description: 'the package', format: 'binary' }) },
    handle: async ({ params: { digest }, reply }) => {
      const bytes = await packageOf(ports, digest)
      return reply.type('application/gzip').send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    },
  })

  // A package is a package, whatever the client calls it: the seed's headers say application/json on every call.
  app.register(async scope => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: packageBytesMax }, (_request, body, done) =>
      done(null, body),
    )
    define(scope, {
      method: 'POST',
      url: '/webcomponent/',
      access: changers,
      tag,
      summary: 'Deploy a component: the body is its package (.tgz)',
      consumes: 'application/gzip',
      bodyLimit: packageBytesMax,
      query: { activate: Type.Optional(Type.Boolean({ description: 'default true' })) },
      answers: { 200: Component, 201: Component },
      handle: async call => {
        const bytes = call.request.body
        if (!Buffer.isBuffer(bytes) || bytes.byteLength === 0) {
          const errors = [{ path: '', message: 'send the package as the body' }]
          throw new CloudError('invalid-package', 'there is no package in the request', { errors })
        }
        const { component, answer } = await deploys.deploy(call, {
          read: await readings.read(bytes),
          bytes,
          activate: call.query.activate ?? true,
        })
        const { id, version } = component
        call.reply.code(answer.outcome === 'created' ? 201 : 200).header('location', `/webcomponent/${id}/${version}`)
        return found(view(componentKey(id, version)), 'component', `${id}/${version}`)
      },
    })
  })
}

/** By id, the newest version first. */
function listed(map: CloudMap, { id, active }: { id?: string; active?: boolean }): string[] {
  const keys = [...(id === undefined ? allKeys(map) : map.versionsOf(id))]
  const version = (key: string): string => key.slice(key.indexOf('/') + 1)
  const name = (key: string): string => key.slice(0, key.indexOf('/'))
  return keys
    .filter(key => active === undefined || map.get('components', key)?.value.active === active)
    .sort((a, b) => byId(name(a), name(b)) || compareVersions(version(b), version(a)))
}

const allKeys = (map: CloudMap): string[] => [...map.all('components')].map(([key]) => key)

async function packageOf(ports: ApiPorts, digest: string): Promise<Uint8Array> {
  const { maps } = ports.hypervisor
  for (const [, { value }] of maps.map.all('components')) {
    if (value.digest !== digest) continue
    const bytes = await ports.hypervisor.blobs.get(digest, value.chunks)
    if (bytes) return bytes
  }
  throw unknownThing('package', digest)
}

function statisticsOf(ports: ApiPorts, key: string): Record<string, unknown> {
  const { map } = ports.hypervisor.maps
  const { byPhase, copies } = map.tallyOf(key)
  const sums = { calls: 0, errors: 0, timeouts: 0, restarts: 0 }
  let load: Resources = nothing
  const latency = Array<number>(latencyBucketsMs.length + 1).fill(0)
  for (const stats of ports.hypervisor.loads.statistics(key).values()) {
    for (const name of ['calls', 'errors', 'timeouts', 'restarts'] as const) sums[name] += stats[name]
    load = plus(load, stats)
    for (const [index, count] of stats.latency.entries()) latency[index] = (latency[index] ?? 0) + count
  }
  const at = (share: number): number | null => percentile(latency, latencyBucketsMs, share)
  const component = map.get('components', key)?.value
  return {
    instances: { byPhase, byMothership: Object.fromEntries(copies) },
    ...sums,
    latencyMs: { p50: at(0.5), p95: at(0.95), p99: at(0.99) },
    load,
    since: component?.deployedAt ?? null,
  }
}
