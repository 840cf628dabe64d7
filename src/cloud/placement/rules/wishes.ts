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

export const apart: PlacementRule = {
  name: 'anti-affinity',
  objection: (host, { wish }) =>
    wish.antiAffinity === 'component' && host.holdsComponent ? 'has an instance of this component' : undefined,
}

export const oneCopyEach: PlacementRule = {
  name: 'one-copy-each',
  objection: host => (host.holdsInstance ? 'has a copy of this instance' : undefined),
}

export const asNamed: PlacementRule = {
  name: 'as-named',
  objection: (host, { only }) => (only === undefined || only === host.id ? undefined : `is not ${only}`),
}
