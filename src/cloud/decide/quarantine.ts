/**
 * Versions that keep failing on a mothership are kept away from it for a while: it may lack what they need. A version
 * that fails wherever it is tried is left where it is: then it is the package, and moving it about would help nobody.
 */
import type { CloudMap } from '../map.js'
import { type Change, put, remove } from '../records.js'
import { type Step, settingsOf } from './verdict.js'

/** On so many motherships a version is tried before it is held to be broken itself. */
const triesMax = 3

export interface Failure {
  readonly mothership: string
  /** `id/version`, normalised. */
  readonly version: string
  readonly reason: string
}

/** A step for each of the failures; what is quarantined already stays as it is. */
export function quarantine(map: CloudMap, failures: readonly Failure[], at: string): Step[] {
  const { forMs } = settingsOf(map).quarantine
  return failures.flatMap(({ mothership, version: key, reason }) => {
    const id = `${mothership}/${key}`
    const slash = key.lastIndexOf('/')
    const [component, version] = [key.slice(0, slash), key.slice(slash + 1)]
    if (map.get('quarantine', id) || !map.get('components', key) || !map.get('motherships', mothership)) return []
    const until = new Date(Date.parse(at) + forMs).toISOString()
    const value = { schema: 1, mothership, component, version, since: at, until, reason: reason.slice(0, 500) }
    return [{ changes: [put('quarantine', id, value)], subjects: [id] }]
  })
}

/** Quarantines and cool-downs that are over, or whose mothership, version or instance is gone. */
export function expired(map: CloudMap, at: string): Step[] {
  const nowMs = Date.parse(at)
  const steps: Step[] = []
  for (const [id, { value }] of map.all('quarantine')) {
    const known =
      map.get('motherships', value.mothership) && map.get('components', `${value.component}/${value.version}`)
    if (known && Date.parse(value.until) > nowMs) continue
    steps.push({ changes: [remove('quarantine', id)], subjects: [id] })
  }
  for (const [id, { value }] of map.all('moves')) {
    if (map.get('instances', id) && Date.parse(value.until) > nowMs) continue
    steps.push({ changes: [remove('moves', id)], subjects: [id] })
  }
  return steps
}

/** Whether anything is. */
export const hasExpired = (map: CloudMap, at: string): boolean =>
  (map.count('quarantine') > 0 || map.count('moves') > 0) && expired(map, at).length > 0

/** `id/version`, normalised. */
export function failsEverywhere(map: CloudMap, key: string): boolean {
  if (map.count('quarantine') < triesMax) return false
  let tried = 0
  for (const [, { value }] of map.all('quarantine')) if (`${value.component}/${value.version}` === key) tried++
  return tried >= triesMax && (map.tallyOf(key).byPhase['running'] ?? 0) === 0
}

/** Takes the quarantines of a version away: it is to be tried anew. */
export function pardon(map: CloudMap, key: string): Change[] {
  return [...map.all('quarantine')]
    .filter(([, { value }]) => `${value.component}/${value.version}` === key)
    .map(([id]) => remove('quarantine', id))
}
