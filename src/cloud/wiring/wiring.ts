/**
 * Wiring: which rain server talks to which motherships (W1-W3). Pure: same map, same wiring. A rain server is wired to
 * every mothership with a copy of what its urls can reach, nested components included, and to no other.
 */
import { byId } from '../ids.js'
import { type CloudMap, copiesOf, sortedIds } from '../map.js'
import type { ComponentRecord, RainServerRecord, WiringRecord } from '../records.js'
import { normaliseVersion, resolveVersion } from '../version.js'

/** Component versions (`id/version`, sorted) that pages under the rain server's urls can be made of. */
export function reachable(map: CloudMap, server: RainServerRecord): string[] {
  const found = new Set<string>()
  const open: string[] = []
  const reach = (key: string): void => {
    if (found.has(key) || !map.get('components', key)) return
    found.add(key)
    open.push(key)
  }
  for (const key of named(map, server)) reach(key)
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    for (const child of childrenOf(map, map.get('components', key)!.value)) reach(child)
  }
  return [...found].sort(byId)
}

/** What the urls name themselves: `/*` everything, `/shop/…` the versions of `shop`; and what stands in for failures. */
function* named(map: CloudMap, server: RainServerRecord): Iterable<string> {
  const errorComponent = map.get('settings')?.value.errorComponent
  if (errorComponent) yield* map.versionsOf(errorComponent)
  for (const url of server.urls) {
    const component = url.split('/')[1] ?? ''
    if (component === '*') yield* sortedIds(map, 'components')
    else yield* map.versionsOf(component.replace(/\*$/, ''))
  }
}

function* childrenOf(map: CloudMap, component: ComponentRecord): Iterable<string> {
  for (const view of component.views) {
    for (const use of view.uses) {
      if (use.component === undefined) continue
      const versions = [...map.versionsOf(use.component)].map(key => ({
        key,
        version: key.slice(key.indexOf('/') + 1),
      }))
      if (use.version === undefined) yield* versions.map(each => each.key)
      else {
        const found = resolveVersion(use.version, versions)
        if (found) yield found.key
      }
    }
  }
}

export function wire(map: CloudMap, server: RainServerRecord): WiringRecord {
  const wires = new Map<string, Set<string>>()
  for (const key of reachable(map, server)) {
    for (const id of map.instancesOf(key)) {
      for (const mothership of copiesOf(map.get('instances', id)!.value)) {
        if (!map.get('motherships', mothership)) continue
        const components = wires.get(mothership)
        if (components) components.add(key)
        else wires.set(mothership, new Set([key]))
      }
    }
  }
  const sorted = [...wires].sort(([a], [b]) => byId(a, b))
  return { schema: 1, wires: sorted.map(([mothership, keys]) => ({ mothership, components: [...keys].sort(byId) })) }
}

/** Exact, or a prefix that ends in `/*`. */
export const patternMatches = (pattern: string, path: string): boolean =>
  pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) || path === pattern.slice(0, -2) : pattern === path

export const versionKey = (component: Pick<ComponentRecord, 'id' | 'version'>): string =>
  `${component.id}/${normaliseVersion(component.version) ?? component.version}`
