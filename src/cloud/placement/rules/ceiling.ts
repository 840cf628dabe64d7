import { type PlacementRule, resourceNames } from '../host.js'

/** What is measured, and what came since and asks now, stays below a ceiling: real load counts, whatever was declared. */
export const belowCeiling: PlacementRule = {
  name: 'below-ceiling',
  objection: (host, { need, ceilings }) => {
    if (!host.measured) return undefined
    for (const name of resourceNames) {
      const capacity = host.record.capacity[name]
      const share = (host.measured[name] + host.placedSince[name] + need[name]) / Math.max(capacity, 1e-9)
      if (need[name] > 0 && share > ceilings[name]) {
        return `${name} would be at ${Math.round(share * 100)} % of capacity as measured, the ceiling is ${Math.round(ceilings[name] * 100)} %`
      }
    }
    return undefined
  },
}
