/**
 * Stopping in order, so that no page is asked of what is ending: rain servers lose the copies first, then motherships
 * let go of them (calls under way come to their end, processes with nothing left to do are ended), then the record goes.
 * How far a stop has come is a record of its own, so a new leader goes on with it; and each wait has a bound, because
 * who is to say that it is done may be gone.
 */
import type { BodyOf } from '../commands.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import { type Change, type InstanceRecord, put, remove } from '../records.js'
import { change, done, type Step, unknown, type Verdict } from './verdict.js'

/** How long it is waited for rain servers to say that they have let go. */
const unwireMs = 3_000
/** How long for motherships: longer than these wait for calls under way. */
const drainMs = 10_000
/** Of one pass. */
const stepsMax = 500

export interface StopContext {
  readonly at: string
  /** The revision of what a rain server last applied in its present session; undefined when that is not known. */
  readonly appliedBy: (rainServer: string) => number | undefined
}

/** An instance, and all that is there because of it, together; also what is observed before this is written. */
export function stopOf(map: CloudMap, instance: string): Change[] {
  const value = map.get('instances', instance)?.value
  if (!value) return []
  const more = (['moves', 'stops'] as const).filter(kind => map.get(kind, instance))
  return [
    remove('instances', instance),
    ...more.map(kind => remove(kind, instance)),
    ...copiesOf(value).map(id => remove('observed', `${id}/${instance}`)),
  ]
}

/** What begins a stop: of an instance that runs nowhere, it is all of it. */
export function beginStop(map: CloudMap, instance: InstanceRecord, at: string): Change[] {
  const runs = copiesOf(instance).some(mothership => isServed(map, instance.id, mothership))
  return runs ? [put('stops', instance.id, { schema: 1, stage: 'unwire', since: at })] : stopOf(map, instance.id)
}

/** A copy that a mothership which is there has begun with. */
function isServed(map: CloudMap, instance: string, mothership: string): boolean {
  const observed = map.get('observed', `${mothership}/${instance}`)?.value
  return observed !== undefined && !observed.ended && map.get('sessions', `mothership/${mothership}`) !== undefined
}

export function stopInstance(map: CloudMap, body: BodyOf<'stop-instance'>, { at }: { at: string }): Verdict {
  const instance = map.get('instances', body.instance)?.value
  if (!instance) return unknown('instance', body.instance)
  const answer = { kind: 'instances' as const, ids: [instance.id], touched: 1 }
  if (map.get('stops', instance.id)) return done({ outcome: 'unchanged', ...answer })
  const changes = beginStop(map, instance, at)
  return change({ outcome: changes[0]!.kind === 'stops' ? 'changed' : 'removed', ...answer }, ...changes)
}

export function advanceStops(map: CloudMap, context: StopContext): Step[] {
  if (map.count('stops') === 0) return []
  const steps: Step[] = []
  for (const id of [...map.all('stops')].map(([each]) => each).sort(byId)) {
    const step = advance(map, id, context)
    if (step) steps.push(step)
    if (steps.length >= stepsMax) break
  }
  return steps
}

function advance(map: CloudMap, id: string, context: StopContext): Step | undefined {
  const { at } = context
  const { value, modified } = map.get('stops', id)!
  const instance = map.get('instances', id)?.value
  if (!instance) return { changes: [remove('stops', id)], subjects: [id] }
  const forMs = Date.parse(at) - Date.parse(value.since)
  const served = copiesOf(instance).some(mothership => isServed(map, id, mothership))
  if (!served) return { changes: stopOf(map, id), subjects: [id] }
  if (value.stage === 'drain') return forMs < drainMs ? undefined : { changes: stopOf(map, id), subjects: [id] }
  if (forMs < unwireMs && !everybodyHeard(map, modified, context)) return undefined
  return { changes: [put('stops', id, { ...value, stage: 'drain', since: at })], subjects: [id] }
}

/** Whether all rain servers that are there have heard of a change; 0: it is not written yet. */
function everybodyHeard(map: CloudMap, revision: number, { appliedBy }: StopContext): boolean {
  if (revision === 0) return false
  for (const [id] of map.all('rainservers')) {
    if (map.get('sessions', `rainserver/${id}`) && (appliedBy(id) ?? 0) < revision) return false
  }
  return true
}
