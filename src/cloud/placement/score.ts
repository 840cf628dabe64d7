/**
 * How good a mothership is for an instance: higher is better. The pressure of a resource is what would be used of its
 * capacity with the instance, by reservation or by measure, whichever is more: measured load may only make a
 * mothership look fuller, never free what is reserved.
 */
import type { Resources, Settings } from '../records.js'
import { type Host, resourceNames } from './host.js'

export function pressureOf(host: Host, need: Resources): Resources {
  const share = (name: (typeof resourceNames)[number]): number => {
    const reserved = host.reserved[name] + need[name]
    const measured = host.measured ? host.measured[name] + host.placedSince[name] + need[name] : 0
    return Math.max(reserved, measured) / Math.max(host.record.capacity[name], 1e-9)
  }
  return { cpu: share('cpu'), ram: share('ram'), bandwidth: share('bandwidth') }
}

export interface Score {
  readonly score: number
  readonly terms: { readonly free: number; readonly worst: number; readonly fit: number }
  readonly pressure: Resources
}

/** Share of each term by policy: mean of what stays free, what stays free of the worst resource, how full it gets. */
const shares: Readonly<Record<Settings['policy'], { free: number; worst: number; fit: number }>> = {
  spread: { free: 0.4, worst: 0.6, fit: 0 },
  balanced: { free: 0.2, worst: 0.5, fit: 0.3 },
  pack: { free: 0, worst: 0.1, fit: 0.9 },
}

export function scoreOf(host: Host, need: Resources, settings: Pick<Settings, 'policy' | 'weights'>): Score {
  const pressure = pressureOf(host, need)
  const weight = resourceNames.reduce((sum, name) => sum + settings.weights[name], 0) || 1
  const mean = resourceNames.reduce((sum, name) => sum + settings.weights[name] * (1 - pressure[name]), 0) / weight
  const worst = 1 - Math.max(pressure.cpu, pressure.ram, pressure.bandwidth)
  const terms = { free: mean, worst, fit: 1 - mean }
  const share = shares[settings.policy]
  return { score: share.free * terms.free + share.worst * terms.worst + share.fit * terms.fit, terms, pressure }
}
