/**
 * What the leader does unasked for the instances: replaces copies that were lost or stand on a mothership that drains,
 * admits copies that run, makes the copies that are still missing. One instance at a time, from the map alone.
 */
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import { type Change, type Decision, type InstanceRecord, put, remove } from '../records.js'
import { repairKept } from './kept.js'
import { failsEverywhere } from './quarantine.js'
import type { Step } from './verdict.js'
import { forget, isDraining, isLost, isOverdue, isSpared, more, sameSet, type UpkeepContext } from './whereabouts.js'

export type { UpkeepContext } from './whereabouts.js'

type CopyState = 'serves' | 'comes' | 'failed' | 'lost'

/** The one change that brings an instance nearer to what it should be; undefined when there is none. */
export function repair(map: CloudMap, id: string, context: UpkeepContext): Step | undefined {
  const before = map.get('instances', id)?.value
  if (!before || map.get('stops', id)) return undefined
  const component = map.get('components', `${before.component}/${before.version}`)?.value
  if (component?.state === 'kept') return repairKept(map, before, context)
  if (!component) return undefined
  const after = reshape(map, before, context)
  if (!after) return undefined
  const value: InstanceRecord = { ...before, ...after.configuration, epoch: before.epoch + 1 }
  const decisions = after.decision && [{ instance: id, decision: after.decision }]
  const changes = [put('instances', id, value), ...forget(before, value), ...movesOver(map, value)]
  return { changes, subjects: [id], ...(decisions ? { decisions } : {}) }
}

type Configuration = Pick<InstanceRecord, 'primary' | 'inSync' | 'learners'>

interface Reshaped {
  readonly configuration: Configuration
  /** Where copies were added. */
  readonly decision?: Decision
}

/**
 * Copies that were lost go at once. Copies that leave (drain, move) go when there are enough others that serve and rain
 * servers are wired to them; those
 * that failed when there is another place for them; those that should have left by a deadline when there is, or when
 * another one serves.
 */
function reshape(map: CloudMap, instance: InstanceRecord, context: UpkeepContext): Reshaped | undefined {
  const copies = copiesOf(instance)
  const wanted = instance.placement.copies ?? 1
  const state = new Map(copies.map(id => [id, stateOf(map, instance, id, context)]))
  const kept = copies.filter(id => state.get(id) !== 'lost')
  const moved = movedAway(map, instance, to => kept.includes(to) && state.get(to) !== 'failed')
  const leaving = kept.filter(id => id === moved || isDraining(map, id))
  const staying = kept.filter(id => !leaving.includes(id) && state.get(id) !== 'failed')
  const missing = wanted - staying.length
  const found = missing > 0 ? more(map, instance, missing, context) : undefined
  const [added, decision] = found?.kind === 'placed' ? [found.on, found.decision] : [[]]
  const serving = staying.filter(id => state.get(id) === 'serves')
  const covered = added.length >= missing
  const goes = (id: string): boolean =>
    state.get(id) === 'failed' ? covered : isOverdue(map, id, context) && (covered || serving.length > 0)
  const enough = serving.length >= wanted
  const shown = enough ? leaving.filter(id => !isSpared(map, instance, id, serving, context)) : []
  const stay = enough
    ? [...best(instance, staying, serving, wanted, context), ...shown]
    : kept.filter(id => staying.includes(id) || !goes(id))
  const next = configure(instance, [...stay, ...added], id => state.get(id) === 'serves')
  if (!next || sameConfiguration(instance, next)) return undefined
  return { configuration: next, ...(decision ? { decision } : {}) }
}

/** Of more than are wanted (a drain was cancelled, a copy that failed runs again): those that serve, the eldest first. */
function best(
  instance: InstanceRecord,
  staying: readonly string[],
  serving: readonly string[],
  wanted: number,
  { goneForMs }: UpkeepContext,
): readonly string[] {
  if (staying.length <= wanted) return staying
  const rank = (id: string): number =>
    (serving.includes(id) ? 0 : 4) + (goneForMs(id) === undefined ? 0 : 2) + (id === instance.primary ? 0 : 1)
  return [...staying].sort((a, b) => rank(a) - rank(b)).slice(0, wanted)
}

/** Where a copy is moved away from; undefined when none is, or when it cannot stay where it was moved to. */
function movedAway(map: CloudMap, { id }: InstanceRecord, stands: (to: string) => boolean): string | undefined {
  const move = map.get('moves', id)?.value
  return move && !move.over && stands(move.to) ? move.from : undefined
}

/** A move whose first or second place is left: it is never to be gone on with. */
function movesOver(map: CloudMap, after: InstanceRecord): Change[] {
  const move = map.get('moves', after.id)?.value
  const copies = copiesOf(after)
  if (!move || move.over || (copies.includes(move.from) && copies.includes(move.to))) return []
  return [put('moves', after.id, { ...move, over: true })]
}

function stateOf(map: CloudMap, instance: InstanceRecord, mothership: string, context: UpkeepContext): CopyState {
  if (isLost(map, mothership, context)) return 'lost'
  const phase = map.get('observed', `${mothership}/${instance.id}`)?.value.phase
  if (phase === 'failed' && !failsEverywhere(map, `${instance.component}/${instance.version}`)) return 'failed'
  return phase === 'running' ? 'serves' : 'comes'
}

/** In-sync stays who was, and who runs joins; the primary stays while it can, else the lowest id that runs. */
function configure(
  before: InstanceRecord,
  copies: readonly string[],
  serves: (id: string) => boolean,
): Configuration | undefined {
  if (copies.length === 0) return undefined
  const inSync = copies.filter(id => before.inSync.includes(id) || serves(id)).sort(byId)
  if (inSync.length === 0) inSync.push([...copies].sort(byId)[0]!)
  const primary = inSync.includes(before.primary) ? before.primary : (inSync.find(serves) ?? inSync[0]!)
  return { primary, inSync, learners: copies.filter(id => !inSync.includes(id)).sort(byId) }
}

const sameConfiguration = (a: Configuration, b: Configuration): boolean =>
  a.primary === b.primary && sameSet(a.inSync, b.inSync) && sameSet(a.learners, b.learners)

/** Whether it is the word on a copy that is none any more: of a mothership that was away while its copies moved. */
export function isStray(map: CloudMap, observed: string): boolean {
  const slash = observed.indexOf('/')
  const instance = map.get('instances', observed.slice(slash + 1))?.value
  return !instance || !copiesOf(instance).includes(observed.slice(0, slash))
}

/** Takes away what would count as a running copy, should its mothership get one again. */
export function sweep(map: CloudMap, observed: readonly string[]): Step[] {
  return observed
    .filter(id => map.get('observed', id) && isStray(map, id))
    .map(id => ({ changes: [remove('observed', id)], subjects: [id] }))
}

/** Motherships that were asked to leave and are empty now. */
export function departures(map: CloudMap): Step[] {
  return [...map.all('motherships')]
    .filter(([id, entry]) => entry.value.leaving && [...map.instancesOn(id)].length === 0)
    .map(([id]) => ({ changes: [remove('motherships', id)], subjects: [id] }))
}

/** Whether the instance has all the copies that it asks for, admitted and on motherships that stay. */
export function settled(map: CloudMap, id: string): boolean {
  const instance = map.get('instances', id)?.value
  if (map.get('stops', id)) return true
  if (!instance) return true
  const has = instance.learners.length === 0 && instance.inSync.length >= (instance.placement.copies ?? 1)
  return has && !isMoving(map, instance)
}

/** The copy that is moved and the one that it is moved to are both there: one is to go. */
function isMoving(map: CloudMap, instance: InstanceRecord): boolean {
  const move = map.count('moves') > 0 ? map.get('moves', instance.id)?.value : undefined
  if (!move || move.over) return false
  const copies = copiesOf(instance)
  return copies.includes(move.from) && copies.includes(move.to)
}

/** Whether all its copies are where they are to be: on no mothership that is unknown, drains, has no session, or failed it. */
export function stays(map: CloudMap, id: string): boolean {
  const instance = map.get('instances', id)?.value
  if (!instance || map.get('stops', id)) return true
  return copiesOf(instance).every(mothership => {
    const record = map.get('motherships', mothership)?.value
    if (record === undefined || record.draining || !map.get('sessions', `mothership/${mothership}`)) return false
    return map.get('observed', `${mothership}/${id}`)?.value.phase !== 'failed'
  })
}

export function keepsState(map: CloudMap, id: string): boolean {
  const instance = map.get('instances', id)?.value
  return !!instance && map.get('components', `${instance.component}/${instance.version}`)?.value.state === 'kept'
}

/** Of all instances of the mothership, which is the first to be helped. */
export const priorityOf = (map: CloudMap, id: string): number => map.get('instances', id)?.value.placement.priority ?? 0
