/** The load of the whole machine, as the kernel counts it. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ticksPerS, type Usage } from './load.js'

/** Bytes since the machine started. */
export interface Traffic {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Undefined where there is no /proc. `root`: the file system, for tests. */
export function machineUsage(root = '/'): Usage | undefined {
  try {
    const stat = readFileSync(join(root, 'proc/stat'), 'utf8')
    const memory = readFileSync(join(root, 'proc/meminfo'), 'utf8')
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    const [user, nice, system, , , irq, softirq, steal] = /^cpu +(.*)$/m.exec(stat)![1]!.split(' ').map(Number)
    const busy = user! + nice! + system! + (irq ?? 0) + (softirq ?? 0) + (steal ?? 0)
    const kib = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(memory)![1])
    return { cpuMs: (busy * 1000) / ticksPerS, ramMiB: (kib('MemTotal') - kib('MemAvailable')) / 1024 }
  } catch {
    return undefined
  }
}

/** Of the machine's own interfaces: what only passes between containers would be counted twice. */
export function machineTraffic(root = '/'): Traffic | undefined {
  try {
    const lines = readFileSync(join(root, 'proc/net/dev'), 'utf8').split('\n')
    const all = lines.flatMap(line => {
      const [, name, numbers] = /^ *([^:\s]+): *(.*)$/.exec(line) ?? []
      if (name === undefined || numbers === undefined || name === 'lo') return []
      const fields = numbers.trim().split(/ +/).map(Number)
      const real = existsSync(join(root, 'sys/class/net', name, 'device'))
      return [{ real, bytesIn: fields[0] ?? 0, bytesOut: fields[8] ?? 0 }]
    })
    const counted = all.some(each => each.real) ? all.filter(each => each.real) : all
    return {
      bytesIn: counted.reduce((sum, each) => sum + each.bytesIn, 0),
      bytesOut: counted.reduce((sum, each) => sum + each.bytesOut, 0),
    }
  } catch {
    return undefined
  }
}
