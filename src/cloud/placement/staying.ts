/** Why an instance is not to be moved off a mothership, whatever would be gained; the same for all that move unasked. */
import type { CloudMap } from '../map.js'
import type { InstanceRecord } from '../records.js'

export function whyItStays(map: CloudMap, instance: InstanceRecord, mothership: string): string | undefined {
  const { id, component, version, learners } = instance
  if (map.get('stops', id)) return 'is stopping'
  if (map.get('moves', id)) return 'cools down'
  if (map.get('components', `${component}/${version}`)?.value.state !== 'none') return 'keeps state'
  if (learners.length > 0 || map.get('observed', `${mothership}/${id}`)?.value.phase !== 'running')
    return 'does not run yet'
  return undefined
}
