/**
 * The placement decision: of the motherships to which no rule objects, those that score best take the copies; ties fall
 * to the lowest id. Pure, over the fleet as it is and what is asked. Where there are very many motherships, a sample of
 * them is looked at, and all of them when nothing fits there.
 */
import type { PlacementQuestion, PlacementResult } from '../decide/verdict.js'
import type { Refusal } from '../errors.js'
import { copiesOf } from '../map.js'
import type { Decision, Settings } from '../records.js'
import { appraisalOf } from './appraise.js'
import type { Fleet } from './fleet.js'
import type { Asked, Host } from './host.js'
import { firstObjection } from './rules/index.js'
import { allUpTo, mixed, sample } from './sample.js'
import { Scan, type Search } from './scan.js'
import { type Appraisal, formulaOf, type PreferenceTerms, preferenceScale, scoreOf } from './score.js'
import type { Registered } from './slot.js'

export interface PlacementInput {
  readonly question: PlacementQuestion
  readonly settings: Settings
  /** For the decision's record. */
  readonly revision: number
  readonly at: string
}

const reasonsMax = 100

export function placeOn(fleet: Fleet, input: PlacementInput): PlacementResult {
  const { question, settings } = input
  const asked = askedOf(question, settings)
  fleet.limit(settings)
  if (question.only !== undefined) return onlyOn(fleet, question.only, asked, input)
  const { list, refused } = fleet.asWished(asked)
  const barred = barredFor(fleet, asked)
  const appraisal = appraisalOf(fleet, question.need, settings)
  const extra = appraisal && ((index: number): number => appraisal.of(fleet.at(index)))
  const { component, version, need } = question
  const preferences = fleet.preferences.costsOf(component, version, settings.preferences, preferenceScale(settings))
  const search: Search = { need, formula: formulaOf(settings), preferences, list, barred: barred?.marks, extra }
  const scan = scanned(fleet, search, seedOf(question))
  const [best] = scan.best
  if (best === undefined) return { kind: 'nowhere', reasons: reasonsOf(fleet.hosts(), asked) }
  const chosen = question.copies <= 1 ? [best] : spreadOverZones(fleet, search, question, best)
  const missing = question.copies - chosen.length
  const candidates = scan.best.map(index => candidateOf(fleet, fleet.at(index), input, appraisal))
  const refusedByRule = add(fleet.closed, refused, refusedHere(fleet, scan, asked, barred))
  return {
    kind: 'placed',
    on: chosen.map(index => fleet.ids[index]!),
    decision: { decisionRevision: input.revision, at: input.at, candidates, refusedByRule },
    ...(missing > 0 ? { missing } : {}),
    ...(missing > 0 || question.explain ? { reasons: reasonsOf(fleet.hosts(), asked) } : {}),
  }
}

function onlyOn(fleet: Fleet, id: string, asked: Asked, input: PlacementInput): PlacementResult {
  const host = fleet.host(id)
  const reason = `there is no mothership ${id}`
  const objection = host ? firstObjection(host, asked) : { rule: 'registered', reason }
  if (!host || objection) return { kind: 'nowhere', reasons: [{ mothership: id, ...objection! }] }
  const candidates = [candidateOf(fleet, host, input, appraisalOf(fleet, input.question.need, input.settings))]
  const decision = { decisionRevision: input.revision, at: input.at, candidates, refusedByRule: {} }
  return { kind: 'placed', on: [id], decision }
}

const askedOf = ({ component, version, need, wish, instance }: PlacementQuestion, settings: Settings): Asked => ({
  component,
  version,
  need,
  wish,
  taken: instance ? copiesOf(instance) : [],
  overcommit: settings.overcommit,
  ceilings: settings.ceilings,
})

/** The same instance draws the same sample, and no two of them share one. */
const seedOf = ({ seed, component }: PlacementQuestion): number => mixed(seed ?? component)

function scanned(fleet: Fleet, search: Search, seed: number): Scan {
  const count = search.list?.length ?? fleet.columns.size
  const scan = new Scan(fleet.columns, fleet.ranks, search)
  // To pack is to find the one place that wastes least: a sample would miss it.
  const most = search.extra ? Number.POSITIVE_INFINITY : allUpTo
  sample(count, seed, (from, to) => scan.look(from, to), most)
  if (scan.fits > 0 || scan.looked >= count) return scan
  const whole = new Scan(fleet.columns, fleet.ranks, search)
  whole.look(0, count)
  return whole
}

/** Motherships that are out of the question for what stands on them, and not for their load. */
interface Barred {
  readonly marks: Uint8Array
  readonly indexes: ReadonlySet<number>
}

function barredFor(fleet: Fleet, asked: Asked): Barred | undefined {
  if (!fleet.mayKeepApart(asked)) return undefined
  const indexes = new Set(fleet.keptApart(asked))
  for (const id of asked.taken) {
    const index = fleet.indexOf(id)
    if (index >= 0) indexes.add(index)
  }
  if (indexes.size === 0) return undefined
  const marks = new Uint8Array(fleet.columns.size)
  for (const index of indexes) marks[index] = 1
  return { marks, indexes }
}

/** The best one is there; each further copy goes to the best one of those left, in a zone that has none yet if it can. */
function spreadOverZones(fleet: Fleet, search: Search, question: PlacementQuestion, best: number): number[] {
  const chosen = [best]
  const taken = search.barred?.slice() ?? new Uint8Array(fleet.columns.size)
  while (chosen.length < question.copies) {
    taken[chosen.at(-1)!] = 1
    const zones = new Set(chosen.map(index => fleet.at(index).record.zone))
    const elsewhere = taken.slice()
    for (let index = 0; index < elsewhere.length; index++) {
      if (zones.has(fleet.at(index).record.zone)) elsewhere[index] = 1
    }
    const seed = seedOf(question) + chosen.length
    const next =
      scanned(fleet, { ...search, barred: elsewhere }, seed).best[0] ??
      scanned(fleet, { ...search, barred: taken }, seed).best[0]
    if (next === undefined) break
    chosen.push(next)
  }
  return chosen
}

function candidateOf(
  fleet: Fleet,
  host: Registered,
  { question, settings }: PlacementInput,
  appraisal: Appraisal | undefined,
): Decision['candidates'][number] {
  const { component, version, need } = question
  const preferences = fleet.preferences.termsOf(host, component, version)
  const { score, terms, pressure } = scoreOf(host, need, settings, preferences, appraisal)
  const told: Record<string, number> = { free: round(terms.free), worst: round(terms.worst), fit: round(terms.fit) }
  if (appraisal) told[appraisal.term] = round(terms[appraisal.term] ?? 0)
  // Most speak against nothing.
  for (const name of preferenceNames) if (preferences[name] !== 0) told[name] = round(preferences[name])
  return {
    mothership: host.id,
    score: round(score),
    terms: told,
    pressure: { cpu: round(pressure.cpu), ram: round(pressure.ram), bandwidth: round(pressure.bandwidth) },
    loadAgeMs: host.measured ? Math.round(host.measured.ageMs) : null,
  }
}

const preferenceNames: readonly (keyof PreferenceTerms)[] = ['zones', 'apart', 'code', 'wires']

const round = (share: number): number => Math.round(share * 10_000) / 10_000

/** Rules that look at what stands, or stood, on a mothership. */
const barring: ReadonlySet<string> = new Set(['one-copy-each', 'anti-affinity', 'quarantine'])

/** Of those that take something and are as wished; where a sample was looked at, of the sample. */
function refusedHere(fleet: Fleet, scan: Scan, asked: Asked, barred: Barred | undefined): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const index of barred?.indexes ?? []) {
    const rule = firstObjection(fleet.at(index), asked)?.rule
    if (rule !== undefined && barring.has(rule)) counts.set(rule, (counts.get(rule) ?? 0) + 1)
  }
  if (scan.short > 0) counts.set('enough-room', scan.short)
  if (scan.above > 0) counts.set('below-ceiling', scan.above)
  return counts
}

function add(...counts: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const each of counts) for (const [rule, count] of each) sums[rule] = (sums[rule] ?? 0) + count
  return sums
}

/** The first ones are told: a cloud of thousands that is full would answer a book. */
function reasonsOf(hosts: readonly Host[], asked: Asked): Refusal[] {
  const told: Refusal[] = []
  for (const host of hosts) {
    const objection = firstObjection(host, asked)
    if (objection) told.push({ mothership: host.id, ...objection })
    if (told.length >= reasonsMax) break
  }
  if (hosts.length === 0) told.push({ mothership: '', rule: 'registered', reason: 'there is no mothership' })
  return told
}
