/**
 * An operator's last resort: an instance whose state cannot be reached goes on with what one mothership has of it, as
 * the only copy (reliability.md, section 3, rule 13). What other copies have beyond that is lost, and the audit says so.
 */
import type { BodyOf } from '../commands.js'
import type { CloudMap } from '../map.js'
import { type InstanceRecord, put } from '../records.js'
import { done, refuse, unknown, type Verdict } from './verdict.js'
import { forget } from './whereabouts.js'

export function force(map: CloudMap, { instance: id, promote }: BodyOf<'force'>): Verdict {
  const before = map.get('instances', id)?.value
  if (!before) return unknown('instance', id)
  if (map.get('components', `${before.component}/${before.version}`)?.value.state !== 'kept') {
    return refuse('conflict', `${id} keeps no state: it is started again by itself`)
  }
  if (!map.get('motherships', promote)) return unknown('mothership', promote)
  const session = map.get('sessions', `mothership/${promote}`)
  if (!session) return refuse('conflict', `${promote} is not connected: nothing can be served from there`)
  if (leads(map, before)) {
    return refuse('conflict', `${before.primary} serves ${id}: drain it to move the instance, nothing has to be lost`)
  }
  const observed = map.get('observed', `${promote}/${id}`)?.value
  const copy = observed?.session === session.modified ? observed.copy : undefined
  const value: InstanceRecord = {
    ...before,
    epoch: before.epoch + 1,
    primary: promote,
    inSync: [promote],
    learners: [],
    journals: copy ? { [promote]: copy.journal } : {},
  }
  const had = copy ? `with what ${promote} has, change ${copy.seq} at least` : `empty: ${promote} has no copy`
  const note = `${id} goes on ${had}; what only ${others(before, promote)} had of it is lost`
  const changes = [put('instances', id, value), ...forget(before, value)]
  return done({ outcome: 'changed', kind: 'instances', ids: [id] }, { changes, subjects: [id], note })
}

/** Its primary is there and says that it serves. */
function leads(map: CloudMap, { id, primary }: InstanceRecord): boolean {
  const session = map.get('sessions', `mothership/${primary}`)
  const observed = map.get('observed', `${primary}/${id}`)?.value
  return session !== undefined && observed?.session === session.modified && observed.phase === 'running'
}

const others = ({ inSync }: InstanceRecord, promote: string): string =>
  inSync.filter(each => each !== promote).join(', ') || 'other copies'
