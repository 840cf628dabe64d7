import type { PlacementRule } from '../host.js'

export const zoneMatches: PlacementRule = {
  name: 'zone',
  objection: (host, { wish }) => {
    if (!wish.zones || wish.zones.length === 0 || wish.zones.includes(host.record.zone ?? '')) return undefined
    return `is in ${host.record.zone ? `zone ${host.record.zone}` : 'no zone'}, not in ${wish.zones.join(' or ')}`
  },
}
