/**
 * The placement decision: every mothership is asked by every rule, those without objection are scored, the best ones
 * win, ties fall to the lowest id. Pure, over hosts as they are and what is asked.
 */
import type { PlacementQuestion, PlacementResult } from '../decide/verdict.js'
import type { Refusal } from '../errors.js'
import { byId } from '../ids.js'
import { copiesOf } from '../map.js'
import type { Decision, Settings } from '../records.js'
import type { Asked, Host } from './host.js'
import { firstObjection } from './rules/index.js'
import { type Score, scoreOf } from './score.js'

export interface PlacementInput {
  /** Lowest id first; when the question names one mothership, that one only (or none). */
  readonly hosts: readonly Host[]
  readonly question: PlacementQuestion
  readonly settings: Settings
  /** For the decision's record. */
  readonly revision: number
  readonly at: string
}

interface Candidate extends Score {
  readonly host: Host
}

const toldMax = 3
const refusalsMax = 100

export function placeOn(input: PlacementInput): PlacementResult {
  const { hosts, question, settings } = input
  const asked = askedOf(question, settings)
  const candidates: Candidate[] = []
  const refusals = new Refusals()
  for (const host of hosts) {
    const objection = firstObjection(host, asked)
    if (objection) refusals.add(host.id, objection)
    else candidates.push({ host, ...scoreOf(host, question.need, settings) })
  }
  if (candidates.length === 0) return { kind: 'nowhere', reasons: nowhere(refusals, question) }
  const chosen = choose(candidates, question.copies)
  const missing = question.copies - chosen.length
  return {
    kind: 'placed',
    on: chosen.map(each => each.host.id),
    decision: decisionOf(input, best(candidates, toldMax), refusals),
    ...(missing > 0 ? { missing, reasons: refusals.told } : {}),
  }
}

const askedOf = ({ component, need, wish, instance }: PlacementQuestion, settings: Settings): Asked => ({
  component,
  need,
  wish,
  taken: instance ? copiesOf(instance) : [],
  overcommit: settings.overcommit,
  ceilings: settings.ceilings,
})

/** All are counted, the first ones are told: a cloud of thousands that is full would answer a book. */
class Refusals {
  readonly told: Refusal[] = []
  readonly byRule: Record<string, number> = {}

  add(mothership: string, { rule, reason }: { readonly rule: string; readonly reason: string }): void {
    if (this.told.length < refusalsMax) this.told.push({ mothership, rule, reason })
    this.byRule[rule] = (this.byRule[rule] ?? 0) + 1
  }
}

/** A cloud without motherships says so, rather than nothing. */
function nowhere({ told }: Refusals, { only }: PlacementQuestion): readonly Refusal[] {
  if (told.length > 0) return told
  const reason = only === undefined ? 'there is no mothership' : `there is no mothership ${only}`
  return [{ mothership: only ?? '', rule: 'registered', reason }]
}

const better = (a: Candidate, b: Candidate): number => b.score - a.score || byId(a.host.id, b.host.id)

/** The best few, best first, without sorting the others. */
function best(candidates: readonly Candidate[], count: number): Candidate[] {
  const found: Candidate[] = []
  for (const candidate of candidates) {
    const last = found[count - 1]
    if (last && better(candidate, last) > 0) continue
    const at = found.findIndex(each => better(candidate, each) < 0)
    found.splice(at < 0 ? found.length : at, 0, candidate)
    found.length = Math.min(found.length, count)
  }
  return found
}

function choose(candidates: readonly Candidate[], copies: number): readonly Candidate[] {
  return copies <= 1 ? best(candidates, 1) : spreadOverZones([...candidates].sort(better), copies)
}

/** The best first; each further copy prefers a zone that has none yet. */
function spreadOverZones(sorted: readonly Candidate[], copies: number): Candidate[] {
  const chosen: Candidate[] = []
  const left = [...sorted]
  while (chosen.length < copies && left.length > 0) {
    const zones = new Set(chosen.map(each => each.host.record.zone))
    const other = left.findIndex(each => !zones.has(each.host.record.zone))
    chosen.push(...left.splice(Math.max(0, other), 1))
  }
  return chosen
}

function decisionOf(input: PlacementInput, told: readonly Candidate[], refusals: Refusals): Decision {
  return {
    decisionRevision: input.revision,
    at: input.at,
    candidates: told.map(({ host, score, terms, pressure }) => ({
      mothership: host.id,
      score: round(score),
      terms: { free: round(terms.free), worst: round(terms.worst), fit: round(terms.fit) },
      pressure: { cpu: round(pressure.cpu), ram: round(pressure.ram), bandwidth: round(pressure.bandwidth) },
      loadAgeMs: host.measured ? Math.round(host.measured.ageMs) : null,
    })),
    refusedByRule: refusals.byRule,
  }
}

const round = (share: number): number => Math.round(share * 10_000) / 10_000
