/** How full motherships are, as the mover sees it: what is reserved and what is used apart, each with what is on its way. */
import type { Resources } from '../resources.js'
import type { Settings } from '../settings.js'
import { freshnessOf, type Host, isInUse, type resourceNames } from './host.js'
import type { Evenness } from './plan.js'
import { isOpen } from './rules/index.js'

/** Shares of capacity. `pressure` is what is reserved or what is used, whichever is more. */
export interface Fullness {
  readonly host: Host
  readonly reserved: Resources
  readonly used: Resources
  readonly pressure: Resources
  readonly worst: number
}

/** What the numbers of a mothership do not show, or not any more. */
export interface Shift {
  readonly relief: Resources
  readonly leaving: Resources
  readonly usual: Resources
}

/** Only a fresh sample is a reason to move anything: what is older may be over. */
export function fullnessOf(host: Host, { load }: Pick<Settings, 'load'>, { relief, leaving, usual }: Shift): Fullness {
  const measured = freshnessOf(host.measured, load) === 'fresh' ? host.measured : undefined
  const { capacity } = host.record
  const using = (name: (typeof resourceNames)[number]): number =>
    measured ? Math.max(measured[name], usual[name]) + host.placedSince[name] - relief[name] : 0
  const used = {
    cpu: using('cpu') / atLeast(capacity.cpu),
    ram: using('ram') / atLeast(capacity.ram),
    bandwidth: using('bandwidth') / atLeast(capacity.bandwidth),
  }
  const reserved = {
    cpu: (host.reserved.cpu - leaving.cpu) / atLeast(capacity.cpu),
    ram: (host.reserved.ram - leaving.ram) / atLeast(capacity.ram),
    bandwidth: (host.reserved.bandwidth - leaving.bandwidth) / atLeast(capacity.bandwidth),
  }
  return filled(host, reserved, used)
}

function filled(host: Host, reserved: Resources, used: Resources): Fullness {
  const pressure = {
    cpu: Math.max(reserved.cpu, used.cpu),
    ram: Math.max(reserved.ram, used.ram),
    bandwidth: Math.max(reserved.bandwidth, used.bandwidth),
  }
  return { host, reserved, used, pressure, worst: Math.max(pressure.cpu, pressure.ram, pressure.bandwidth) }
}

/** With one more that needs so much. */
export function fullnessWith({ host, reserved, used }: Fullness, need: Resources): Fullness {
  const { cpu, ram, bandwidth } = sharesOf(need, host)
  const more = (of: Resources): Resources => ({
    cpu: of.cpu + cpu,
    ram: of.ram + ram,
    bandwidth: of.bandwidth + bandwidth,
  })
  return filled(host, more(reserved), more(used))
}

/** What is reserved and what is used both become less, each by its own amount; both in shares of this mothership. */
export function worstWithout({ reserved, used }: Fullness, reserving: Resources, using: Resources): number {
  return Math.max(
    0,
    reserved.cpu - reserving.cpu,
    used.cpu - using.cpu,
    reserved.ram - reserving.ram,
    used.ram - using.ram,
    reserved.bandwidth - reserving.bandwidth,
    used.bandwidth - using.bandwidth,
  )
}

export const sharesOf = ({ cpu, ram, bandwidth }: Resources, { record: { capacity } }: Host): Resources => ({
  cpu: cpu / atLeast(capacity.cpu),
  ram: ram / atLeast(capacity.ram),
  bandwidth: bandwidth / atLeast(capacity.bandwidth),
})

/** By the resource of which it is most. */
export function shareOf(need: Resources, host: Host): number {
  const { cpu, ram, bandwidth } = sharesOf(need, host)
  return Math.max(cpu, ram, bandwidth)
}

export const meanOf = (all: readonly Fullness[]): number =>
  all.length === 0 ? 0 : all.reduce((sum, { worst }) => sum + worst, 0) / all.length

/** How full the emptiest of those is that take instances; where none does, nothing is empty. */
export const emptiestOf = (all: readonly Fullness[]): number =>
  all.reduce((least, each) => (each.worst < least && isOpen(each.host) ? each.worst : least), Number.POSITIVE_INFINITY)

export function evennessAmong(all: readonly Fullness[]): Evenness {
  const mean = meanOf(all)
  const fullest = all.reduce((most, each) => Math.max(most, each.worst), 0)
  const imbalance = Math.max(fullest - mean, mean - emptiestOf(all))
  return { imbalance: rounded(imbalance), inUse: all.filter(({ host }) => isInUse(host)).length }
}

export const rounded = (share: number): number => Math.round(share * 10_000) / 10_000

const atLeast = (capacity: number): number => Math.max(capacity, 1e-9)
