/** All rules, cheapest first: the first objection of a mothership is the one that is told. */
import type { Asked, Host, PlacementRule } from '../host.js'
import { connected, notCordoned, notDraining } from './available.js'
import { belowCeiling } from './ceiling.js'
import { enoughRoom } from './room.js'
import { apart, labelsMatch, oneCopyEach, zoneMatches } from './wishes.js'

export const rules: readonly PlacementRule[] = [
  connected,
  notCordoned,
  notDraining,
  oneCopyEach,
  labelsMatch,
  zoneMatches,
  apart,
  enoughRoom,
  belowCeiling,
]

export function firstObjection(host: Host, asked: Asked): { rule: string; reason: string } | undefined {
  for (const rule of rules) {
    const reason = rule.objection(host, asked)
    if (reason !== undefined) return { rule: rule.name, reason }
  }
  return undefined
}
