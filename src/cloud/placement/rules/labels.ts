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
