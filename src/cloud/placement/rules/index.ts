/**
 * All rules, by what they look at: the mothership alone; what is wished of it; the copies that stand there; its load.
 * In that order, and the first objection of a mothership is the one that is told.
 */
import type { Asked, Host, PlacementRule } from '../host.js'
import { apart } from './anti-affinity.js'
import { belowCeiling } from './below-ceiling.js'
import { connected } from './connected.js'
import { enoughRoom } from './enough-room.js'
import { labelsMatch } from './labels.js'
import { notCordoned } from './not-cordoned.js'
import { notDraining } from './not-draining.js'
import { oneCopyEach } from './one-copy-each.js'
import { notQuarantined } from './quarantine.js'
import { zoneMatches } from './zone.js'

const ofTheHost: readonly PlacementRule[] = [connected, notCordoned, notDraining]
const ofTheWish: readonly PlacementRule[] = [labelsMatch, zoneMatches]

export const rules: readonly PlacementRule[] = [
  ...ofTheHost,
  ...ofTheWish,
  oneCopyEach,
  apart,
  notQuarantined,
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

const nothingAsked: Asked = {
  component: '',
  version: '',
  need: { cpu: 0, ram: 0, bandwidth: 0 },
  wish: {},
  taken: [],
  overcommit: { cpu: 1, ram: 1, bandwidth: 1 },
  ceilings: { cpu: 1, ram: 1, bandwidth: 1 },
}

/** Whether it takes anything at all. */
export const isOpen = (host: Host): boolean => ofTheHost.every(rule => rule.objection(host, nothingAsked) === undefined)

/** Whether it is what an instance with this wish asks for, whatever stands there. */
export const isAsWished = (host: Host, asked: Asked): boolean =>
  ofTheWish.every(rule => rule.objection(host, asked) === undefined)
