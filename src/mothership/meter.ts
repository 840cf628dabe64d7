/**
 * What a mothership measures, once a second: of itself (its processes, its control group, or the machine when it has
 * that to itself), of each component, and of the machine beside it.
 */
import type { Resources } from '../cloud/resources.js'
import type { Measure } from '../config/parse.js'
import type { Cgroup } from './cgroup.js'
import { CpuMeter, type Usage, usageOf } from './load.js'
import { machineTraffic, machineUsage, type Traffic } from './machine.js'

export interface Bandwidth {
  /** kbit/s */
  readonly in: number
  readonly out: number
}

export interface Load {
  /** Millicores. */
  readonly cpu: number
  /** MiB. */
  readonly ram: number
  readonly bandwidth: Bandwidth
}

export interface Measured {
  readonly self: Load
  /** Undefined where the kernel does not say. */
  readonly machine: Load | undefined
  readonly components: ReadonlyMap<string, Resources>
}

export interface MeterPorts {
  readonly measure: Measure
  readonly cgroup: Cgroup | undefined
  /** Of the processes that run components: several of one component may run. */
  readonly processes: () => Iterable<{ readonly component: string; readonly pid: number | undefined }>
  /** Over the links, since the start. */
  readonly traffic: () => Traffic
  readonly componentTraffic: () => ReadonlyMap<string, Traffic>
  readonly usageOf?: (pid: number) => Usage | undefined
  readonly root?: string
}

/** Names in the meter of cpu time beside the pids: no process has them. */
const [groupPid, machinePid] = [-1, -2]

export class Meter {
  readonly #cpu = new CpuMeter()
  readonly #bytes = new Map<string, Traffic>()
  #lastMs: number | undefined

  constructor(private readonly ports: MeterPorts) {}

  look(nowMs: number): Measured {
    const { measure, cgroup, root = '/', traffic, componentTraffic } = this.ports
    const processes = [...this.ports.processes()]
    const usages = this.#usages(processes)
    const own = [...usages.keys()]
    const group = measure === 'cgroup' ? cgroup?.usage() : undefined
    const machine = machineUsage(root)
    if (group) usages.set(groupPid, group)
    if (machine) usages.set(machinePid, machine)
    const cpu = this.#cpu.look(usages, nowMs)
    const elapsedMs = this.#lastMs === undefined ? 0 : nowMs - this.#lastMs
    this.#lastMs = nowMs
    const links = this.#bandwidth('', traffic(), elapsedMs)
    const loadOf = (pids: readonly number[], bandwidth: Bandwidth): Load => ({
      cpu: sum(pids.map(pid => cpu.get(pid) ?? 0)),
      ram: sum(pids.map(pid => usages.get(pid)?.ramMiB ?? 0)),
      bandwidth,
    })
    const wires = machineTraffic(root)
    const ofMachine = machine && loadOf([machinePid], wires ? this.#bandwidth('machine', wires, elapsedMs) : links)
    const components = new Map<string, Resources>()
    for (const { component, pid = 0 } of processes) {
      const before = components.get(component)
      const bytes = before ? undefined : componentTraffic().get(component)
      const flow = bytes && this.#bandwidth(`component ${component}`, bytes, elapsedMs)
      components.set(component, {
        cpu: (before?.cpu ?? 0) + (cpu.get(pid) ?? 0),
        ram: (before?.ram ?? 0) + (usages.get(pid)?.ramMiB ?? 0),
        bandwidth: before?.bandwidth ?? (flow ? flow.in + flow.out : 0),
      })
    }
    const self = measure === 'machine' && ofMachine ? ofMachine : loadOf(group ? [groupPid] : own, links)
    return { self, machine: ofMachine, components }
  }

  #usages(processes: readonly { readonly pid: number | undefined }[]): Map<number, Usage> {
    const read = this.ports.usageOf ?? usageOf
    const usages = new Map<number, Usage>()
    for (const pid of [process.pid, ...processes.map(each => each.pid)]) {
      const usage = pid === undefined ? undefined : read(pid)
      if (pid !== undefined && usage) usages.set(pid, usage)
    }
    return usages
  }

  /** Nothing at the first look; a counter that started anew counts from nothing. */
  #bandwidth(name: string, now: Traffic, elapsedMs: number): Bandwidth {
    const before = this.#bytes.get(name)
    this.#bytes.set(name, now)
    if (!before || elapsedMs <= 0) return { in: 0, out: 0 }
    const since = (after: number, earlier: number): number =>
      ((after < earlier ? after : after - earlier) * 8) / elapsedMs
    return { in: since(now.bytesIn, before.bytesIn), out: since(now.bytesOut, before.bytesOut) }
  }
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
