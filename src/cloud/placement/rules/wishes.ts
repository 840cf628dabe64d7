import type { PlacementRule } from '../host.js'

export const labelsMatch: PlacementRule = {
  name: 'labels',
  objection: (host, { wish }) => {
    for (const [key, value] of Object.entries(wish.labels ?? {})) {
      const has = host.record.labels[key]
      if (has !== value) return has === undefined ? `has no label ${key}` : `has label ${key}=${has}, not ${value}`
    }
    return undefined
  },
}

export const zoneMatches: PlacementRule = {
  name: 'zone',
  objection: (host, { wish }) => {
    if (!wish.zones || wish.zones.length === 0 || wish.zones.includes(host.record.zone ?? '')) return undefined
    return `is in ${host.record.zone ? `zone ${host.record.zone}` : 'no zone'}, not in ${wish.zones.join(' or ')}`
  },
}

/** Both ways: who wants to be alone goes to no other one, and no other one goes to who wants to be alone. */
export const apart: PlacementRule = {
  name: 'anti-affinity',
  objection: (host, { component, wish }) => {
    const { all, alone } = host.copiesOf(component)
    if (wish.antiAffinity === 'component' && all > 0) return 'has an instance of this component'
    return alone > 0 ? 'has an instance of this component that wants no other one beside it' : undefined
  },
}

export const oneCopyEach: PlacementRule = {
  name: 'one-copy-each',
  objection: (host, { taken }) => (taken.includes(host.id) ? 'has a copy of this instance' : undefined),
}
