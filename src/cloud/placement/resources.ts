/** Sums of cpu, ram and bandwidth. */
import type { Resources } from '../records.js'

export const nothing: Resources = { cpu: 0, ram: 0, bandwidth: 0 }

/** Sums are kept to a millionth, so that adding and taking away for years leaves no crumbs that refuse a full host. */
export const tidy = (value: number): number => Math.round(value * 1e6) / 1e6

export const plus = (a: Resources, b: Resources, sign: 1 | -1 = 1): Resources => ({
  cpu: tidy(a.cpu + sign * b.cpu),
  ram: tidy(a.ram + sign * b.ram),
  bandwidth: tidy(a.bandwidth + sign * b.bandwidth),
})

/** Sums that change in place: what is added up all the time is not made anew each time. */
export type Sums = { -readonly [name in keyof Resources]: Resources[name] }

export function add(sums: Sums, amount: Resources, sign: 1 | -1 = 1): void {
  sums.cpu = tidy(sums.cpu + sign * amount.cpu)
  sums.ram = tidy(sums.ram + sign * amount.ram)
  sums.bandwidth = tidy(sums.bandwidth + sign * amount.bandwidth)
}

export function become(sums: Sums, amount: Resources): void {
  sums.cpu = amount.cpu
  sums.ram = amount.ram
  sums.bandwidth = amount.bandwidth
}
