/**
 * The placement decision: of the motherships to which no rule objects, those that score best take the copies; ties fall
 * to the lowest id. Pure, over the fleet as it is and what is asked. Where there are very many motherships, a sample of
 * them is looked at, and all of them when nothing fits there.
 */
import type { PlacementQuestion, PlacementResult } from '../decide/verdict.js'
import type { Refusal } from '../errors.js'
import { copiesOf } from '../map.js'
import type { Settings } from '../records.js'
import { appraisalOf } from './appraise.js'
import type { Fleet } from './fleet.js'
import { Grounds, type Row } from './grounds.js'
import type { Asked, Host } from './host.js'
import { pressureAt, stride, unitAt } from './layout.js'
import { firstObjection } from './rules/index.js'
import { allUpTo, mixed, sample } from './sample.js'
import { Scan, type Search } from './scan.js'
import { type Appraisal, type Weighed, weigh } from './score.js'

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
  const weighed = weigh(settings)
  const appraisal = appraisalOf(fleet, question.need, settings)
  const considered: Considered = { fleet, question, weighed, appraisal }
  if (question.only !== undefined) return onlyOn(considered, question.only, asked, input)
  const { list, refused } = fleet.roster.asWished(asked)
  const barred = barredFor(fleet, asked)
  const extra = appraisal && ((index: number): number => appraisal.of(fleet.at(index)))
  const { component, version, need } = question
  const preferences = fleet.preferences.costsOf(component, version, weighed.preferences)
  const search: Search = { need, formula: weighed.formula, preferences, list, barred: barred?.marks, extra }
  const scan = scanned(fleet, search, seedOf(question))
  const { best } = scan
  if (best.length === 0) return { kind: 'nowhere', reasons: reasonsOf(fleet.hosts(), asked) }
  const chosen = question.copies <= 1 ? [best[0]!] : spreadOverZones(fleet, search, question, best[0]!)
  const missing = question.copies - chosen.length
  const on = chosen.map(index => fleet.ids[index]!)
  const decision = groundsOf(considered, best, refusedBy(fleet, scan, refused, asked, barred), input)
  if (missing <= 0 && !question.explain) return { kind: 'placed', on, decision }
  const reasons = reasonsOf(fleet.hosts(), asked)
  return { kind: 'placed', on, decision, reasons, ...(missing > 0 ? { missing } : {}) }
}

function onlyOn(considered: Considered, id: string, asked: Asked, input: PlacementInput): PlacementResult {
  const host = considered.fleet.host(id)
  const reason = `there is no mothership ${id}`
  const objection = host ? firstObjection(host, asked) : { rule: 'registered', reason }
  if (!host || objection) return { kind: 'nowhere', reasons: [{ mothership: id, ...objection! }] }
  return { kind: 'placed', on: [id], decision: groundsOf(considered, [host.index], {}, input) }
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
  const scan = new Scan(fleet.columns, fleet.roster.ranks, search)
  // To pack is to find the one place that wastes least: a sample would miss it.
  const most = search.extra ? Number.POSITIVE_INFINITY : allUpTo
  sample(count, seed, (from, to) => scan.look(from, to), most)
  if (scan.fits > 0 || scan.looked >= count) return scan
  const whole = new Scan(fleet.columns, fleet.roster.ranks, search)
  whole.look(0, count)
  return whole
}

/** Motherships that are out of the question for what stands on them, and not for their load. */
interface Barred {
  readonly marks: Uint8Array
  readonly indexes: ReadonlySet<number>
}

function barredFor(fleet: Fleet, asked: Asked): Barred | undefined {
  if (!fleet.distance.mayKeepApart(asked)) return undefined
  const indexes = new Set(fleet.distance.keptApart(asked))
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

interface Considered {
  readonly fleet: Fleet
  readonly question: PlacementQuestion
  readonly weighed: Weighed
  readonly appraisal: Appraisal | undefined
}

function groundsOf(
  considered: Considered,
  best: readonly number[],
  refusedByRule: Readonly<Record<string, number>>,
  { revision, at }: PlacementInput,
): Grounds {
  const { fleet, appraisal } = considered
  const motherships = best.map(index => fleet.ids[index]!)
  const rows = best.map(index => rowOf(considered, index))
  return new Grounds(revision, at, refusedByRule, motherships, rows, appraisal?.term)
}

/** What speaks for and against a candidate, by the numbers that the scan went by. */
function rowOf({ fleet, question, weighed, appraisal }: Considered, index: number): Row {
  const { component, version, need } = question
  const { numbers } = fleet.columns
  const { weights, shares, preferences: costs } = weighed
  const at = index * stride
  const cpu = numbers[at + pressureAt]! + need.cpu * numbers[at + unitAt]!
  const ram = numbers[at + pressureAt + 1]! + need.ram * numbers[at + unitAt + 1]!
  const bandwidth = numbers[at + pressureAt + 2]! + need.bandwidth * numbers[at + unitAt + 2]!
  const fit = weights.cpu * cpu + weights.ram * ram + weights.bandwidth * bandwidth
  const [free, worst] = [1 - fit, 1 - Math.max(cpu, ram, bandwidth)]
  const host = fleet.at(index)
  const appraised = appraisal ? appraisal.of(host) : 0
  const { zones, apart, code, wires } = fleet.preferences.termsOf(host, component, version)
  const preferred = costs.zones * zones + costs.apart * apart + costs.code * code + costs.wires * wires
  const score = shares.free * free + shares.worst * worst + shares.fit * fit - appraised - preferred
  const ageMs = host.measured ? host.measured.ageMs : Number.NaN
  return [score, cpu, ram, bandwidth, ageMs, free, worst, fit, zones, apart, code, wires, appraised]
}

/** Rules that look at what stands, or stood, on a mothership. */
const barring: ReadonlySet<string> = new Set(['one-copy-each', 'anti-affinity', 'quarantine'])

/** How many motherships each rule refused; of those that take something and are as wished, where a sample was looked at, of it. */
function refusedBy(
  fleet: Fleet,
  scan: Scan,
  wished: ReadonlyMap<string, number>,
  asked: Asked,
  barred: Barred | undefined,
): Record<string, number> {
  const counts: Record<string, number> = {}
  const add = (rule: string, count: number): void => void (counts[rule] = (counts[rule] ?? 0) + count)
  if (fleet.roster.closed.size > 0) for (const [rule, count] of fleet.roster.closed) add(rule, count)
  if (wished.size > 0) for (const [rule, count] of wished) add(rule, count)
  for (const index of barred?.indexes ?? none) {
    const rule = firstObjection(fleet.at(index), asked)?.rule
    if (rule !== undefined && barring.has(rule)) add(rule, 1)
  }
  if (scan.short > 0) add('enough-room', scan.short)
  if (scan.above > 0) add('below-ceiling', scan.above)
  return counts
}

const none: readonly number[] = []

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
