import type { PlacementRule } from '../host.js'

export const notCordoned: PlacementRule = {
  name: 'not-cordoned',
  objection: host => (host.record.cordoned ? 'is cordoned' : undefined),
}
