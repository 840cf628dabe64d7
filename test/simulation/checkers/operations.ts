/**
 * Of what takes several steps (rollouts, stops, undeployments): that a step was taken only when the one before had come
 * to its end, and that none is left half-way in the end.
 */
import type { InstanceRecord, ObservedRecord, RolloutRecord } from '../../../src/cloud/records.js'
import { keys, type LeaderTxn, type Ledger, type RecordChange } from './ledger.js'

export function* operationViolations(ledger: Ledger, count: (name: string) => void): Iterable<string> {
  for (const txn of ledger.txns) {
    for (const change of txn.changes) {
      if (change.kind === 'rollouts') yield* rolloutViolations(change, ledger, count)
      else if (change.kind === 'instances') yield* stopViolations(change, txn, ledger, count)
      else if (change.kind === 'removals' && change.after.value === null) count('branch: undeployed in order')
    }
  }
  yield* leftViolations(ledger)
}

function* rolloutViolations(
  { id, before, after }: RecordChange,
  ledger: Ledger,
  count: (name: string) => void,
): Iterable<string> {
  const value = after.value as RolloutRecord | null
  if (value === null) return
  if (value.batch.instances.length > value.maxUnavailable) {
    yield `R1: ${id} has ${value.batch.instances.length} under way at ${after.revision}, ${value.maxUnavailable} may be`
  }
  const was = before?.value as RolloutRecord | undefined
  if (!was) return
  if (was.phase !== value.phase)
    count(`branch: rollout ${was.phase === 'paused' && value.phase === 'running' ? 'resumed' : value.phase}`)
  const moved = was.phase === 'running' && (value.after !== was.after || value.phase === 'done')
  if (!moved) return
  for (const member of was.batch.instances) {
    if (!mayBeDone(member.id, before!.revision, after.revision, ledger)) {
      yield `R1: ${id} goes on at ${after.revision}, and ${member.id}, begun at ${before!.revision}, did not run anew`
    }
  }
}

/** A copy ran anew, or the instance stopped, at some time in between. */
function mayBeDone(id: string, from: number, to: number, ledger: Ledger): boolean {
  const key = keys.record('instances', id)
  if (ledger.held(key, from, to, each => each === undefined)) return true
  if (ledger.held(keys.record('stops', id), from, to, each => each !== undefined)) return true
  const generation = (ledger.at(key, from)!.value as InstanceRecord).generation
  const places = new Set(
    [from, to - 1, to].flatMap(revision => {
      const instance = ledger.at(key, revision)?.value as InstanceRecord | undefined
      return instance ? [...instance.inSync, ...instance.learners] : []
    }),
  )
  return [...places].some(mothership =>
    ledger.held(keys.record('observed', `${mothership}/${id}`), from, to, each => {
      const observed = each?.value as ObservedRecord | undefined
      return observed?.phase === 'running' && observed.generation >= generation
    }),
  )
}

/** One that ran goes by a stop of two stages. */
function* stopViolations(
  { id, before, after }: RecordChange,
  { audit }: LeaderTxn,
  ledger: Ledger,
  count: (name: string) => void,
): Iterable<string> {
  if (after.value !== null || !before) return
  const ops = (audit?.entries ?? []).filter(each => each.subjects.includes(id)).map(each => each.op)
  if (!ops.includes('stop')) return
  const stop = ledger.at(keys.record('stops', id), after.revision - 1)
  const { primary, inSync, learners } = before.value as InstanceRecord
  const isThere = (mothership: string): boolean =>
    [keys.record('sessions', `mothership/${mothership}`), keys.record('observed', `${mothership}/${id}`)].every(
      key => ledger.at(key, after.revision - 1) !== undefined,
    )
  // Where no mothership that is there has begun with it, nobody has to stop anything.
  if (!stop && [primary, ...inSync, ...learners].some(isThere)) {
    yield `stop: ${id} went at ${after.revision} without a stop that had begun`
  } else if (!stop) count('branch: stopped where nobody was')
  else if ((stop.value as { stage: string }).stage === 'drain') count('branch: stopped in order')
}

function* leftViolations(ledger: Ledger): Iterable<string> {
  for (const [key, versions] of ledger.mapKeys) {
    const last = versions.at(-1)!.value
    if (last === null) continue
    if (key.startsWith(`${keys.map}stops/`) || key.startsWith(`${keys.map}removals/`)) yield `${key} is left in the end`
    else if (key.startsWith(`${keys.map}rollouts/`) && (last as RolloutRecord).phase === 'running') {
      yield `${key} still runs in the end`
    }
  }
}
