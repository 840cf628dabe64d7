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

/** Of a version: numbers of motherships, the best tier first, and how many there are up to each tier. */
export interface Hosts {
  readonly on: readonly number[]
  readonly ends: readonly [number, number, number, number]
}

export const nowhere: Hosts = { on: [], ends: [0, 0, 0, 0] }

export function hostsBy(tiers: ReadonlyMap<number, Tier>): Hosts {
  const sorted = [...tiers].sort((a, b) => a[1] - b[1] || a[0] - b[0])
  const upTo = (tier: Tier): number => sorted.filter(([, each]) => each <= tier).length
  return { on: sorted.map(([each]) => each), ends: [upTo(1), upTo(2), upTo(3), sorted.length] }
}

/** 0: it is none of them. */
export function tierIn({ on, ends }: Hosts, mothership: number): number {
  const at = on.indexOf(mothership)
  return at < 0 ? 0 : ends.findIndex(end => at < end) + 1
}
