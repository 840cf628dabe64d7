/**
 * The placement decision: every mothership is asked by every rule, those without objection are scored, the best ones
 * win, ties fall to the lowest id. Pure: what it needs of load and reservation comes in as functions of the id.
 */
import type { PlacementQuestion, PlacementResult } from '../decide/verdict.js'
import type { Refusal } from '../errors.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf, sortedIds } from '../map.js'
import type { Decision, Resources, Settings } from '../records.js'
import { type Asked, freshnessOf, type Host, type MeasuredLoad } from './host.js'
import { firstObjection } from './rules/index.js'
import { type Score, scoreOf } from './score.js'

export interface PlacementInput {
  readonly map: CloudMap
  readonly question: PlacementQuestion
  readonly settings: Settings
  readonly reservedOn: (mothership: string) => Resources
  readonly placedSinceOn: (mothership: string) => Resources
  readonly loadOf: (mothership: string) => MeasuredLoad | undefined
  /** For the decision's record. */
  readonly at: string
}

interface Candidate extends Score {
  readonly host: Host
}

const toldMax = 3
const refusalsMax = 100

export function placeOn(input: PlacementInput): PlacementResult {
  const { question, settings } = input
  const asked: Asked = {
    need: question.need,
    wish: question.wish,
    overcommit: settings.overcommit,
    ceilings: settings.ceilings,
    ...(question.only === undefined ? {} : { only: question.only }),
  }
  const candidates: Candidate[] = []
  const reasons: Refusal[] = []
  const componentHosts = question.wish.antiAffinity === 'component' ? hostsOf(input.map, question.component) : noHosts
  for (const id of sortedIds(input.map, 'motherships')) {
    const host = hostOf(input, id, componentHosts)
    const objection = firstObjection(host, asked)
    if (objection) reasons.push({ mothership: id, ...objection })
    else candidates.push({ host, ...scoreOf(host, question.need, settings) })
  }
  if (candidates.length === 0) return { kind: 'nowhere', reasons: nowhere(reasons, question) }
  candidates.sort((a, b) => b.score - a.score || byId(a.host.id, b.host.id))
  const on = spreadOverZones(candidates, question.copies).map(each => each.host.id)
  return { kind: 'placed', on, decision: decisionOf(input, candidates, reasons) }
}

/** A cloud without motherships says so, rather than nothing. */
const nowhere = (reasons: readonly Refusal[], question: PlacementQuestion): readonly Refusal[] =>
  reasons.length > 0
    ? reasons.slice(0, refusalsMax)
    : [{ mothership: question.only ?? '', rule: 'registered', reason: 'there is no mothership' }]

/** The best first; each further copy prefers a zone that has none yet. */
function spreadOverZones(candidates: readonly Candidate[], copies: number): Candidate[] {
  const chosen: Candidate[] = []
  const left = [...candidates]
  while (chosen.length < copies && left.length > 0) {
    const zones = new Set(chosen.map(each => each.host.record.zone))
    const other = left.findIndex(each => !zones.has(each.host.record.zone))
    chosen.push(...left.splice(Math.max(0, other), 1))
  }
  return chosen
}

function hostOf(input: PlacementInput, id: string, componentHosts: ReadonlySet<string>): Host {
  const { map, question } = input
  const load = input.loadOf(id)
  const freshness = freshnessOf(load)
  return {
    id,
    record: map.get('motherships', id)!.value,
    connected: map.get('sessions', `mothership/${id}`) !== undefined,
    reserved: input.reservedOn(id),
    placedSince: input.placedSinceOn(id),
    measured: freshness === 'fresh' || freshness === 'ageing' ? load : undefined,
    holdsInstance: question.instance !== undefined && copiesOf(question.instance).includes(id),
    holdsComponent: componentHosts.has(id),
  }
}

const noHosts: ReadonlySet<string> = new Set()

function hostsOf(map: CloudMap, component: string): ReadonlySet<string> {
  const hosts = new Set<string>()
  for (const version of map.versionsOf(component)) {
    for (const id of map.instancesOf(version)) {
      const instance = map.get('instances', id)?.value
      if (instance) for (const mothership of copiesOf(instance)) hosts.add(mothership)
    }
  }
  return hosts
}

function decisionOf(input: PlacementInput, best: readonly Candidate[], reasons: readonly Refusal[]): Decision {
  const refusedByRule: Record<string, number> = {}
  for (const { rule } of reasons) refusedByRule[rule] = (refusedByRule[rule] ?? 0) + 1
  return {
    decisionRevision: input.map.order.revision,
    at: input.at,
    candidates: best.slice(0, toldMax).map(({ host, score, terms, pressure }) => ({
      mothership: host.id,
      score: round(score),
      terms: { free: round(terms.free), worst: round(terms.worst), fit: round(terms.fit) },
      pressure: { cpu: round(pressure.cpu), ram: round(pressure.ram), bandwidth: round(pressure.bandwidth) },
      loadAgeMs: host.measured ? Math.round(host.measured.ageMs) : null,
    })),
    refusedByRule,
  }
}

const round = (share: number): number => Math.round(share * 10_000) / 10_000
