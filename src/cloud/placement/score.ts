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
  readonly terms: { readonly free: number; readonly worst: number; readonly fit: number }
  readonly pressure: Resources
}

type Weighing = Pick<Settings, 'policy' | 'weights'>

/** Share of each term by policy: mean of what stays free, what stays free of the worst resource, how full it gets. */
const shares: Readonly<Record<Settings['policy'], { free: number; worst: number; fit: number }>> = {
  spread: { free: 0.4, worst: 0.6, fit: 0 },
  balanced: { free: 0.2, worst: 0.5, fit: 0.3 },
  pack: { free: 0, worst: 0.1, fit: 0.9 },
}

/** Weights, made to add up to 1; all the same where all of them are 0. */
function weightsOf({ weights }: Weighing): Resources {
  const sum = weights.cpu + weights.ram + weights.bandwidth
  if (sum === 0) return { cpu: 1 / 3, ram: 1 / 3, bandwidth: 1 / 3 }
  return { cpu: weights.cpu / sum, ram: weights.ram / sum, bandwidth: weights.bandwidth / sum }
}

export const scoreOf = (host: Host, need: Resources, settings: Weighing): Score =>
  scoreAt(pressureOf(host, need), settings)

/** Of a mothership that is so full with the instance. */
export function scoreAt(pressure: Resources, settings: Weighing): Score {
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

export function formulaOf(settings: Weighing): Formula {
  const weights = weightsOf(settings)
  const { free, worst, fit } = shares[settings.policy]
  const by = free - fit
  return { cpu: by * weights.cpu, ram: by * weights.ram, bandwidth: by * weights.bandwidth, worst }
}
