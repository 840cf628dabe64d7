/** Which rain servers can render an url, and what the balancer is to know of them. */
import { nodeName } from '../ids.js'
import { type CloudMap, sortedIds } from '../map.js'
import type { RainServerRecord } from '../records.js'

/** Exact, or a prefix that ends in `/*`: `/shop/*` matches `/shop`, `/shop/` and all below. */
export const patternMatches = (pattern: string, path: string): boolean =>
  pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) || path === pattern.slice(0, -2) : pattern === path

/** Whether all paths of `narrow` are paths of `wide`. */
export function covers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true
  if (!wide.endsWith('/*')) return false
  const prefix = wide.slice(0, -1)
  const path = narrow.endsWith('/*') ? narrow.slice(0, -1) : narrow
  return path.startsWith(prefix) || (narrow === wide.slice(0, -2) && narrow !== '')
}

/** Those that match a path, the one that decides first: the whole path, then the longest prefix. */
export const patternsFor = (patterns: Iterable<string>, path: string): string[] =>
  [...new Set(patterns)].filter(each => patternMatches(each, path)).sort(bySpecificity)

/** Whole paths before prefixes, longer ones before shorter ones. */
export function bySpecificity(a: string, b: string): number {
  const prefix = (pattern: string): number => Number(pattern.endsWith('/*'))
  return prefix(a) - prefix(b) || b.length - a.length || (a < b ? -1 : Number(a > b))
}

/** A path without query; one that does not begin with `/` matches nothing. */
export const canRender = (server: Pick<RainServerRecord, 'urls'>, path: string): boolean =>
  path.startsWith('/') && server.urls.some(pattern => patternMatches(pattern, path))

/** Ids of all rain servers whose patterns match, whether they are there or not. Lowest id first. */
export const serversFor = (map: CloudMap, path: string): string[] =>
  sortedIds(map, 'rainservers').filter(id => canRender(map.get('rainservers', id)!.value, path))

/**
 * `ready` takes all, `draining` finishes what it has and keeps its sticky sessions, `gone` has no session: it may still
 * serve with its last wanted state, so it is the balancer's own checks that decide while it is so.
 */
export interface Backend {
  readonly id: string
  readonly address: string
  readonly urls: string[]
  readonly state: 'ready' | 'draining' | 'gone'
}

/** Every registered rain server, lowest id first: one that comes back finds its place kept. */
export const backends = (map: CloudMap): Backend[] =>
  sortedIds(map, 'rainservers').map(id => {
    const server = map.get('rainservers', id)!.value
    const here = map.get('sessions', nodeName({ kind: 'rainserver', id })) !== undefined
    const state = here ? (server.draining ? 'draining' : 'ready') : 'gone'
    return { id, address: server.address, urls: server.urls, state }
  })
