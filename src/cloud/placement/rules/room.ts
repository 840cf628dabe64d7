import { type PlacementRule, resourceNames, units } from '../host.js'

/** What is reserved never goes above capacity times the over-commit factor. */
export const enoughRoom: PlacementRule = {
  name: 'enough-room',
  objection: (host, { need, overcommit }) => {
    for (const name of resourceNames) {
      const free = host.record.capacity[name] * overcommit[name] - host.reserved[name]
      if (need[name] > free) {
        return `needs ${need[name]} ${units[name]} of ${name}, has ${Math.max(0, Math.floor(free))} unreserved`
      }
    }
    return undefined
  },
}
