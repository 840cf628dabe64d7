/**
 * Wires for one rain server: those that are missing are chosen greedily, by how much is still missing that a mothership
 * has, and how warm it is; then those that are of no use go, the warmest first. Tier by tier, so that what serves now is
 * never left out for what is to serve.
 */
import { byId } from '../ids.js'
import type { Graph, Server } from './graph.js'
import type { Tier } from './hosts.js'

/** What one more wire to a mothership costs; the same for the same map and load. At least 0. */
export type Cost = (mothership: number) => number

/** Returns the motherships that are wired now. */
export function cover(graph: Graph, server: Server, versions: readonly number[], cost: Cost): number[] {
  return ([1, 2, 3, 4] as const).flatMap(tier => coverTier(graph, server, versions, tier, cost))
}

interface Open {
  missing: number
  readonly from: readonly number[]
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
  const choice = new Choice(graph, server, open, tier)
  for (let next = choice.best(cost); next !== undefined; next = choice.best(cost)) {
    add(next)
    choice.take(next)
  }
  return added
}

/** Where there is a choice: how much of what is missing each mothership has. */
class Choice {
  readonly #gains = new Map<number, number>()
  readonly #openAt = new Map<number, Open[]>()

  constructor(
    private readonly graph: Graph,
    server: Server,
    versions: readonly number[],
    tier: Tier,
  ) {
    for (const version of versions) {
      const hosts = graph.hostsOf(version)
      const missing = graph.missing(server, hosts, tier)
      if (missing === 0) continue
      const from = hosts.on.slice(0, hosts.ends[tier - 1]).filter(each => !server.wired.has(each))
      this.#add({ missing, from })
    }
  }

  #add(open: Open): void {
    for (const mothership of open.from) {
      this.#gains.set(mothership, (this.#gains.get(mothership) ?? 0) + 1)
      const at = this.#openAt.get(mothership)
      if (at) at.push(open)
      else this.#openAt.set(mothership, [open])
    }
  }

  /** Undefined when nothing is missing. */
  best(cost: Cost): number | undefined {
    let best: number | undefined
    let worth = 0
    for (const [mothership, gain] of this.#gains) {
      const here = gain / (1 + cost(mothership))
      if (here < worth || (here === worth && best !== undefined && !this.#isFirst(mothership, best))) continue
      best = mothership
      worth = here
    }
    return best
  }

  #isFirst(a: number, b: number): boolean {
    return byId(this.graph.motherships.name(a), this.graph.motherships.name(b)) < 0
  }

  take(mothership: number): void {
    for (const open of this.#openAt.get(mothership) ?? []) {
      if (--open.missing === 0) for (const each of open.from) this.#lose(each)
    }
    this.#gains.delete(mothership)
  }

  #lose(mothership: number): void {
    const gain = this.#gains.get(mothership)
    if (gain === undefined) return
    if (gain === 1) this.#gains.delete(mothership)
    else this.#gains.set(mothership, gain - 1)
  }
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
