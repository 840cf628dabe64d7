import { headroom, tolerance } from '../amounts.js'
import { type PlacementRule, resourceNames } from '../host.js'

/** What is measured, and what came since and asks now, stays below a ceiling: real load counts, whatever was declared. */
export const belowCeiling: PlacementRule = {
  name: 'below-ceiling',
  objection: (host, { need, ceilings }) => {
    if (!host.measured) return undefined
    for (const name of resourceNames) {
      if (need[name] === 0 || need[name] <= headroom(host, name, ceilings) + tolerance) continue
      const share = (host.measured[name] + host.placedSince[name] + need[name]) / host.record.capacity[name]
      return `${name} would be at ${Math.round(share * 100)} % of capacity as measured, the ceiling is ${Math.round(ceilings[name] * 100)} %`
    }
    return undefined
  },
}
