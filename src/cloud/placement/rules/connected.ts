import type { PlacementRule } from '../host.js'

export const connected: PlacementRule = {
  name: 'connected',
  objection: host => (host.connected ? undefined : 'has no live session'),
}
