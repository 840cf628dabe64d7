/**
 * Who can make a component version, in the order in which rain servers are better off with them: those that serve and
 * stay; those that serve and leave (a drain, a move); those that are to serve; those that are away. A wire to the last
 * ones is worth something only where there are not enough others.
 */
import type { CloudMap } from '../map.js'

/** 1 is the best. */
export type Tier = 1 | 2 | 3 | 4
export const tierNames = { 1: 'serves', 2: 'leaves', 3: 'comes', 4: 'away' } as const satisfies Record<Tier, string>

/** What the map says of a mothership, as far as wiring goes. */
export interface Standing {
  readonly there: boolean
  readonly draining: boolean
}

/** Undefined: it is not registered. */
export function standingOf(map: CloudMap, mothership: string): Standing | undefined {
  const record = map.get('motherships', mothership)?.value
  if (!record) return undefined
  return { there: map.get('sessions', `mothership/${mothership}`) !== undefined, draining: record.draining !== null }
}

export interface Copies {
  readonly serving: number
  readonly leaving: number
}

export function tierOf({ there, draining }: Standing, { serving, leaving }: Copies): Tier {
  if (!there) return 4
  if (serving > 0 && !draining) return 1
  if (serving + leaving > 0) return 2
  return draining ? 4 : 3
}

/** Registered motherships with a copy of this version (`id/version`, normalised) that no stop ends. */
export function hostsOf(
  map: CloudMap,
  key: string,
  standing: (mothership: string) => Standing | undefined,
): Map<string, Tier> {
  const { copies, serving, leaving, stopping } = map.tallyOf(key)
  const hosts = new Map<string, Tier>()
  for (const [mothership, count] of copies) {
    if (count <= (stopping.get(mothership) ?? 0)) continue
    const there = standing(mothership)
    if (!there) continue
    const here = { serving: serving.get(mothership) ?? 0, leaving: leaving.get(mothership) ?? 0 }
    hosts.set(mothership, tierOf(there, here))
  }
  return hosts
}
