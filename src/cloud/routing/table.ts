/**
 * The routing table, for balancers of every kind: for each url pattern the rain servers that can render it. And one
 * question to it: where would this visitor go, and why. Pure.
 */
import { type CloudMap, sortedIds } from '../map.js'
import { cookieName, dynamicCookie, dynamicCookieKey } from './cookie.js'
import { type Backend, backends, bySpecificity, covers, patternsFor } from './routing.js'
import { usualWeight } from './weights.js'

export interface RouteServer {
  readonly id: string
  readonly address: string
  readonly host: string
  readonly port: number
  readonly state: Backend['state']
  /** Its share of new visitors, beside those of the others; 0 takes none. */
  readonly weight: number
  /** By this value of the cookie a visitor comes back to it. Null for a host by name: HAProxy alone knows its address. */
  readonly cookie: string | null
}

export interface PatternRoute {
  readonly pattern: string
  readonly servers: readonly RouteServer[]
}

export type Weights = Readonly<Record<string, number>>

const schemePorts: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 }

function serverOf({ id, address, state }: Backend, weights: Weights): RouteServer {
  const { hostname, port, protocol } = new URL(address)
  const host = hostname.replace(/^\[|\]$/g, '')
  const number = port === '' ? (schemePorts[protocol] ?? 80) : Number(port)
  return {
    id,
    address,
    host,
    port: number,
    state,
    weight: state === 'draining' ? 0 : (weights[id] ?? usualWeight),
    cookie: dynamicCookie(dynamicCookieKey, host, number) ?? null,
  }
}

/** The most specific pattern first: the first one that matches decides. */
export function routingTable(map: CloudMap, weights: Weights): PatternRoute[] {
  const all = backends(map).map(each => ({ urls: each.urls, server: serverOf(each, weights) }))
  const patterns = [...new Set(all.flatMap(each => each.urls))].sort(bySpecificity)
  return patterns.map(pattern => ({
    pattern,
    servers: all.filter(each => each.urls.some(url => covers(url, pattern))).map(each => each.server),
  }))
}

export interface Replica {
  readonly id: string
  readonly url: string
}

/** What `GET /routes` says, as far as others need it to render their files. */
export interface RoutesAnswer {
  readonly revision: string
  readonly cookie: { readonly name: string }
  readonly routes: readonly PatternRoute[]
  readonly replicas: readonly Replica[]
}

export const replicasOf = (map: CloudMap): Replica[] =>
  sortedIds(map, 'replicas').map(id => ({ id, url: map.get('replicas', id)!.value.url }))

/** What a visitor brings: the value of the balancer's cookie, the id of the session, or a whole Cookie header. */
export interface Visitor {
  readonly cookie: string | undefined
  readonly session: string | undefined
}

export function visitorOf(text: string | undefined, sessionCookie: string): Visitor {
  if (text === undefined || text === '') return { cookie: undefined, session: undefined }
  if (!text.includes('=')) return { cookie: text, session: text }
  const cookies = new Map(
    text.split(';').map(part => {
      const at = part.indexOf('=')
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()]
    }),
  )
  return { cookie: cookies.get(cookieName), session: cookies.get(sessionCookie) }
}

export interface Candidate extends RouteServer {
  /** Which part of the new visitors it gets. */
  readonly share: number
}

export interface Routing {
  readonly pattern: string | null
  /** All that match, the one that decides first. */
  readonly patterns: readonly string[]
  readonly candidates: readonly Candidate[]
  /** Null: nobody, or one of the candidates by their shares. */
  readonly chosen: string | null
  readonly why: string
}

export function routeFor(table: readonly PatternRoute[], path: string, cookie: string | undefined): Routing {
  const patterns = patternsFor(
    table.map(each => each.pattern),
    path,
  )
  const route = table.find(each => each.pattern === patterns[0])
  if (!route) {
    return { pattern: null, patterns, candidates: [], chosen: null, why: 'no rain server has a pattern that matches' }
  }
  const candidates = withShares(route.servers)
  return { pattern: route.pattern, patterns, candidates, ...choice(candidates, cookie) }
}

/** `gone` servers are in, as HAProxy has them in for as long as their checks are good, but nothing is promised of them. */
function withShares(servers: readonly RouteServer[]): Candidate[] {
  const ready = servers.filter(each => each.state === 'ready')
  const sum = (ready.length > 0 ? ready : servers).reduce((total, each) => total + each.weight, 0)
  const counts = (each: RouteServer): boolean => ready.length === 0 || each.state === 'ready'
  return servers.map(each => ({
    ...each,
    share: sum > 0 && counts(each) ? Math.round((each.weight / sum) * 1000) / 1000 : 0,
  }))
}

function choice(candidates: readonly Candidate[], cookie: string | undefined): Pick<Routing, 'chosen' | 'why'> {
  const own = cookie === undefined ? undefined : candidates.find(each => each.cookie === cookie)
  if (own && own.state !== 'gone') return { chosen: own.id, why: `the cookie ${cookieName} is that of ${own.id}` }
  const taking = candidates.filter(each => each.share > 0)
  const lost = own
    ? `the cookie is that of ${own.id}, which has no session: while its health checks are good it is that one, else `
    : ''
  const [only] = taking
  if (!only) return { chosen: null, why: `${lost}nobody: all that match are draining` }
  if (taking.length === 1)
    return { chosen: own ? null : only.id, why: `${lost}${only.id} is the only one that takes new visitors` }
  return { chosen: null, why: `${lost}one of ${taking.length}, round robin by their shares` }
}
