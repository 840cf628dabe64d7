import { tolerance, unreserved } from '../amounts.js'
import { type PlacementRule, resourceNames, units } from '../host.js'

/**
 * What is reserved never goes above capacity times the over-commit factor. A resource that is not asked for does not
 * refuse, even where a smaller capacity was announced than is reserved.
 */
export const enoughRoom: PlacementRule = {
  name: 'enough-room',
  objection: (host, { need, overcommit }) => {
    for (const name of resourceNames) {
      const free = unreserved(host, name, overcommit)
      if (need[name] > 0 && need[name] > free + tolerance) {
        return `needs ${need[name]} ${units[name]} of ${name}, has ${Math.max(0, Math.round(free * 100) / 100)} unreserved`
      }
    }
    return undefined
  },
}
