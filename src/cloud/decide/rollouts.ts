/**
 * Rollouts: all instances of a version refreshed, a batch at a time. What is under way is in the record, so a new leader
 * goes on where the last one stopped, and every step is worked out from the map alone.
 *
 * R1 No more instances are under way than `maxUnavailable`, and the next ones are begun only when all of these run.
 * R2 What does not come up stops the rollout: it waits for an operator, or those go back to the process of before.
 * R3 An instance is never left without the process that serves: that is the mothership's, and it ends the old one last.
 */
import type { BodyOf } from '../commands.js'
import { parseDurationMs } from '../duration.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import { type Change, type InstanceRecord, put, type RolloutRecord, remove } from '../records.js'
import { componentKey, isGoing } from './components.js'
import { refreshed } from './instances.js'
import { pardon } from './quarantine.js'
import { type Context, change, done, refuse, type Step, unknown, type Verdict } from './verdict.js'

const maxUnavailableDefault = '25%'
const withinDefaultMs = 60_000
const withinMostMs = 3_600_000
/** More are never under way at once: they are one transaction. */
export const batchMax = 100
const failuresShown = 10
/** Rollouts that are over are kept for so long, and so many of them. */
const keptForMs = 86_400_000
const keptMax = 50

type Member = RolloutRecord['batch']['instances'][number]

export const versionOf = ({ component, version }: RolloutRecord): string => `${component}/${version}`

export function startRollout(map: CloudMap, body: BodyOf<'start-rollout'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  const component = map.get('components', key)?.value
  if (!component) return unknown('component', key)
  if (map.get('removals', key)) return isGoing(key)
  const other = [...map.all('rollouts')].find(([, { value }]) => versionOf(value) === key && isOpen(value))
  if (other)
    return refuse('conflict', `rollout ${other[0]} of ${key} is ${other[1].value.phase}: resume or abort it first`)
  const withinMs = body.timeout === undefined ? withinDefaultMs : (parseDurationMs(body.timeout) ?? withinDefaultMs)
  if (withinMs < 1 || withinMs > withinMostMs) return refuse('bad-request', 'the timeout is 1ms to 1h')
  const total = [...map.instancesOf(key)].length
  const id = `rollout-${context.requestId.slice(0, 12)}`
  const value: RolloutRecord = {
    schema: 1,
    id,
    component: component.id,
    version: key.slice(key.indexOf('/') + 1),
    phase: 'running',
    failures: [],
    maxUnavailable: atOnce(body.maxUnavailable ?? maxUnavailableDefault, total),
    onFailure: body.onFailure ?? 'pause',
    withinMs,
    total,
    done: 0,
    attempt: 0,
    after: '',
    batch: { since: context.at, instances: [] },
    startedAt: context.at,
    startedBy: context.actor.subject,
  }
  const pardons = pardon(map, key).map(each => ({ changes: [each], subjects: [each.id] }))
  const answer = { outcome: 'created', kind: 'rollouts', ids: [id], touched: total } as const
  return done(answer, ...pardons, { changes: [put('rollouts', id, value)], subjects: [id] })
}

/** Of a share, what it makes of all rounded down, but one at least. */
function atOnce(asked: number | string, total: number): number {
  const count = typeof asked === 'number' ? asked : Math.floor((total * Number(asked.slice(0, -1))) / 100)
  return Math.max(1, Math.min(count, batchMax))
}

export const isOpen = ({ phase }: RolloutRecord): boolean => phase === 'running' || phase === 'paused'

/** By hand: held up, gone on with, or ended. Those that do not run yet keep the process of before when it ends. */
export function steerRollout(map: CloudMap, body: BodyOf<'steer-rollout'>, context: Context): Verdict {
  const before = map.get('rollouts', body.id)?.value
  if (!before) return unknown('rollout', body.id)
  const answer = { kind: 'rollouts' as const, ids: [before.id] }
  if (!isOpen(before)) return refuse('conflict', `rollout ${before.id} is over (${before.phase}): start another one`)
  const who = context.actor.subject
  switch (body.action) {
    case 'pause':
      if (before.phase === 'paused') return done({ outcome: 'unchanged', ...answer })
      return change(
        { outcome: 'changed', ...answer },
        put('rollouts', before.id, { ...before, phase: 'paused', reason: `paused by ${who}` }),
      )
    case 'resume':
      if (before.phase === 'running') return done({ outcome: 'unchanged', ...answer })
      return change({ outcome: 'changed', ...answer }, put('rollouts', before.id, resumed(map, before, context.at)))
    case 'abort':
    case 'return': {
      const phase = body.action === 'abort' ? 'aborted' : 'returned'
      const reason = before.reason ?? `${phase} by ${who}`
      const step = ended(map, { ...before, reason }, phase, context.at)
      return done({ outcome: 'changed', ...answer }, step)
    }
  }
}

/** What ran meanwhile is done; the others are tried in another process, with all the time for it. */
function resumed(map: CloudMap, before: RolloutRecord, at: string): RolloutRecord {
  const { reason: _reason, ...rest } = before
  const left = before.batch.instances.filter(each => stateOf(map, before, each).kind !== 'runs')
  return {
    ...rest,
    phase: 'running',
    failures: [],
    attempt: before.attempt + 1,
    done: before.done + before.batch.instances.length - left.length,
    batch: { since: at, instances: left },
  }
}

/** The steps that running rollouts need now; and the records that are not kept any longer go. */
export function advanceRollouts(map: CloudMap, at: string): Step[] {
  if (map.count('rollouts') === 0) return []
  const all = [...map.all('rollouts')].map(([, { value }]) => value).sort((a, b) => byId(a.id, b.id))
  const steps = all.flatMap(each => (each.phase === 'running' ? (advance(map, each, at) ?? []) : []))
  return [...steps, ...outdated(all, at)]
}

/** The one next step of a rollout; undefined while it waits. */
export function advance(map: CloudMap, rollout: RolloutRecord, at: string): Step | undefined {
  const key = versionOf(rollout)
  if (!map.get('components', key) || map.get('removals', key)) {
    return ended(map, { ...rollout, reason: 'the version is undeployed' }, 'aborted', at)
  }
  const members = rollout.batch.instances.map(each => ({ each, state: stateOf(map, rollout, each) }))
  const unmarked = members.filter(({ state }) => state.kind === 'unmarked').map(({ each }) => each.id)
  if (unmarked.length > 0) return { changes: unmarked.flatMap(id => marked(map, rollout, id)), subjects: unmarked }
  const overdue = Date.parse(at) - Date.parse(rollout.batch.since) >= rollout.withinMs
  const failures = members.flatMap(({ each: { id }, state }) => {
    if (state.kind === 'failed') return [{ instance: id, reason: state.reason }]
    if (state.kind !== 'comes' || !overdue) return []
    return [{ instance: id, reason: `does not run after ${rollout.withinMs / 1000} s: ${state.where}` }]
  })
  if (failures.length > 0) return failed(map, rollout, failures, at)
  if (members.some(({ state }) => state.kind === 'comes')) return undefined
  return next(map, rollout, at)
}

/** The batch runs: the next one is begun, or all is done. */
function next(map: CloudMap, rollout: RolloutRecord, at: string): Step {
  const doneNow = rollout.done + rollout.batch.instances.length
  const ids = lowest(map, rollout)
  const last = ids.at(-1)
  const instances = ids.map(id => ({ id, before: refreshOf(map.get('instances', id)!.value) }))
  const value: RolloutRecord = { ...rollout, done: doneNow, batch: { since: at, instances } }
  if (last === undefined) {
    return { changes: [put('rollouts', rollout.id, { ...value, phase: 'done', endedAt: at })], subjects: [rollout.id] }
  }
  const begun = { ...value, after: last }
  const marks = ids.flatMap(id => marked(map, begun, id))
  return { changes: [put('rollouts', rollout.id, begun), ...marks], subjects: [rollout.id, ...ids] }
}

/** Names the process that it has: without a word on it, those of one generation share one. */
const refreshOf = ({ refresh, generation }: InstanceRecord): string => refresh ?? String(generation)

const markOf = ({ id, attempt }: RolloutRecord): string => `${id}.${attempt}`

function marked(map: CloudMap, rollout: RolloutRecord, id: string): Change[] {
  const instance = map.get('instances', id)?.value
  return instance ? [put('instances', id, refreshed(instance, markOf(rollout)))] : []
}

/** The next ones in the order of their ids: without sorting all of them. */
function lowest(map: CloudMap, rollout: RolloutRecord): string[] {
  const { after, maxUnavailable: count } = rollout
  const found: string[] = []
  for (const id of map.instancesOf(versionOf(rollout))) {
    if (id <= after || (found.length >= count && id >= found.at(-1)!) || map.get('stops', id)) continue
    const place = found.findIndex(each => each > id)
    found.splice(place < 0 ? found.length : place, 0, id)
    if (found.length > count) found.pop()
  }
  return found
}

type State =
  | { readonly kind: 'runs' }
  | { readonly kind: 'unmarked' }
  | { readonly kind: 'comes'; readonly where: string }
  | { readonly kind: 'failed'; readonly reason: string }

/** An instance that stops, or was stopped, needs nothing more. */
function stateOf(map: CloudMap, rollout: RolloutRecord, { id }: Member): State {
  const instance = map.get('instances', id)?.value
  if (!instance || map.get('stops', id)) return { kind: 'runs' }
  if (instance.refresh !== markOf(rollout)) return { kind: 'unmarked' }
  let coming: string | undefined
  for (const mothership of copiesOf(instance)) {
    const observed = map.get('observed', `${mothership}/${id}`)?.value
    const anew = observed !== undefined && observed.generation >= instance.generation
    if (anew && observed.phase === 'running') continue
    const tried = (anew && observed.phase === 'failed') || observed?.tried === instance.generation
    if (tried) return { kind: 'failed', reason: `on ${mothership}: ${observed.reason ?? 'it failed'}` }
    coming ??= `on ${mothership} it ${observed === undefined || anew ? `is ${observed?.phase ?? 'placed'}` : 'serves as before'}`
  }
  return coming === undefined ? { kind: 'runs' } : { kind: 'comes', where: coming }
}

function failed(map: CloudMap, rollout: RolloutRecord, failures: RolloutRecord['failures'], at: string): Step {
  const [first] = failures
  const others = failures.length > 1 ? `, and ${failures.length - 1} more` : ''
  const reason = `${first!.instance} ${first!.reason}${others}`.slice(0, 1000)
  const value = { ...rollout, reason, failures: failures.slice(0, failuresShown) }
  if (rollout.onFailure === 'return') return ended(map, value, 'returned', at)
  return { changes: [put('rollouts', rollout.id, { ...value, phase: 'paused' })], subjects: [rollout.id] }
}

/** Those that do not run anew keep the process that serves them still. */
function ended(map: CloudMap, rollout: RolloutRecord, phase: 'aborted' | 'returned', at: string): Step {
  const back: Change[] = []
  for (const { id, before } of rollout.batch.instances) {
    const instance = map.get('instances', id)?.value
    if (!instance?.refresh?.startsWith(`${rollout.id}.`)) continue
    if (runsAnew(map, instance)) continue
    back.push(put('instances', id, refreshed(instance, before)))
  }
  const doneNow = rollout.done + rollout.batch.instances.length - back.length
  const batch = { since: at, instances: [] }
  const value: RolloutRecord = { ...rollout, phase, done: doneNow, batch, endedAt: at }
  return {
    changes: [put('rollouts', rollout.id, value), ...back],
    subjects: [rollout.id, ...back.map(each => each.id)],
  }
}

const runsAnew = (map: CloudMap, instance: InstanceRecord): boolean =>
  copiesOf(instance).every(mothership => {
    const observed = map.get('observed', `${mothership}/${instance.id}`)?.value
    return observed?.phase === 'running' && observed.generation >= instance.generation
  })

function outdated(all: readonly RolloutRecord[], at: string): Step[] {
  const over = all.filter(each => !isOpen(each)).sort((a, b) => byId(b.endedAt ?? '', a.endedAt ?? ''))
  return over
    .filter((each, index) => index >= keptMax || Date.parse(at) - Date.parse(each.endedAt ?? at) >= keptForMs)
    .map(({ id }) => ({ changes: [remove('rollouts', id)], subjects: [id] }))
}
