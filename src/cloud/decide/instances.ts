/** Instances: placed, copied, refreshed. */
import type { BodyOf } from '../commands.js'
import { Draft } from '../draft.js'
import type { Refusal } from '../errors.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import {
  type ComponentRecord,
  type Decision,
  type InstanceRecord,
  type PlacementWish,
  put,
  type Resources,
} from '../records.js'
import { compareVersions, normaliseVersion, resolveVersion } from '../version.js'
import { componentKey } from './components.js'
import { pardon } from './quarantine.js'
import { type Context, change, done, refuse, type Step, settingsOf, unknown, type Verdict } from './verdict.js'

interface Placed {
  readonly record: InstanceRecord
  readonly decision: Decision
}

type Refused = { readonly reasons: readonly Refusal[] }

/**
 * Ids derive from the request id and the index, so that a request that is decided again (by the next leader) names
 * the same instances (S8).
 */
export const instanceIdOf = (component: string, requestId: string, index: number): string =>
  `${component}.${requestId.slice(0, 16)}${index === 0 ? '' : `-${index}`}`

/** The registered version that is named exactly, active or not; a fragment means active ones only. */
export function versionFor(map: CloudMap, component: string, fragment: string): ComponentRecord | undefined {
  const versions = [...map.versionsOf(component)].flatMap(key => {
    const record = map.get('components', key)?.value
    return record
      ? [{ version: normaliseVersion(record.version) ?? record.version, exact: record.version, record }]
      : []
  })
  const exact = versions.find(each => each.exact === fragment || each.version === fragment)
  if (exact) return exact.record
  return resolveVersion(
    fragment,
    versions.filter(each => each.record.active),
  )?.record
}

/** Versions that the fragment would mean if they were active, highest first: so that a refusal can say so. */
export function inactiveFor(map: CloudMap, component: string, fragment: string): string[] {
  const given = fragment.split('.').map(Number)
  return [...map.versionsOf(component)]
    .filter(key => map.get('components', key)?.value.active === false)
    .map(key => key.slice(key.indexOf('/') + 1))
    .filter(version => version.split('.').every((part, index) => (given[index] ?? Number(part)) === Number(part)))
    .sort((a, b) => compareVersions(b, a))
}

const needOf = (component: ComponentRecord, asked: Partial<Resources> | undefined, standard: Resources): Resources => ({
  ...standard,
  ...component.need,
  ...asked,
})

/** The request's word counts; labels are asked one by one, so that what the component cannot do without stays asked. */
function wishOf({ placement }: ComponentRecord, asked: PlacementWish | undefined): PlacementWish {
  const labels = placement?.labels && asked?.labels ? { labels: { ...placement.labels, ...asked.labels } } : {}
  return { ...placement, ...asked, ...labels }
}

export function instantiate(map: CloudMap, body: BodyOf<'instantiate'>, context: Context): Verdict {
  const component = versionFor(map, body.component, context.resume?.version ?? body.version)
  if (!component && context.resume) return cutShort(body, context.resume.ids)
  const [inactive] = component ? [] : inactiveFor(map, body.component, body.version)
  if (inactive) return refuse('conflict', `${body.component}/${inactive} is not active: activate it first`)
  if (!component) return unknown('component', `${body.component}/${body.version}`)
  const key = componentKey(component.id, component.version)
  // What was begun while it was active is ended.
  if (!component.active && !context.resume) return refuse('conflict', `${key} is not active: activate it first`)
  if (body.wish.id !== undefined && body.count > 1) return refuse('bad-request', 'an id cannot be given to many')
  const verdict = placeMany(map, component, body, context)
  return verdict.kind === 'do' ? { ...verdict, version: component.version } : verdict
}

/**
 * One after the other, each seeing those before it. Where one fits nowhere, the next equal one does not either, so the
 * first refusal speaks for all that follow.
 */
function placeMany(map: CloudMap, component: ComponentRecord, body: BodyOf<'instantiate'>, context: Context): Verdict {
  const draft = new Draft(map)
  const steps: Step[] = []
  const wanted = wantedBy(map, component, body)
  let refused: Refused | undefined
  for (let index = 0; index < body.count && !refused; index++) {
    const id = body.wish.id ?? instanceIdOf(component.id, context.requestId, index)
    if (context.resume?.ids.includes(id)) {
      steps.push({ changes: [], subjects: [id] })
      continue
    }
    if (map.get('instances', id)) {
      const until = map.get('stops', id) ? ', which is just stopping: ask again when it is gone' : ' already'
      return refuse('conflict', `there is an instance ${id}${until}`)
    }
    const placed = placeOne(draft, wanted, id, body, context)
    if ('reasons' in placed) refused = placed
    else {
      const changes = [put('instances', id, placed.record)]
      draft.add(changes)
      steps.push({ changes, subjects: [id], decisions: [{ instance: id, decision: placed.decision }] })
    }
  }
  return answerOf(body, steps, refused)
}

/** The version went away between two parts of a bulk call: what was made before was made, and the rest never will be. */
function cutShort(body: BodyOf<'instantiate'>, ids: readonly string[]): Verdict {
  const refused = Array<Refused>(body.count - ids.length).fill({ reasons: [] })
  return done({ outcome: 'created', kind: 'instances', ids, refused })
}

/** The same for all instances of a call, and kept once. */
interface Wanted {
  readonly component: string
  readonly version: string
  readonly need: Resources
  readonly wish: PlacementWish
}

function wantedBy(map: CloudMap, component: ComponentRecord, { wish }: BodyOf<'instantiate'>): Wanted {
  return {
    component: component.id,
    version: normaliseVersion(component.version) ?? component.version,
    need: needOf(component, wish.need, settingsOf(map).defaultNeed),
    wish: wishOf(component, wish.placement),
  }
}

function placeOne(
  map: CloudMap,
  { component, version, need, wish }: Wanted,
  id: string,
  body: BodyOf<'instantiate'>,
  context: Context,
): Placed | Refused {
  const found = context.place(map, { component, version, need, wish, copies: wish.copies ?? 1, seed: id })
  if (found.kind === 'nowhere') return { reasons: found.reasons }
  const record: InstanceRecord = {
    schema: 1,
    id,
    component,
    version,
    ...(body.wish.owner === undefined ? {} : { owner: body.wish.owner }),
    need,
    placement: wish,
    epoch: 1,
    primary: found.on[0]!,
    inSync: [found.on[0]!],
    learners: found.on.slice(1),
    generation: 0,
    createdAt: context.at,
  }
  return { record, decision: found.decision }
}

function answerOf(body: BodyOf<'instantiate'>, steps: readonly Step[], refused: Refused | undefined): Verdict {
  const ids = steps.flatMap(step => step.subjects)
  if (refused && (!body.bulk || ids.length === 0)) {
    return refuse('no-room', 'no mothership can take the instance', { reasons: refused.reasons })
  }
  const missing = body.count - ids.length
  const answer = { outcome: 'created', kind: 'instances', ids } as const
  return done(refused ? { ...answer, refused: Array<Refused>(missing).fill(refused) } : answer, ...steps)
}

const isStopping = (id: string): Verdict => refuse('conflict', `${id} is just stopping`)

/** One more copy. It is a learner until it runs; without state there is nothing to catch up with then. */
export function clone(map: CloudMap, body: BodyOf<'clone'>, context: Context): Verdict {
  const before = map.get('instances', body.instance)?.value
  if (!before) return unknown('instance', body.instance)
  if (map.get('stops', before.id)) return isStopping(before.id)
  const only = body.wish.mothership
  if (only !== undefined && !map.get('motherships', only)) return unknown('mothership', only)
  const found = context.place(map, {
    component: before.component,
    version: before.version,
    need: before.need,
    wish: before.placement,
    copies: 1,
    instance: before,
    seed: context.requestId,
    ...(only === undefined ? {} : { only }),
  })
  if (found.kind === 'nowhere') {
    return refuse('no-room', `no mothership can take a copy of ${before.id}`, { reasons: found.reasons })
  }
  const learners = [...before.learners, found.on[0]!]
  const placement = { ...before.placement, copies: Math.max(before.placement.copies ?? 1, copiesOf(before).length + 1) }
  const value = { ...before, epoch: before.epoch + 1, learners, placement }
  const step: Step = {
    changes: [put('instances', before.id, value)],
    subjects: [before.id],
    decisions: [{ instance: before.id, decision: found.decision }],
  }
  return done({ outcome: 'changed', kind: 'instances', ids: [before.id] }, step)
}

/** In a process of its own, or shared with what is refreshed by the same request. */
export const refreshed = (instance: InstanceRecord, refresh: string): InstanceRecord => ({
  ...instance,
  generation: instance.generation + 1,
  refresh,
})

const refreshOf = ({ requestId }: Context): string => `r-${requestId.slice(0, 16)}`

export function refreshInstance(map: CloudMap, body: BodyOf<'refresh-instance'>, context: Context): Verdict {
  const before = map.get('instances', body.instance)?.value
  if (!before) return unknown('instance', body.instance)
  if (map.get('stops', before.id)) return isStopping(before.id)
  const answer = { outcome: 'changed', kind: 'instances', ids: [before.id], touched: 1 } as const
  return change(answer, put('instances', before.id, refreshed(before, refreshOf(context))))
}

export function refreshVersion(map: CloudMap, body: BodyOf<'refresh-version'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  // Removed between two parts of the call: what was refreshed before was refreshed.
  if (!map.get('components', key) && !context.resume) return unknown('component', key)
  const after = context.resume?.last ?? ''
  const steps = [...map.instancesOf(key)].sort(byId).flatMap(id => {
    const before = map.get('instances', id)?.value
    if (!before || id <= after) return []
    return [{ changes: [put('instances', id, refreshed(before, refreshOf(context)))], subjects: [id] }]
  })
  const touched = steps.length + (context.resume?.progress ?? 0)
  // Asked to try anew, also where it kept failing.
  const [first = { changes: [], subjects: [key] }, ...rest] = steps
  const pardons = pardon(map, key)
  // The instance stays the last one: it says how far the call has come.
  const subjects = [...pardons.map(each => each.id), ...first.subjects]
  const pardoned = { subjects, changes: [...first.changes, ...pardons] }
  const all = pardoned.changes.length > 0 ? [pardoned, ...rest] : []
  return done({ outcome: 'changed', kind: 'components', ids: [key], touched }, ...all)
}
