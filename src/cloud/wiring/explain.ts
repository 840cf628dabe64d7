/** Why a rain server is wired as it is, for people: what each wire is for, and what is short of wires or of copies. */
import { settingsOf } from '../decide/verdict.js'
import { byId } from '../ids.js'
import type { CloudMap } from '../map.js'
import { type Hosts, tierIn, tierNames } from './hosts.js'
import type { Wiring } from './wiring.js'

export type Role = (typeof tierNames)[keyof typeof tierNames]

export interface WireWhy {
  readonly mothership: string
  /** `covers`: it is needed for redundancy. `employs`: without it a copy would be idle. `waits`: the mothership is away. */
  readonly because: 'covers' | 'employs' | 'waits' | 'none'
  /** What it is for, and what the mothership can do of it now. */
  readonly components: readonly { readonly component: string; readonly state: Role; readonly only: boolean }[]
}

export interface CoverWhy {
  readonly component: string
  /** Motherships with a copy; of these, wired, and wired and serving. */
  readonly motherships: number
  readonly wired: number
  readonly serving: number
  readonly wanted: number
}

export interface WiringWhy {
  readonly redundancy: number
  readonly changedAt?: string
  readonly wires: readonly WireWhy[]
  readonly components: readonly CoverWhy[]
  /** Reached, and nowhere to be had. */
  readonly withoutCopies: readonly string[]
}

/** Undefined: the rain server is not registered. */
export function explainWiring(map: CloudMap, wiring: Wiring, id: string): WiringWhy | undefined {
  const { graph } = wiring
  const server = graph.servers.get(id)
  if (!server) return undefined
  const record = map.get('wiring', id)?.value
  const wired = new Set((record?.wires ?? []).flatMap(each => graph.motherships.find(each.mothership) ?? []))
  const name = (version: number): string => graph.versions.name(version)
  const reached = [...server.territory.list].sort((a, b) => byId(name(a), name(b)))
  const servingIn = ({ on, ends }: Hosts): number[] => on.slice(0, ends[1]).filter(each => wired.has(each))
  const wireOf = (mothership: number): WireWhy => {
    const held = reached.filter(version => graph.holds(mothership).has(version))
    const components = held.map(version => {
      const hosts = graph.hostsOf(version)
      const serving = servingIn(hosts)
      const state = tierNames[tierIn(hosts, mothership) as keyof typeof tierNames]
      return { component: name(version), state, only: serving.length === 1 && serving[0] === mothership }
    })
    const because = graph.covers(server, mothership) ? 'covers' : graph.employs(server, mothership) ? 'employs' : 'none'
    const waits = because === 'none' && graph.away.has(mothership) && held.length > 0
    return { mothership: graph.motherships.name(mothership), because: waits ? 'waits' : because, components }
  }
  const coverOf = (version: number): CoverWhy => {
    const hosts = graph.hostsOf(version)
    return {
      component: name(version),
      motherships: hosts.on.length,
      wired: hosts.on.filter(each => wired.has(each)).length,
      serving: servingIn(hosts).length,
      wanted: Math.min(graph.redundancy, hosts.on.length),
    }
  }
  const has = (version: number): boolean => graph.hostsOf(version).on.length > 0
  return {
    redundancy: settingsOf(map).wiring.redundancy,
    ...(record?.at === undefined ? {} : { changedAt: record.at }),
    wires: [...wired].map(wireOf).sort((a, b) => byId(a.mothership, b.mothership)),
    components: reached.filter(has).map(coverOf),
    withoutCopies: reached.filter(version => !has(version)).map(name),
  }
}
