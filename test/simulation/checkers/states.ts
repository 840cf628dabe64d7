/**
 * I1-I4 as users of kept state can tell: what was acknowledged is there, once, in an order that real time allows; what
 * was read is a state that there was, with everything that had been acknowledged before; and a copy is made primary only
 * when it was in sync. Where all copies in sync have lost their journals nothing may be read any more, old or not.
 */
import type { InstanceRecord } from '../../../src/cloud/records.js'
import type { History, StateLook, StateUpdate } from '../history.js'
import type { SimMothership } from '../mothership.js'
import { keptInstances } from '../wishes.js'
import { keys, type Ledger, type Version } from './ledger.js'

/** Clocks go differently fast, and what is on its way takes a while. */
const slackMs = 60
const rateSlack = 1.12

export function* stateViolations(
  ledger: Ledger,
  history: History,
  motherships: readonly SimMothership[],
  count: (name: string) => void,
): Iterable<string> {
  for (const instance of Object.keys(keptInstances)) {
    const versions = ledger.versions(keys.record('instances', instance))
    yield* promotionViolations(instance, versions, count)
    const last = versions.at(-1)
    const alive = last && last.value !== null ? last : undefined
    const lives = new Set(history.updates.filter(each => each.instance === instance).map(each => each.since))
    for (const since of lives) {
      const mine = (each: StateUpdate | StateLook): boolean => each.instance === instance && each.since === since
      const updates = history.updates.filter(mine)
      const looks = history.looks.filter(mine)
      const here = alive?.created === since ? (alive.value as InstanceRecord) : undefined
      yield* lifeViolations(
        `${instance}@${since}`,
        updates,
        looks,
        here !== undefined && isKept(here, since, motherships),
      )
      if (here && !isKept(here, since, motherships)) {
        count('branch: state lost for good')
        if (looks.some(each => each.last))
          yield `I2: ${instance} was read although every copy in sync has lost its journal`
      }
    }
  }
}

/** Whether a copy in sync still has the journal that counts: then the state is to be had again. */
const isKept = (
  { id, inSync, journals }: InstanceRecord,
  since: number,
  motherships: readonly SimMothership[],
): boolean =>
  Object.keys(journals ?? {}).length === 0 ||
  motherships.some(each => inSync.includes(each.id) && each.disk.journalOf(id, since)?.id === journals?.[each.id])

function* promotionViolations(
  instance: string,
  versions: readonly Version[],
  count: (name: string) => void,
): Iterable<string> {
  let before: (Version & { readonly value: InstanceRecord }) | undefined
  for (const version of versions) {
    const after = version as Version & { readonly value: InstanceRecord | null }
    const same = before && after.value && before.created === after.created
    if (
      same &&
      after.value!.primary !== before!.value.primary &&
      Object.keys(before!.value.journals ?? {}).length > 0
    ) {
      const { primary } = after.value!
      if (!before!.value.inSync.includes(primary)) {
        yield `I2: ${instance} makes ${primary} primary at revision ${after.revision}, which was not in sync`
      }
    }
    if (same) count(`branch: copies: ${stepOf(before!.value, after.value!)}`)
    before = after.value ? (after as Version & { readonly value: InstanceRecord }) : undefined
  }
}

/** What one change of the configuration did. */
function stepOf(before: InstanceRecord, after: InstanceRecord): string {
  const had = before.journals ?? {}
  const has = after.journals ?? {}
  if (after.primary !== before.primary) return Object.keys(had).length > 0 ? 'promoted' : 'begun elsewhere'
  if (after.inSync.some(id => !before.inSync.includes(id))) return 'admitted'
  if (before.inSync.some(id => !after.inSync.includes(id) && after.learners.includes(id))) return 'learns again'
  if (before.inSync.some(id => !after.inSync.includes(id))) return 'dropped'
  if (has[after.primary] !== had[after.primary]) return 'registered'
  if (after.learners.some(id => !before.learners.includes(id))) return 'a learner more'
  if (before.learners.some(id => !after.learners.includes(id))) return 'a learner less'
  return after.epoch > before.epoch ? 'renewed' : 'otherwise changed'
}

function* lifeViolations(
  name: string,
  updates: readonly StateUpdate[],
  looks: readonly StateLook[],
  expected: boolean,
): Iterable<string> {
  const longest = looks.reduce<readonly string[]>((best, { log }) => (log.length > best.length ? log : best), [])
  const final = looks.find(each => each.last)?.log ?? longest
  if (expected && updates.some(each => each.outcome.kind === 'made') && !looks.some(each => each.last)) {
    yield `liveness: ${name} cannot be read, although a copy in sync has its journal`
  }
  if (longest.length > final.length) yield `I1: ${name} had ${longest.length} changes once, in the end ${final.length}`
  if (new Set(final).size !== final.length) yield `exactly once: ${name} has a change twice: ${final.join(' ')}`
  const at = new Map(final.map((id, index) => [id, index]))
  yield* lookViolations(name, looks, final, updates, at)
  if (!looks.some(each => each.last)) return
  const made = updates.filter(each => each.outcome.kind === 'made')
  for (const { id, outcome } of made) {
    const index = at.get(id)
    if (index === undefined) yield `I1: ${name} has lost ${id}, which was acknowledged`
    else if (outcome.kind === 'made' && outcome.reply !== index + 1) {
      yield `I3: ${name} answered ${outcome.reply} to ${id}, which is number ${index + 1}`
    }
  }
  for (const { id, outcome } of updates) {
    if (outcome.kind === 'refused' && at.has(id)) yield `I4: ${name} has ${id}, which was refused`
  }
  yield* orderViolations(name, updates, at)
}

function* lookViolations(
  name: string,
  looks: readonly StateLook[],
  final: readonly string[],
  updates: readonly StateUpdate[],
  at: ReadonlyMap<string, number>,
): Iterable<string> {
  const made = updates.filter(each => each.outcome.kind === 'made')
  for (const { log, mothership, begunMs, staleForMs } of looks) {
    const where = `${name} at ${mothership} at ${begunMs.toFixed(0)} ms`
    if (log.some((id, index) => final[index] !== id)) {
      yield `I3: ${where} read ${log.slice(-5).join(' ')} (${log.length}), which is no beginning of the history`
    }
    const sinceMs = staleForMs === 0 ? begunMs : begunMs - staleForMs * rateSlack - slackMs
    const missing = made.find(each => each.endedMs < sinceMs && (at.get(each.id) ?? -1) >= log.length)
    if (missing)
      yield `I4: ${where} read (${staleForMs.toFixed(0)} ms old at most) without ${missing.id}, acknowledged before`
  }
}

/** What ended before another one began comes before it. */
function* orderViolations(
  name: string,
  updates: readonly StateUpdate[],
  at: ReadonlyMap<string, number>,
): Iterable<string> {
  const byEnd = updates.filter(each => each.outcome.kind === 'made').sort((a, b) => a.endedMs - b.endedMs)
  const byBegin = updates.filter(each => at.has(each.id)).sort((a, b) => a.begunMs - b.begunMs)
  let next = 0
  let highest = -1
  let which = ''
  for (const update of byBegin) {
    for (; next < byEnd.length && byEnd[next]!.endedMs < update.begunMs; next++) {
      const index = at.get(byEnd[next]!.id) ?? -1
      if (index > highest) [highest, which] = [index, byEnd[next]!.id]
    }
    if (at.get(update.id)! < highest) yield `I3: ${name} has ${update.id} before ${which}, which ended before it began`
  }
}
