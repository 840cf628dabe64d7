import type { PlacementRule } from '../host.js'

/** A package that failed there repeatedly stays away for a while. */
export const notQuarantined: PlacementRule = {
  name: 'quarantine',
  objection: (host, { component, version }) => {
    const found = host.quarantineOf(component, version)
    return found && `${component}/${version} kept failing there (${found.reason}): kept away until ${found.until}`
  },
}
