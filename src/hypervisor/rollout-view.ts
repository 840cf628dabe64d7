/** A rollout as people read it. */
import type { CloudMap } from '../cloud/map.js'
import type { RolloutRecord } from '../cloud/records.js'

export interface RolloutView {
  id: string
  component: string
  version: string
  phase: RolloutRecord['phase']
  /** Why it is paused, or ended before it was done. */
  reason?: string
  failures: { instance: string; reason: string }[]
  maxUnavailable: number
  onFailure: RolloutRecord['onFailure']
  timeoutMs: number
  total: number
  done: number
  /** Begun, and not known to run yet. */
  underWay: string[]
  startedAt: string
  startedBy: string
  endedAt?: string
  revision: number
}

export function rolloutView(id: string, map: CloudMap): RolloutView | undefined {
  const entry = map.get('rollouts', id)
  if (!entry) return undefined
  const { schema: _schema, attempt: _attempt, after: _after, withinMs, batch, version, ...shown } = entry.value
  return {
    ...shown,
    version: map.get('components', `${shown.component}/${version}`)?.value.version ?? version,
    timeoutMs: withinMs,
    underWay: batch.instances.map(each => each.id),
    revision: entry.modified,
  }
}
