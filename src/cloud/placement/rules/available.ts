import type { PlacementRule } from '../host.js'

export const connected: PlacementRule = {
  name: 'connected',
  objection: host => (host.connected ? undefined : 'has no live session'),
}

export const notCordoned: PlacementRule = {
  name: 'not-cordoned',
  objection: host => (host.record.cordoned ? 'is cordoned' : undefined),
}

export const notDraining: PlacementRule = {
  name: 'not-draining',
  objection: host => (host.record.draining ? 'is draining' : undefined),
}
