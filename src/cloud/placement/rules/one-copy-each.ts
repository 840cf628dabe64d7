import type { PlacementRule } from '../host.js'

export const oneCopyEach: PlacementRule = {
  name: 'one-copy-each',
  objection: (host, { taken }) => (taken.includes(host.id) ? 'has a copy of this instance' : undefined),
}
