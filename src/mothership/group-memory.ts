/** Memory of process groups: what a component's process starts counts as its own. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Clock } from '../hypervisor/ports.js'
import { pageBytes, usageOf } from './load.js'

const scanEveryMs = 1_000

export class GroupMemory {
  #others: ReadonlyMap<number, number> = new Map()
  #scannedMs = Number.NEGATIVE_INFINITY

  constructor(private readonly clock: Clock) {}

  /**
   * MiB resident: of the leader now, of the rest of its group as it was at most a second ago. Undefined when the leader
   * is gone, or there is no /proc.
   */
  ramMiB(leader: number): number | undefined {
    const own = usageOf(leader)
    if (!own) return undefined
    const nowMs = this.clock.nowMs()
    if (nowMs - this.#scannedMs >= scanEveryMs) {
      this.#scannedMs = nowMs
      this.#others = othersByGroup()
    }
    return own.ramMiB + (this.#others.get(leader) ?? 0)
  }
}

/** MiB by process group, without the leaders. */
function othersByGroup(): Map<number, number> {
  const found = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const member = groupAndMemory(name)
    if (member && member.group !== Number(name)) {
      found.set(member.group, (found.get(member.group) ?? 0) + member.ramMiB)
    }
  }
  return found
}

function groupAndMemory(pid: string): { readonly group: number; readonly ramMiB: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { group: Number(fields[2]), ramMiB: (Number(fields[21]) * pageBytes) / 2 ** 20 }
  } catch {
    return undefined
  }
}
