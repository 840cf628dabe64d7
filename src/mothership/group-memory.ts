/** Memory of process groups: what a component's process starts counts as its own. */
import { readdir, readFile } from 'node:fs/promises'
import type { Clock } from '../hypervisor/ports.js'
import { pageBytes, usageOf } from './load.js'

/** A look at every process of a machine takes some milliseconds: done in steps, so that nobody waits for them. */
const scanEveryMs = 5_000

export class GroupMemory {
  #others: ReadonlyMap<number, number> = new Map()
  #scannedMs = Number.NEGATIVE_INFINITY

  constructor(private readonly clock: Clock) {}

  /**
   * MiB resident: of the leader now, of the rest of its group as it was some seconds ago. Undefined when the leader is
   * gone, or there is no /proc.
   */
  ramMiB(leader: number): number | undefined {
    const own = usageOf(leader)
    if (!own) return undefined
    const nowMs = this.clock.nowMs()
    if (nowMs - this.#scannedMs >= scanEveryMs) {
      this.#scannedMs = nowMs
      void this.#scan()
    }
    return own.ramMiB + (this.#others.get(leader) ?? 0)
  }

  async #scan(): Promise<void> {
    const found = new Map<number, number>()
    for (const name of await readdir('/proc')) {
      const member = /^\d+$/.test(name) ? await groupAndMemory(name) : undefined
      // The leader is looked at by itself.
      if (!member || member.group === Number(name)) continue
      found.set(member.group, (found.get(member.group) ?? 0) + member.ramMiB)
    }
    this.#others = found
  }
}

async function groupAndMemory(pid: string): Promise<{ group: number; ramMiB: number } | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { group: Number(fields[2]), ramMiB: (Number(fields[21]) * pageBytes) / 2 ** 20 }
  } catch {
    return undefined
  }
}
