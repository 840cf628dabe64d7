/** What a mothership has left of a resource, by reservation and by measure: the same for the rules and the columns. */
import type { Resources } from '../records.js'
import type { Host, ResourceName } from './host.js'

/** Of sums that are kept to a millionth. */
export const tolerance = 1e-6

/** What is not reserved of capacity times the over-commit factor; below nothing where a smaller capacity was announced. */
export const unreserved = (host: Host, name: ResourceName, overcommit: Resources): number =>
  host.record.capacity[name] * overcommit[name] - host.reserved[name]

/** What is left below the ceiling of what is measured, and what was placed since; no bound without a measure. */
export const headroom = (host: Host, name: ResourceName, ceilings: Resources): number =>
  host.measured
    ? host.record.capacity[name] * ceilings[name] - host.measured[name] - host.placedSince[name]
    : Number.POSITIVE_INFINITY
