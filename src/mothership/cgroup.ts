/**
 * The control group that this process is in: how much cpu and memory it may use, and how much everything in it does
 * use. Version 2 and version 1; a limit of an enclosing group counts too.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Usage } from './load.js'

export interface Cgroup {
  /** Undefined where there is none. */
  readonly cpuMillicores: number | undefined
  readonly ramMiB: number | undefined
  /** Undefined when the kernel does not say. */
  usage(): Usage | undefined
}

/** No machine has more: the kernel writes such a number where there is no limit. */
const unlimitedMiB = 2 ** 40

const textOf = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

const numberOf = (path: string): number | undefined => {
  const text = textOf(path)
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}

/** Undefined where there are no control groups. `root`: the file system, for tests. */
export function readCgroup(root = '/'): Cgroup | undefined {
  const lines = textOf(join(root, 'proc/self/cgroup'))?.split('\n') ?? []
  const groups = new Map<string, string>()
  for (const line of lines) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    for (const controller of controllers.split(',')) groups.set(controller, path)
  }
  const mount = join(root, 'sys/fs/cgroup')
  const unified = groups.get('')
  if (unified !== undefined && textOf(join(mount, 'cgroup.controllers')) !== undefined) return second(mount, unified)
  return groups.has('memory') || groups.has('cpu') ? first(mount, groups) : undefined
}

/** The group's directory and those around it; in a container the path of the host means nothing, and the mount is the group. */
function* upwards(mount: string, path: string): Iterable<string> {
  const parts = path.split('/').filter(part => part !== '' && part !== '..')
  for (let length = parts.length; length >= 0; length--) yield join(mount, ...parts.slice(0, length))
}

const least = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter(each => each !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}

function nearest<T>(directories: Iterable<string>, read: (directory: string) => T | undefined): T | undefined {
  for (const directory of directories) {
    const found = read(directory)
    if (found !== undefined) return found
  }
  return undefined
}

const mib = (bytes: number | undefined): number | undefined => {
  if (bytes === undefined || bytes / 2 ** 20 >= unlimitedMiB) return undefined
  return bytes / 2 ** 20
}

function second(mount: string, path: string): Cgroup {
  const directories = [...upwards(mount, path)]
  const cpuLimit = (directory: string): number | undefined => {
    const [quota, period] = textOf(join(directory, 'cpu.max'))?.split(' ') ?? []
    return quota === undefined || quota === 'max' ? undefined : (Number(quota) / Number(period)) * 1000
  }
  return {
    cpuMillicores: least(directories.map(cpuLimit)),
    ramMiB: least(directories.map(each => mib(numberOf(join(each, 'memory.max'))))),
    usage: () => {
      const cpuUs = nearest(directories, each => fieldOf(join(each, 'cpu.stat'), 'usage_usec'))
      const ram = nearest(directories, each => used(each, 'memory.current', 'inactive_file'))
      return cpuUs === undefined || ram === undefined ? undefined : { cpuMs: cpuUs / 1000, ramMiB: ram }
    },
  }
}

function first(mount: string, groups: ReadonlyMap<string, string>): Cgroup {
  const of = (controller: string): string[] => [...upwards(join(mount, controller), groups.get(controller) ?? '')]
  const cpuLimit = (directory: string): number | undefined => {
    const quota = numberOf(join(directory, 'cpu.cfs_quota_us'))
    const period = numberOf(join(directory, 'cpu.cfs_period_us'))
    return quota === undefined || !period ? undefined : (quota / period) * 1000
  }
  return {
    cpuMillicores: least(of('cpu').map(cpuLimit)),
    ramMiB: least(of('memory').map(each => mib(numberOf(join(each, 'memory.limit_in_bytes'))))),
    usage: () => {
      const cpuNs = nearest(of('cpuacct'), each => numberOf(join(each, 'cpuacct.usage')))
      const ram = nearest(of('memory'), each => used(each, 'memory.usage_in_bytes', 'total_inactive_file'))
      return cpuNs === undefined || ram === undefined ? undefined : { cpuMs: cpuNs / 1e6, ramMiB: ram }
    },
  }
}

/** Without the cache that the kernel gives up before anything else. */
function used(directory: string, total: string, inactive: string): number | undefined {
  const bytes = numberOf(join(directory, total))
  if (bytes === undefined) return undefined
  return Math.max(0, bytes - (fieldOf(join(directory, 'memory.stat'), inactive) ?? 0)) / 2 ** 20
}

function fieldOf(path: string, name: string): number | undefined {
  const line = textOf(path)
    ?.split('\n')
    .find(each => each.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}
