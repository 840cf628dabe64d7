import type { PlacementRule } from '../host.js'

export const notDraining: PlacementRule = {
  name: 'not-draining',
  objection: host => (host.record.draining ? 'is draining' : undefined),
}
