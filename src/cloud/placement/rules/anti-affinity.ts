import type { PlacementRule } from '../host.js'

/** Both ways: who wants to be alone goes to no other one, and no other one goes to who wants to be alone. */
export const apart: PlacementRule = {
  name: 'anti-affinity',
  objection: (host, { component, wish }) => {
    const { all, alone } = host.copiesOf(component)
    if (wish.antiAffinity === 'component' && all > 0) return 'has an instance of this component'
    return alone > 0 ? 'has an instance of this component that wants no other one beside it' : undefined
  },
}
