/**
 * Wires that are moved for load alone: few, and away only from motherships that are much warmer than the mean, to ones
 * that are much cooler. What a wire is worth in load is not known; a mothership's load is taken to be shared by its
 * wires, and after so many moves as would bring it half-way to the mean, it is left alone until it is measured again.
 */
import { byId } from '../ids.js'
import type { Graph } from './graph.js'
import type { Server } from './server.js'

export interface Moved {
  readonly server: Server
  readonly from: number
  readonly to: number
}

export interface Cooling {
  /** Undefined where it is not measured: from there and to there nothing is moved. */
  readonly heat: (mothership: number) => number | undefined
  /** How far above the mean is too warm. */
  readonly hotAbove: number
  readonly movesMax: number
}

/** Moves them in the graph, and tells which. */
export function coolDown(graph: Graph, { heat, hotAbove, movesMax }: Cooling): Moved[] {
  const heats = new Map<number, number>()
  for (let each = 0; each < graph.motherships.size; each++) {
    const measured = graph.holds(each).size > 0 ? heat(each) : undefined
    if (measured !== undefined) heats.set(each, measured)
  }
  const mean = [...heats.values()].reduce((sum, each) => sum + each, 0) / Math.max(1, heats.size)
  const name = (mothership: number): string => graph.motherships.name(mothership)
  const warmest = [...heats]
    .filter(([each, measured]) => measured > mean + hotAbove && graph.wiredTo(each).size > 0)
    .sort(([a, warm], [b, other]) => other - warm || byId(name(a), name(b)))
  const moved: Moved[] = []
  for (const [from] of warmest) moved.push(...coolOne(graph, from, { heats, mean, movesMax: movesMax - moved.length }))
  return moved
}

interface Warmth {
  /** As they will be, as far as can be told. */
  readonly heats: Map<number, number>
  readonly mean: number
  readonly movesMax: number
}

function coolOne(graph: Graph, from: number, { heats, mean, movesMax }: Warmth): Moved[] {
  const warm = heats.get(from)!
  const share = warm / graph.wiredTo(from).size
  const until = mean + (warm - mean) / 2
  const moved: Moved[] = []
  if (movesMax <= 0) return moved
  const isCool = (each: number): boolean => (heats.get(each) ?? mean) < mean
  // What is cool grows less: who could not be moved before could not be after.
  for (const server of [...graph.wiredTo(from)].sort((a, b) => byId(a.id, b.id))) {
    if (moved.length >= movesMax || heats.get(from)! - share < until) break
    const to = insteadOf(graph, server, from, isCool)
    if (to === undefined) continue
    graph.cut(server, from)
    graph.wire(server, to)
    heats.set(from, heats.get(from)! - share)
    heats.set(to, heats.get(to)! + share)
    moved.push({ server, from, to })
  }
  return moved
}

/** A mothership that does all that the wire does, so that nothing else changes; the one with the fewest wires. */
function insteadOf(
  graph: Graph,
  server: Server,
  from: number,
  isCool: (mothership: number) => boolean,
): number | undefined {
  if (!graph.covers(server, from)) return undefined
  let others: number[] | undefined
  for (const version of graph.holds(from)) {
    if (!server.territory.reaches.has(version) || !graph.needs(server, from, version)) continue
    const tier = graph.tierIn(version, from)
    const fits = (to: number): boolean => graph.tierIn(version, to) > 0 && graph.tierIn(version, to) <= tier
    others = (others ?? graph.hostsOf(version).on.filter(each => !server.wired.has(each) && isCool(each))).filter(fits)
    if (others.length === 0) return undefined
  }
  if (!others || graph.employs(server, from)) return undefined
  return others.sort(
    (a, b) =>
      graph.wiredTo(a).size - graph.wiredTo(b).size || byId(graph.motherships.name(a), graph.motherships.name(b)),
  )[0]
}
