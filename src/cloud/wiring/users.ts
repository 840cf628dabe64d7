/** Who makes pages of a version through which motherships: what waits of calls, and copies that leave, go by. */
import type { CloudMap } from '../map.js'
import { type Hosts, tierIn } from './hosts.js'
import type { Wiring } from './wiring.js'

export interface User {
  readonly id: string
  /** Revision of its wiring; 0 where there is none yet. */
  readonly wiredIn: number
  /** Motherships of the version that it is wired to in the map. */
  readonly through: ReadonlySet<string>
}

/** Rain servers that are there and can show the version. */
export function usersOf(map: CloudMap, wiring: Wiring, key: string): User[] {
  const { graph } = wiring
  const version = graph.versions.find(key)
  if (version === undefined) return []
  const { on } = graph.hostsOf(version)
  const users: User[] = []
  for (const { id, territory } of graph.servers.values()) {
    if (!territory.reaches.has(version) || !map.get('sessions', `rainserver/${id}`)) continue
    const entry = map.get('wiring', id)
    const wires = new Set(entry?.value.wires.map(each => each.mothership))
    const through = new Set(on.map(each => graph.motherships.name(each)).filter(each => wires.has(each)))
    users.push({ id, wiredIn: entry?.modified ?? 0, through })
  }
  return users
}

/** Whether the wiring in the map is as it should be for the version: no wire for it is still to come. */
export function isSettled(map: CloudMap, wiring: Wiring, key: string): boolean {
  const { graph } = wiring
  const version = graph.versions.find(key)
  if (version === undefined) return true
  const hosts = graph.hostsOf(version)
  const users = usersOf(map, wiring, key)
  const numbers = users.map(({ through }) => new Set([...through].map(each => graph.motherships.number(each))))
  if (numbers.some(wired => isShort(wired, hosts, graph.redundancy))) return false
  if (users.length === 0 || graph.takesAll(hosts)) return true
  const open = users.map(({ id }) => map.get('rainservers', id)?.value.draining === false)
  const used = (mothership: number): boolean => numbers.some((wired, index) => open[index] && wired.has(mothership))
  return !open.includes(true) || hosts.on.slice(0, hosts.ends[0]).every(used)
}

const isShort = (wired: ReadonlySet<number>, hosts: Hosts, redundancy: number): boolean =>
  hosts.ends.some(end => hosts.on.slice(0, end).filter(each => wired.has(each)).length < Math.min(redundancy, end))

/**
 * Whether rain servers that show the version through this mothership can show it through another one that serves it and
 * stays. `hasApplied`: whether a rain server said that it has come so far.
 */
export function canSpare(map: CloudMap, wiring: Wiring, { key, mothership, hasApplied }: Sparing): boolean {
  const { graph } = wiring
  const version = graph.versions.find(key)
  if (version === undefined) return true
  const stays = (id: string): boolean =>
    id !== mothership && tierIn(graph.hostsOf(version), graph.motherships.number(id)) === 1
  return usersOf(map, wiring, key)
    .filter(({ through }) => through.has(mothership))
    .every(({ id, through, wiredIn }) => [...through].some(stays) && hasApplied(id, wiredIn))
}

export interface Sparing {
  readonly key: string
  readonly mothership: string
  readonly hasApplied: (rainServer: string, revision: number) => boolean
}
