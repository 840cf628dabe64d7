/**
 * The least that a decision can cost: one pass over typed arrays, does it fit in three resources, and which of those
 * where it fits is least full in its fullest one. No rules, no loads, no reasons, no records. And the same pass by the
 * formula of the product, to compare how even that is when all are looked at.
 */
import type { Resources } from '../../src/cloud/records.js'

export class BareScan {
  protected readonly free: Float64Array
  protected readonly unit: Float64Array
  protected readonly count: number

  constructor(capacities: readonly Resources[]) {
    this.count = capacities.length
    this.free = new Float64Array(capacities.flatMap(each => [each.cpu, each.ram, each.bandwidth]))
    this.unit = this.free.map(each => 1 / each)
  }

  /** Places it, and returns where; -1 when it fits nowhere. */
  place({ cpu, ram, bandwidth }: Resources): number {
    const [free, unit] = [this.free, this.unit]
    let best = -1
    let most = Number.NEGATIVE_INFINITY
    for (let host = 0, at = 0; host < this.count; host++, at += 3) {
      const leftCpu = free[at]! - cpu
      const leftRam = free[at + 1]! - ram
      const leftBandwidth = free[at + 2]! - bandwidth
      if (leftCpu < 0 || leftRam < 0 || leftBandwidth < 0) continue
      const a = leftCpu * unit[at]!
      const b = leftRam * unit[at + 1]!
      const c = leftBandwidth * unit[at + 2]!
      const less = a < b ? a : b
      const left = less < c ? less : c
      if (left > most) {
        most = left
        best = host
      }
    }
    if (best >= 0) this.take(best, cpu, ram, bandwidth)
    return best
  }

  protected take(host: number, cpu: number, ram: number, bandwidth: number): void {
    this.free[host * 3]! -= cpu
    this.free[host * 3 + 1]! -= ram
    this.free[host * 3 + 2]! -= bandwidth
  }

  /** Share of what is there that is used, of each mothership, for each resource. */
  used(): [number, number, number][] {
    return Array.from({ length: this.count }, (_, host) => {
      const share = (name: number): number => 1 - this.free[host * 3 + name]! * this.unit[host * 3 + name]!
      return [share(0), share(1), share(2)]
    })
  }
}

/** Least full by a weighted sum of the mean and the fullest resource. */
export class FormulaScan extends BareScan {
  constructor(
    capacities: readonly Resources[],
    private readonly ofMean: number,
    private readonly ofWorst: number,
  ) {
    super(capacities)
  }

  override place({ cpu, ram, bandwidth }: Resources): number {
    const { free, unit } = this
    let best = -1
    let most = Number.NEGATIVE_INFINITY
    for (let host = 0, at = 0; host < this.count; host++, at += 3) {
      const [leftCpu, leftRam, leftBandwidth] = [free[at]! - cpu, free[at + 1]! - ram, free[at + 2]! - bandwidth]
      if (leftCpu < 0 || leftRam < 0 || leftBandwidth < 0) continue
      const [a, b, c] = [leftCpu * unit[at]!, leftRam * unit[at + 1]!, leftBandwidth * unit[at + 2]!]
      const left = (this.ofMean * (a + b + c)) / 3 + this.ofWorst * Math.min(a, b, c)
      if (left > most) {
        most = left
        best = host
      }
    }
    if (best >= 0) this.take(best, cpu, ram, bandwidth)
    return best
  }
}
