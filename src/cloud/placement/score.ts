/**
 * How good a mothership is for an instance: higher is better. The pressure of a resource is what would be used of its
 * capacity with the instance, by reservation or by measure, whichever is more: measured load may only make a
 * mothership look fuller, never free what is reserved.
 */
import type { Resources, Settings } from '../records.js'
import type { Host, ResourceName } from './host.js'

export function pressureOf(host: Host, need: Resources): Resources {
  return {
    cpu: shareOf(host, need, 'cpu'),
    ram: shareOf(host, need, 'ram'),
    bandwidth: shareOf(host, need, 'bandwidth'),
  }
}

function shareOf(host: Host, need: Resources, name: ResourceName): number {
  const measured = host.measured ? host.measured[name] + host.placedSince[name] : 0
  return (Math.max(host.reserved[name], measured) + need[name]) / Math.max(host.record.capacity[name], 1e-9)
}

export interface Score {
  readonly score: number
  readonly terms: Readonly<Record<'free' | 'worst' | 'fit', number>> & {
    readonly [term in Appraisal['term'] | keyof PreferenceTerms]?: number
  }
  readonly pressure: Resources
}

/** Soft terms, each from 0 to 1: what else speaks against a mothership (preferences.ts). */
export type PreferenceTerms = Settings['preferences']

type Weighing = Pick<Settings, 'policy' | 'weights' | 'preferences'>

/**
 * What a policy looks at beside how full a mothership gets; each costs so much of the score. `waste`: what the room
 * there loses beyond what the need is worth, in whole motherships (`pack`). `kept`: 1 where it is to stay free for
 * large needs (`balanced`).
 */
export interface Appraisal {
  readonly term: 'waste' | 'kept'
  readonly of: (host: Host) => number
}

/**
 * Share of each term by policy: mean of what stays free, what stays free of the worst resource, how full it gets. With
 * `pack` that only decides between places that waste the same.
 */
const shares: Readonly<Record<Settings['policy'], { free: number; worst: number; fit: number }>> = {
  spread: { free: 0.4, worst: 0.6, fit: 0 },
  balanced: { free: 0, worst: 1, fit: 0 },
  pack: { free: 0, worst: 0, fit: 0.003 },
}

/** With `pack`, preferences decide between places that waste about the same. */
const preferenceScale = ({ policy }: Pick<Settings, 'policy'>): number => (policy === 'pack' ? 0.01 : 1)

/** Weights, made to add up to 1; all the same where all of them are 0. */
function weightsOf({ weights }: Pick<Settings, 'weights'>): Resources {
  const sum = weights.cpu + weights.ram + weights.bandwidth
  if (sum === 0) return { cpu: 1 / 3, ram: 1 / 3, bandwidth: 1 / 3 }
  return { cpu: weights.cpu / sum, ram: weights.ram / sum, bandwidth: weights.bandwidth / sum }
}

export function scoreOf(
  host: Host,
  need: Resources,
  settings: Weighing,
  preferences: PreferenceTerms,
  appraisal?: Appraisal,
): Score {
  const { score, terms, pressure } = scoreAt(pressureOf(host, need), settings)
  const extra = appraisal ? appraisal.of(host) : 0
  const told = appraisal ? { ...terms, ...preferences, [appraisal.term]: extra } : { ...terms, ...preferences }
  return { score: score - extra - costOf(preferences, settings), terms: told, pressure }
}

function costOf({ zones, apart, code, wires }: PreferenceTerms, settings: Weighing): number {
  const { preferences: of } = settings
  const sum = of.zones * zones + of.apart * apart + of.code * code + of.wires * wires
  return preferenceScale(settings) * sum
}

/** Of a mothership that is so full with the instance. */
export function scoreAt(pressure: Resources, settings: Pick<Settings, 'policy' | 'weights'>): Score {
  const weights = weightsOf(settings)
  const mean =
    weights.cpu * (1 - pressure.cpu) + weights.ram * (1 - pressure.ram) + weights.bandwidth * (1 - pressure.bandwidth)
  const worst = 1 - Math.max(pressure.cpu, pressure.ram, pressure.bandwidth)
  const terms = { free: mean, worst, fit: 1 - mean }
  const share = shares[settings.policy]
  return { score: share.free * terms.free + share.worst * terms.worst + share.fit * terms.fit, terms, pressure }
}

/** The score as what a scan adds up: the pressure of each resource, and of the worst one, times these. Lower is better. */
export interface Formula extends Resources {
  readonly worst: number
}

/** What settings say of the score, worked out once for the same settings. */
export interface Weighed {
  readonly formula: Formula
  /** Share of each resource in the mean; they add up to 1. */
  readonly weights: Resources
  readonly shares: { readonly free: number; readonly worst: number; readonly fit: number }
  readonly preferences: PreferenceTerms
}

const weighed = new WeakMap<object, Weighed>()

export function weigh(settings: Weighing): Weighed {
  let found = weighed.get(settings)
  if (!found) weighed.set(settings, (found = weighedBy(settings)))
  return found
}

function weighedBy(settings: Weighing): Weighed {
  const weights = weightsOf(settings)
  const share = shares[settings.policy]
  const by = share.free - share.fit
  const formula = {
    cpu: by * weights.cpu,
    ram: by * weights.ram,
    bandwidth: by * weights.bandwidth,
    worst: share.worst,
  }
  const { zones, apart, code, wires } = settings.preferences
  const scale = preferenceScale(settings)
  const preferences = { zones: scale * zones, apart: scale * apart, code: scale * code, wires: scale * wires }
  return { formula, weights, shares: share, preferences }
}
