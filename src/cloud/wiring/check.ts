/**
 * Whether the wiring in a map is as it should be (`worth.ts`), looked at without any of what wiring is worked out with:
 * from each rain server's urls and each copy anew.
 */
import { settingsOf } from '../decide/verdict.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf, fateOf, sortedIds } from '../map.js'
import { standingOf, type Tier, tierOf } from './hosts.js'
import { reachable } from './reachable.js'

interface Wired {
  readonly id: string
  readonly user: boolean
  readonly reaches: ReadonlySet<string>
  readonly wires: ReadonlySet<string>
}

type Hosts = ReadonlyMap<string, Tier>

export function wiringFaults(map: CloudMap): string[] {
  const hosts = hostsIn(map)
  const servers = sortedIds(map, 'rainservers').map(id => wiredIn(map, id))
  const around = { all: servers, hosts, held: heldIn(hosts) }
  const faults = servers.flatMap(server => serverFaults(map, server, around))
  for (const id of sortedIds(map, 'wiring')) {
    if (!map.get('rainservers', id)) faults.push(`wiring of ${id}, which is not registered`)
  }
  return [...faults, ...idleFaults(map, servers, hosts)].sort()
}

function wiredIn(map: CloudMap, id: string): Wired {
  const record = map.get('rainservers', id)!.value
  return {
    id,
    user: !record.draining && map.get('sessions', `rainserver/${id}`) !== undefined,
    reaches: new Set(reachable(map, record)),
    wires: new Set(map.get('wiring', id)?.value.wires.map(each => each.mothership)),
  }
}

/** By version: motherships with a copy that no stop ends, and the tier of the best one there. */
function hostsIn(map: CloudMap): Map<string, Map<string, Tier>> {
  const hosts = new Map<string, Map<string, Tier>>()
  for (const [, { value }] of map.all('instances')) {
    const key = `${value.component}/${value.version}`
    const of = hosts.get(key) ?? new Map<string, Tier>()
    hosts.set(key, of)
    for (const mothership of copiesOf(value)) {
      const fate = fateOf(map, value, mothership)
      const standing = standingOf(map, mothership)
      if (fate === 'stopping' || !standing) continue
      const tier = tierOf(standing, { serving: fate === 'serving' ? 1 : 0, leaving: fate === 'leaving' ? 1 : 0 })
      const best = of.get(mothership)
      if (best === undefined || tier < best) of.set(mothership, tier)
    }
  }
  return hosts
}

function heldIn(hosts: ReadonlyMap<string, Hosts>): Map<string, string[]> {
  const held = new Map<string, string[]>()
  for (const [key, of] of hosts) {
    for (const mothership of of.keys()) held.set(mothership, [...(held.get(mothership) ?? []), key])
  }
  return held
}

const tiers: readonly Tier[] = [1, 2, 3, 4]

/** How far the wires fall short of what is wanted of a version. */
function short(map: CloudMap, wires: ReadonlySet<string>, of: Hosts): boolean {
  return tiers.some(tier => {
    const best = [...of].filter(([, each]) => each <= tier).map(([id]) => id)
    const wanted = Math.min(settingsOf(map).wiring.redundancy, best.length)
    return best.filter(id => wires.has(id)).length < wanted
  })
}

function serverFaults(map: CloudMap, server: Wired, { all, hosts, held }: Omit<Around, 'keys'>): string[] {
  const { id, wires, reaches } = server
  const faults: string[] = []
  for (const key of [...reaches].sort(byId)) {
    const of = hosts.get(key)
    if (of && short(map, wires, of)) {
      faults.push(`rain server ${id}: ${key} is on ${names(of.keys())}, wired to ${names(wires)}`)
    }
  }
  for (const mothership of wires) {
    const keys = [...(held.get(mothership) ?? [])].filter(key => reaches.has(key))
    if (!isOfUse(map, server, mothership, { keys, all, hosts, held })) {
      faults.push(`rain server ${id}: the wire to ${mothership} is of no use`)
    }
  }
  return faults
}

interface Around {
  /** What the rain server reaches there. */
  readonly keys: readonly string[]
  readonly all: readonly Wired[]
  readonly hosts: ReadonlyMap<string, Hosts>
  /** By mothership. */
  readonly held: ReadonlyMap<string, readonly string[]>
}

function isOfUse(map: CloudMap, server: Wired, mothership: string, { keys, all, hosts }: Around): boolean {
  if (keys.length > 0 && standingOf(map, mothership)?.there === false) return true
  const without = new Set([...server.wires].filter(each => each !== mothership))
  if (keys.some(key => short(map, without, hosts.get(key)!))) return true
  const others = all.filter(each => each !== server)
  return server.user && keys.some(key => canIdle(map, hosts.get(key)!, mothership) && !used(others, key, mothership))
}

const used = (servers: readonly Wired[], key: string, mothership: string): boolean =>
  servers.some(each => each.user && each.reaches.has(key) && each.wires.has(mothership))

/** Where a version has few copies, whoever reaches it is wired to all. */
const canIdle = (map: CloudMap, of: Hosts, mothership: string): boolean =>
  of.size > settingsOf(map).wiring.redundancy && of.get(mothership) === 1

function* idleFaults(map: CloudMap, servers: readonly Wired[], hosts: ReadonlyMap<string, Hosts>): Iterable<string> {
  for (const [key, of] of hosts) {
    if (!servers.some(each => each.user && each.reaches.has(key))) continue
    for (const mothership of of.keys()) {
      if (canIdle(map, of, mothership) && !used(servers, key, mothership)) {
        yield `mothership ${mothership}: no rain server comes to ${key} there`
      }
    }
  }
}

const names = (ids: Iterable<string>): string => [...ids].sort(byId).join(', ') || 'none'
