/**
 * Wires for one rain server: those that are missing are chosen greedily, by how much is still missing that a mothership
 * has, and how warm it is; then those that are of no use go, the warmest first. Tier by tier, so that what serves now is
 * never left out for what is to serve.
 */
import { byId } from '../ids.js'
import { Choice } from './choice.js'
import type { Graph } from './graph.js'
import type { Tier } from './hosts.js'
import type { Server } from './server.js'

/** What one more wire to a mothership costs; the same for the same map and load. At least 0, and never less than before. */
export type Cost = (mothership: number) => number

/** Returns the motherships that are wired now. */
export function cover(graph: Graph, server: Server, versions: readonly number[], cost: Cost): number[] {
  return ([1, 2, 3, 4] as const).flatMap(tier => coverTier(graph, server, versions, tier, cost))
}

function coverTier(graph: Graph, server: Server, versions: readonly number[], tier: Tier, cost: Cost): number[] {
  const added: number[] = []
  const add = (mothership: number): void => {
    if (server.wired.has(mothership)) return
    graph.wire(server, mothership)
    added.push(mothership)
  }
  const open: number[] = []
  for (const version of versions) {
    const hosts = graph.hostsOf(version)
    const end = hosts.ends[tier - 1]!
    // Nothing is wanted beyond what the better tiers want.
    if (end === (hosts.ends[tier - 2] ?? 0)) continue
    if (end > graph.redundancy) open.push(version)
    else for (let index = 0; index < end; index++) add(hosts.on[index]!)
  }
  if (open.length === 0) return added
  const choice = new Choice(cost, each => graph.motherships.name(each))
  for (const version of open) {
    const hosts = graph.hostsOf(version)
    const missing = graph.missing(server, hosts, tier)
    if (missing === 0) continue
    choice.add(
      missing,
      hosts.on.slice(0, hosts.ends[tier - 1]).filter(each => !server.wired.has(each)),
    )
  }
  for (let next = choice.take(); next !== undefined; next = choice.take()) add(next)
  return added
}

/** Cuts what is of no use among these, and returns it. */
export function prune(graph: Graph, server: Server, among: Iterable<number>, cost: Cost): number[] {
  const name = (mothership: number): string => graph.motherships.name(mothership)
  const idle = [...among].filter(each => server.wired.has(each) && !graph.ofUse(server, each))
  const warmest = idle
    .map(mothership => ({ mothership, cost: cost(mothership) }))
    .sort((a, b) => b.cost - a.cost || byId(name(a.mothership), name(b.mothership)))
  const cut: number[] = []
  for (const { mothership } of warmest) {
    if (graph.ofUse(server, mothership)) continue
    graph.cut(server, mothership)
    cut.push(mothership)
  }
  return cut
}
