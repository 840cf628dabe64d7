/** Where copies are and what becomes of them there, as every repair sees it. */
import type { CloudMap } from '../map.js'
import { copiesOf } from '../map.js'
import { type Change, type InstanceRecord, remove } from '../records.js'
import { type PlacementQuestion, type PlacementResult, settingsOf } from './verdict.js'

export interface UpkeepContext {
  /** How long a mothership has been without a session; undefined while it has one. */
  readonly goneForMs: (mothership: string) => number | undefined
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  /** RFC 3339, for deadlines. */
  readonly at: string
  /**
   * Whether all rain servers that show this version through the mothership can show it through another one, which serves
   * it and stays, and have said so. Not asked where nobody looks after wires.
   */
  readonly canSpare?: (componentVersion: string, mothership: string) => boolean
}

/** How long a copy that leaves is kept for rain servers that do not say that they can spare it. */
const sparedWithinMs = 3_000

/** Whether pages can do without a copy that leaves, now that these serve. */
export function isSpared(
  map: CloudMap,
  { id, component, version }: InstanceRecord,
  mothership: string,
  serving: readonly string[],
  { at, canSpare }: UpkeepContext,
): boolean {
  if (!canSpare || map.get('observed', `${mothership}/${id}`)?.value.phase !== 'running') return true
  const since = serving.map(each => Date.parse(map.get('observed', `${each}/${id}`)?.value.since ?? at))
  return Date.parse(at) - Math.max(...since) >= sparedWithinMs || canSpare(`${component}/${version}`, mothership)
}

/** Unknown, or without a session for so long that it is not waited for any more. */
export function isLost(map: CloudMap, mothership: string, { goneForMs }: UpkeepContext): boolean {
  const forMs = goneForMs(mothership)
  return !map.get('motherships', mothership) || (forMs !== undefined && forMs >= settingsOf(map).lostAfterMs)
}

export const isDraining = (map: CloudMap, mothership: string): boolean =>
  map.get('motherships', mothership)?.value.draining != null

export function isOverdue(map: CloudMap, mothership: string, { at }: UpkeepContext): boolean {
  const deadline = map.get('motherships', mothership)?.value.draining?.deadline
  return deadline != null && Date.parse(deadline) <= Date.parse(at)
}

/** Places for further copies of an instance. */
export function more(
  map: CloudMap,
  instance: InstanceRecord,
  copies: number,
  { place }: UpkeepContext,
): PlacementResult {
  const { component, version, need, placement: wish } = instance
  const seed = `${instance.id} ${instance.epoch}`
  return place(map, { component, version, need, wish, copies, instance, seed })
}

/** What was observed of copies that are none any more. */
export function forget(before: InstanceRecord, after: InstanceRecord): Change[] {
  const copies = copiesOf(after)
  return copiesOf(before)
    .filter(id => !copies.includes(id))
    .map(id => remove('observed', `${id}/${before.id}`))
}

export const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every(id => b.includes(id))
