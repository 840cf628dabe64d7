/** A mothership as placement sees it, and what is asked of it. */
import type { MothershipRecord, PlacementWish, QuarantineRecord, Resources } from '../records.js'
import type { Settings } from '../settings.js'

export interface MeasuredLoad extends Resources {
  readonly ageMs: number
}

/** How old a sample may be: fresh and ageing ones count, a stale one is no load (declared needs stand in). */
export type Freshness = 'fresh' | 'ageing' | 'stale' | 'absent'

export function freshnessOf(
  load: { readonly ageMs: number } | undefined,
  { freshMs, staleMs }: Pick<Settings['load'], 'freshMs' | 'staleMs'>,
): Freshness {
  if (!load) return 'absent'
  return load.ageMs <= freshMs ? 'fresh' : load.ageMs <= staleMs ? 'ageing' : 'stale'
}

export interface Host {
  readonly id: string
  readonly record: MothershipRecord
  readonly connected: boolean
  /** Sum of the needs of the copies placed here. */
  readonly reserved: Resources
  /** What was placed since the load was measured. */
  readonly placedSince: Resources
  /** Undefined when absent or stale. */
  readonly measured: MeasuredLoad | undefined
  /** Whether a copy here takes more than half of it. */
  readonly holdsLarge: boolean
  /** Copies of instances of a component, of whatever version; `alone`: of those that want no other one beside them. */
  copiesOf(component: string): { readonly all: number; readonly alone: number }
  /** Set while a version that kept failing here is to stay away. */
  quarantineOf(component: string, version: string): QuarantineRecord | undefined
}

export interface Asked {
  readonly component: string
  /** Normalised. */
  readonly version: string
  readonly need: Resources
  readonly wish: PlacementWish
  /** Motherships that have a copy of the instance already. */
  readonly taken: readonly string[]
  /** Share of capacity that may be reserved, and share above which measured load refuses, per resource. */
  readonly overcommit: Resources
  readonly ceilings: Resources
}

export const resourceNames = ['cpu', 'ram', 'bandwidth'] as const
export type ResourceName = (typeof resourceNames)[number]

export const isInUse = ({ reserved }: Host): boolean => resourceNames.some(name => reserved[name] > 0)

/** A need is large when it takes more than this share of a mothership. */
const largeShare = 0.5

export const isLarge = (need: Resources, capacity: Resources): boolean =>
  need.cpu > capacity.cpu * largeShare ||
  need.ram > capacity.ram * largeShare ||
  need.bandwidth > capacity.bandwidth * largeShare

export const units: Readonly<Record<ResourceName, string>> = { cpu: 'millicores', ram: 'MiB', bandwidth: 'kbit/s' }

export interface PlacementRule {
  readonly name: string
  /** Why this mothership cannot take the instance; undefined when it can. */
  objection(host: Host, asked: Asked): string | undefined
}
