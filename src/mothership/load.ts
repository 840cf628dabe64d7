/** Cpu and memory of processes, as the kernel counts them. */
import { readFileSync } from 'node:fs'

/** Kernel ticks per second; 100 on every Linux that Node runs on. */
export const ticksPerS = 100
export const pageBytes = 4096

export interface Usage {
  /** Cpu time used so far, milliseconds. */
  readonly cpuMs: number
  readonly ramMiB: number
}

/** Undefined when the process is gone, or there is no /proc. */
export function usageOf(pid: number): Usage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ticks = Number(fields[11]) + Number(fields[12])
    return { cpuMs: (ticks * 1000) / ticksPerS, ramMiB: (Number(fields[21]) * pageBytes) / 2 ** 20 }
  } catch {
    return undefined
  }
}

/** From counters that only grow to millicores over the time between two looks. */
export class CpuMeter {
  readonly #last = new Map<number, number>()
  #lastMs: number | undefined

  /** Millicores per process since the last look; 0 at the first one. */
  look(usages: ReadonlyMap<number, Usage>, nowMs: number): ReadonlyMap<number, number> {
    const elapsedMs = this.#lastMs === undefined ? 0 : nowMs - this.#lastMs
    this.#lastMs = nowMs
    const cpu = new Map<number, number>()
    for (const [pid, { cpuMs }] of usages) {
      const before = this.#last.get(pid)
      cpu.set(pid, before === undefined || elapsedMs <= 0 ? 0 : ((cpuMs - before) / elapsedMs) * 1000)
      this.#last.set(pid, cpuMs)
    }
    for (const pid of this.#last.keys()) if (!usages.has(pid)) this.#last.delete(pid)
    return cpu
  }
}
