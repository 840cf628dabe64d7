/**
 * Wiring: which rain server talks to which motherships (W1-W3). Pure: same map, same wiring, so a change of the cloud
 * moves no wire but those whose reason it takes or gives. A rain server is wired to every mothership with a copy of
 * what its urls can reach, nested components included, and to no other.
 */
import { byId } from '../ids.js'
import { type CloudMap, copiesOf, sortedIds } from '../map.js'
import type { RainServerRecord, WiringRecord } from '../records.js'
import { reachable } from './reachable.js'

export { patternMatches } from '../routing/routing.js'
export { reachable }

export type Wirer = (server: Pick<RainServerRecord, 'urls'>) => WiringRecord

/**
 * For many rain servers on one and the same state of the map: what they share (most have the same urls) is worked out
 * once. Good for one synchronous stretch.
 */
export function wirer(map: CloudMap): Wirer {
  const hosts = new Map<string, readonly string[]>()
  const wirings = new Map<string, WiringRecord>()
  const hostsOfVersion = (key: string): readonly string[] => {
    let found = hosts.get(key)
    if (!found) hosts.set(key, (found = hostsOf(map, key)))
    return found
  }
  return server => {
    const key = JSON.stringify([...new Set(server.urls)].sort(byId))
    let wiring = wirings.get(key)
    if (!wiring) wirings.set(key, (wiring = wiringOf(reachable(map, server), hostsOfVersion)))
    return wiring
  }
}

export const wire = (map: CloudMap, server: Pick<RainServerRecord, 'urls'>): WiringRecord => wirer(map)(server)

/** Registered motherships with a copy of this component version that is to stay. */
function hostsOf(map: CloudMap, key: string): readonly string[] {
  const found = new Set<string>()
  for (const id of map.instancesOf(key)) {
    const instance = map.get('instances', id)?.value
    for (const mothership of instance && !map.get('stops', id) ? copiesOf(instance) : []) {
      if (map.get('motherships', mothership)) found.add(mothership)
    }
  }
  return [...found]
}

/** `keys` are sorted, so each wire's list is. */
function wiringOf(keys: readonly string[], hostsOfVersion: (key: string) => readonly string[]): WiringRecord {
  const wires = new Map<string, string[]>()
  for (const key of keys) {
    for (const mothership of hostsOfVersion(key)) {
      const components = wires.get(mothership)
      if (components) components.push(key)
      else wires.set(mothership, [key])
    }
  }
  const sorted = [...wires].sort(([a], [b]) => byId(a, b))
  return { schema: 1, wires: sorted.map(([mothership, components]) => ({ mothership, components })) }
}

/** The wiring of every rain server, by id. */
export function wireAll(map: CloudMap): Map<string, WiringRecord> {
  const wireOne = wirer(map)
  return new Map(sortedIds(map, 'rainservers').map(id => [id, wireOne(map.get('rainservers', id)!.value)]))
}
