/** Which versions are active: looked at, changed, and gone back. */
import type { FastifyInstance } from 'fastify'
import { highestActive, historyOf, previousOf } from '../../cloud/decide/activations.js'
import { inactiveFor, versionFor } from '../../cloud/decide/instances.js'
import type { CloudMap } from '../../cloud/map.js'
import type { ComponentRecord } from '../../cloud/records.js'
import { componentKey } from '../../cloud/version.js'
import { type ComponentView, componentView } from '../../hypervisor/views.js'
import {
  type ApiPorts,
  anyone,
  changers,
  define,
  found,
  pathParams,
  submit,
  unknownThing,
  viewPorts,
} from '../route.js'
import { Activation, ActivationHistory, AskRollback, Component, RolledBack, SetActivation } from '../schemas.js'

const tag = 'web components'

/** Throws 404, which tells of a version that would be meant if it were active. */
export function componentNamed(map: CloudMap, id: string, version: string): ComponentRecord {
  const record = versionFor(map, id, version)
  if (record) return record
  const [inactive] = inactiveFor(map, id, version)
  const note = inactive === undefined ? '' : ` that is active (${inactive} is not)`
  throw unknownThing('component', `${id}/${version}${note}`)
}

export function activationRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const view = (key: string): ComponentView | undefined => componentView(key, viewPorts(ports))

  define(app, {
    method: 'GET',
    url: '/webcomponent/:id/:version/activation',
    access: anyone,
    tag,
    summary: 'Whether a version is active, and how it came to be so',
    params: { id: pathParams.component, version: pathParams.version },
    answers: { 200: Activation },
    handle: ({ params: { id, version } }) => {
      const { active, activation } = componentNamed(maps.map, id, version)
      return { active, history: activation }
    },
  })

  define(app, {
    method: 'PUT',
    url: '/webcomponent/:id/:version/activation',
    access: changers,
    tag,
    summary: 'Activate or deactivate a version',
    params: { id: pathParams.component, version: pathParams.exact },
    body: SetActivation,
    answers: { 200: Component },
    handle: async call => {
      const { id, version } = call.params
      await submit(ports, call, { op: 'activate', body: { component: id, version, active: call.body.active } })
      return found(view(componentKey(id, version)), 'component', `${id}/${version}`)
    },
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:id/history',
    access: anyone,
    tag,
    summary: 'Which version was meant where none is named, and who changed that when; the last 100 changes',
    params: { id: pathParams.component },
    answers: { 200: ActivationHistory },
    handle: ({ params: { id } }) => {
      if ([...maps.map.versionsOf(id)].length === 0) throw unknownThing('component', id)
      return {
        id,
        current: highestActive(maps.map, id)?.version ?? null,
        previous: previousOf(maps.map, id)?.version ?? null,
        items: historyOf(maps.map, id).toReversed(),
      }
    },
  })

  define(app, {
    method: 'POST',
    url: '/webcomponent/:id/rollback',
    access: changers,
    tag,
    summary: 'Go back to the version that was active before, or to a named one: higher ones are deactivated with it',
    params: { id: pathParams.component },
    body: AskRollback,
    answers: { 200: RolledBack },
    handle: async call => {
      const { id } = call.params
      const { to, force = false } = call.body
      const before = highestActive(maps.map, id)?.version ?? null
      const body = { component: id, force, ...(to === undefined ? {} : { to }) }
      const answer = await submit(ports, call, { op: 'rollback', body })
      const component = found(view(answer.ids[0] ?? ''), 'component', id)
      const entry = historyOf(maps.map, id).findLast(each => each.what === 'rollback' && each.to === component.version)
      const from = answer.outcome === 'changed' ? (entry?.from ?? null) : before
      return { from, to: component.version, component }
    },
  })
}
