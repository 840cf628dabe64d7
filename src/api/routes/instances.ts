/** Instances: started, copied, refreshed, stopped, explained. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Answer } from '../../cloud/commands.js'
import { Clone, Force, Instantiate } from '../../cloud/commands.js'
import { instantiate } from '../../cloud/decide/instances.js'
import type { Verdict } from '../../cloud/decide/verdict.js'
import { Draft } from '../../cloud/draft.js'
import { CloudError, type Refusal } from '../../cloud/errors.js'
import { remove } from '../../cloud/records.js'
import { type InstanceView, instanceView } from '../../hypervisor/views.js'
import { fieldError } from '../problems.js'
import {
  type ApiPorts,
  admins,
  anyone,
  type Call,
  changers,
  define,
  found,
  pathParams,
  submit,
  viewPorts,
} from '../route.js'
import { DryRun, Instance, Instances, Placement, readQuery, type WaitQuery, waitQuery } from '../schemas.js'
import { beforeRead, until, waitForInstances, waitMsOf, waitPorts, waitUntilGone } from '../waiting.js'

const params = { instanceId: pathParams.instance }
const tag = 'instances'

export function instanceRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const view = (id: string): InstanceView => found(instanceView(id, viewPorts(ports)), 'instance', id)

  define(app, {
    method: 'POST',
    url: '/webcomponent/:id/:version',
    access: changers,
    tag,
    summary: 'Start an instance (or ?count= of them), or ask where it would go (?dryRun=true)',
    params: { id: pathParams.component, version: pathParams.version },
    query: {
      ...waitQuery,
      count: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
      dryRun: Type.Optional(Type.Boolean()),
      minRevision: readQuery.minRevision,
    },
    body: Instantiate,
    answers: { 200: DryRun, 201: Type.Union([Instance, Instances]) },
    handle: async call => {
      const { id, version } = call.params
      const { count, dryRun, minRevision } = call.query
      const body = { component: id, version, wish: call.body, count: count ?? 1, bulk: count !== undefined }
      if (body.bulk && call.body.id !== undefined) throw fieldError('/id', 'cannot be given to many: leave out count')
      // What is asked of the leader is asked of the newest map; a dry run is a read of this replica's.
      if (minRevision !== undefined) await beforeRead(waitPorts(ports, call.reply), { minRevision })
      if (dryRun) return dryRunOf(ports, body, call)
      const answer = await whenRoom(ports, call, body, () => submit(ports, call, { op: 'instantiate', body }))
      await waitForInstances(waitPorts(ports, call.reply), answer.ids, call.query as WaitQuery)
      call.reply.code(201)
      if (body.bulk) {
        const items = answer.ids.flatMap(each => instanceView(each, viewPorts(ports)) ?? [])
        return { items, refused: answer.refused ?? [] }
      }
      call.reply.header('location', `/webcomponent/${answer.ids[0]!}`)
      return view(answer.ids[0]!)
    },
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:instanceId',
    access: anyone,
    tag,
    summary: 'One instance',
    params,
    answers: { 200: Instance },
    handle: call => view(call.params.instanceId),
  })

  define(app, {
    method: 'GET',
    url: '/webcomponent/:instanceId/placement',
    access: anyone,
    tag,
    summary: 'Why an instance is where it is, and where it would go today',
    params,
    answers: { 200: Placement },
    handle: call => placementOf(ports, call.params.instanceId),
  })

  define(app, {
    method: 'POST',
    url: '/webcomponent/:instanceId',
    access: changers,
    tag,
    summary: 'Clone: one more copy, on another mothership',
    params,
    query: waitQuery,
    body: Clone,
    answers: { 202: Instance },
    handle: async call => {
      const instance = call.params.instanceId
      await submit(ports, call, { op: 'clone', body: { instance, wish: call.body } })
      await waitForInstances(waitPorts(ports, call.reply), [instance], call.query as WaitQuery)
      call.reply.code(202)
      return view(instance)
    },
  })

  define(app, {
    method: 'POST',
    url: '/webcomponent/:instanceId/force',
    access: admins,
    tag,
    summary: 'Go on with what one mothership has of a state that cannot be reached; what others had is lost',
    params,
    body: Force,
    answers: { 202: Instance },
    handle: async call => {
      const instance = call.params.instanceId
      await submit(ports, call, { op: 'force', body: { instance, ...call.body } })
      call.reply.code(202)
      return view(instance)
    },
  })

  define(app, {
    method: 'PUT',
    url: '/webcomponent/:instanceId',
    access: changers,
    tag,
    summary: 'Refresh an instance: its copies are started anew',
    params,
    query: waitQuery,
    body: Type.Object({}, { additionalProperties: false }),
    answers: { 202: Instance },
    handle: async call => {
      const instance = call.params.instanceId
      await submit(ports, call, { op: 'refresh-instance', body: { instance } })
      await waitForInstances(waitPorts(ports, call.reply), [instance], call.query as WaitQuery)
      call.reply.code(202)
      return view(instance)
    },
  })

  define(app, {
    method: 'DELETE',
    url: '/webcomponent/:instanceId',
    access: changers,
    tag,
    summary:
      'Stop an instance: rain servers lose it first, then calls under way end; it is waited for that (3 s at most)',
    params,
    query: waitQuery,
    answers: { 202: null },
    handle: async call => {
      const instance = call.params.instanceId
      await submit(ports, call, { op: 'stop-instance', body: { instance } })
      await waitUntilGone(waitPorts(ports, call.reply), 'instances', instance, call.query as WaitQuery)
      return call.reply.code(202).send()
    },
  })
}

type InstantiateBody = Parameters<typeof instantiate>[1]

/** More calls than this do not wait for room: they are refused at once. */
const waitingMax = 200
const lookEveryMs = 250
let waiting = 0

/**
 * With `wait`, who finds no room waits until there is some, or the time is up. What is refused leaves nothing behind, so
 * it is simply asked again, once this replica's own memory says that it would fit.
 */
async function whenRoom(
  ports: ApiPorts,
  call: Pick<Call<unknown, unknown, unknown>, 'actor' | 'reply'> & { readonly query: WaitQuery },
  body: InstantiateBody,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  const untilMs = ports.clock.nowMs() + waitMsOf(call.query)
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      const full = error instanceof CloudError && error.code === 'no-room' && call.query.wait !== undefined
      if (!full || waiting >= waitingMax) throw error
      const fits = await roomWithin(ports, call, body, untilMs)
      if (!fits) throw error
    }
  }
}

async function roomWithin(
  ports: ApiPorts,
  call: Pick<Call<unknown, unknown, unknown>, 'actor' | 'reply'>,
  body: InstantiateBody,
  untilMs: number,
): Promise<boolean> {
  const { hypervisor, clock } = ports
  const fits = (): boolean => decidedHere(ports, body, call.actor).verdict.kind === 'do'
  const wait = waitPorts(ports, call.reply)
  waiting++
  try {
    for (;;) {
      const leftMs = untilMs - clock.nowMs()
      if (leftMs <= 0) return false
      const { revision } = hypervisor.maps.map.order
      // Loads change without a change of the map.
      let over = false
      const forget = wait.whenOver(() => {
        over = true
      })
      const came = await until(wait, Math.min(lookEveryMs, leftMs), map => map.order.revision !== revision)
      forget()
      // Nobody waits for the answer any more, or this replica stops: another one may be asked.
      if (over) return false
      if (fits()) return true
      if (came) await new Promise<void>(resolve => clock.after(Math.min(lookEveryMs, leftMs), resolve))
    }
  } finally {
    waiting--
  }
}

/** What the leader would decide, on this replica's memory; and why others refused, where there is a place. */
function decidedHere(
  { hypervisor, chance, clock }: ApiPorts,
  body: InstantiateBody,
  actor: Call<unknown, unknown, unknown>['actor'],
): { verdict: Verdict; reasons: readonly Refusal[] | undefined } {
  let reasons: readonly Refusal[] | undefined
  const verdict = instantiate(
    hypervisor.maps.map,
    { ...body, bulk: true },
    {
      actor,
      requestId: chance.id(32),
      at: new Date(clock.wallMs()).toISOString(),
      place: (map, question) => {
        const found = hypervisor.place(map, { ...question, explain: true })
        reasons ??= found.reasons
        return found
      },
      plan: (_map, movesMax) => hypervisor.plan(movesMax),
    },
  )
  return { verdict, reasons }
}

/** The same decision as the leader's, on this replica's memory, and nothing is written. */
function dryRunOf(
  ports: ApiPorts,
  body: InstantiateBody,
  { actor, reply }: Pick<Call<unknown, unknown, unknown>, 'actor' | 'reply'>,
): unknown {
  reply.code(200)
  const { verdict, reasons } = decidedHere(ports, body, actor)
  if (verdict.kind === 'refuse') {
    const { code, details } = verdict.error
    if (code !== 'no-room') throw verdict.error
    const refusals = details.reasons ?? []
    return { placed: [], candidates: [], refusedByRule: countByRule(refusals), reasons: refusals }
  }
  const records = verdict.steps
    .flatMap(step => step.changes)
    .flatMap(each => (each.kind === 'instances' ? (each.value ?? []) : []))
  return {
    placed: records.map(each => [...each.inSync, ...each.learners]),
    candidates: verdict.steps[0]?.decisions?.[0]?.decision.candidates ?? [],
    refusedByRule: verdict.steps[0]?.decisions?.[0]?.decision.refusedByRule ?? {},
    reasons: verdict.answer.refused?.[0]?.reasons ?? reasons ?? [],
  }
}

async function placementOf({ hypervisor }: ApiPorts, id: string): Promise<unknown> {
  const { map } = hypervisor.maps
  const { value } = found(map.get('instances', id), 'instance', id)
  const kept = value.decidedIn === undefined ? undefined : await hypervisor.decisions.read(value.decidedIn, id)
  const decided = kept ?? { decisionRevision: 0, at: value.createdAt, candidates: [], refusedByRule: {} }
  const { component, version, need, placement: wish } = value
  // As if it were not there: what it holds is not in its own way.
  const without = new Draft(map)
  without.add([remove('instances', id)])
  const today = hypervisor.place(without, { component, version, need, wish, copies: 1, seed: id, explain: true })
  const now =
    today.kind === 'placed'
      ? {
          candidates: today.decision.candidates,
          refusedByRule: today.decision.refusedByRule,
          reasons: [...(today.reasons ?? [])],
        }
      : { candidates: [], refusedByRule: countByRule(today.reasons), reasons: [...today.reasons] }
  return { ...decided, now }
}

function countByRule(reasons: readonly { readonly rule: string }[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { rule } of reasons) counts[rule] = (counts[rule] ?? 0) + 1
  return counts
}
