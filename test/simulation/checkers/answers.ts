/**
 * V1, V6 and S8 of what callers were told. A change is at the revision of its transaction, which has to lie between the
 * asking and the answer; a refusal, and the word that nothing had to be changed, are reads, and have to be true at some
 * revision in between. Every request has one effect, and one answer.
 */
import type { Answer } from '../../../src/cloud/commands.js'
import type { RequestRecord } from '../../../src/hypervisor/ports.js'
import type { Call, History } from '../history.js'
import { keys, type LeaderTxn, type Ledger } from './ledger.js'

/** What the audit says of one request. */
interface Effect {
  readonly revision: number
  readonly op: string
  readonly subjects: readonly string[]
  readonly record: RequestRecord | undefined
}

export function* answerViolations(ledger: Ledger, { calls }: History): Iterable<string> {
  const effects = effectsOf(ledger.txns)
  for (const call of calls) {
    const { requestId, command } = call.envelope
    const name = `${command.op} ${requestId.slice(0, 8)} of ${call.client}`
    const found = effects.get(requestId) ?? []
    for (const text of callViolations(call, found, ledger)) yield `${text} (${name}, ${spanOf(call)})`
  }
}

const spanOf = ({ begunAt, endedAt }: Call): string => `from revision ${begunAt} to ${endedAt}`

function effectsOf(txns: readonly LeaderTxn[]): Map<string, Effect[]> {
  const effects = new Map<string, Effect[]>()
  for (const { revision, audit, requests } of txns) {
    for (const { requestId, op, subjects } of audit?.entries ?? []) {
      if (requestId === '') continue
      const record = requests.find(each => each.id === requestId)
      effects.set(requestId, [...(effects.get(requestId) ?? []), { revision, op, subjects, record }])
    }
    // The last step of a bulk call for which nothing was left, or no room: it only ends the request.
    for (const record of requests) {
      const before = effects.get(record.id)
      if (!before || before.at(-1)!.revision === revision) continue
      before.push({ revision, op: before[0]!.op, subjects: [], record })
    }
  }
  return effects
}

function* callViolations(call: Call, effects: readonly Effect[], ledger: Ledger): Iterable<string> {
  yield* onceViolations(call, effects, ledger)
  const first = effects[0]
  if (first && first.revision <= call.begunAt) yield `V6: its effect is older than itself, at ${first.revision}`
  const { outcome } = call
  if (outcome.kind === 'ok') yield* okViolations(call, outcome.answer, outcome.seenAt, effects, ledger)
  else if (outcome.kind !== 'unknown' && effects.length > 0 && !actedAnew(call, effects)) {
    yield `S8: it was answered ${outcome.kind} ${outcome.code}, and has an effect at ${first?.revision}`
  } else if (outcome.kind === 'refused' && !mayRefuse(call, outcome.code, ledger)) {
    yield `V6: it was refused with ${outcome.code}, and never rightly so: ${outcome.message}`
  }
}

/** Steps of one request never happen twice. */
function* onceViolations({ envelope }: Call, effects: readonly Effect[], ledger: Ledger): Iterable<string> {
  const { op } = envelope.command
  if (op === 'instantiate') {
    const ids = new Set(effects.flatMap(each => each.subjects))
    for (const id of ids) {
      const made = ledger.versions(keys.record('instances', id)).filter(each => each.created === each.revision)
      const own = made.filter(each => effects.some(effect => effect.revision === each.revision))
      if (own.length > 1) yield `S8: it made ${id} ${own.length} times`
    }
    return
  }
  // An undeploy names its version when it retires it, and again when it removes it.
  const body = envelope.command.body as { component?: unknown; version?: unknown }
  const version = op === 'undeploy' ? `${body.component}/${body.version}` : ''
  const subjects = effects.flatMap(each => each.subjects).filter(each => each !== version)
  const twice = subjects.find((each, index) => subjects.indexOf(each) !== index)
  if (twice !== undefined)
    yield `S8: it changed ${twice || op} more than once, at ${effects.map(each => each.revision)}`
}

function* okViolations(
  call: Call,
  answer: Answer,
  seenAt: number,
  effects: readonly Effect[],
  ledger: Ledger,
): Iterable<string> {
  const { revision } = answer.order
  if (seenAt < revision) yield `S6: the replica answered with revision ${revision} when its memory was at ${seenAt}`
  if (revision > call.endedAt) yield `V6: it was answered with a revision that was still to come: ${revision}`
  const last = effects.at(-1)
  if (!last) {
    if (!mayBeUnchanged(call, answer, ledger)) yield `V1: it was answered ${answer.outcome}, and nothing was written`
    return
  }
  if (last.revision > call.endedAt) yield `V1: it was answered before it was written, at ${last.revision}`
  const exact = answer.replayed ? revision >= last.revision : revision === last.revision
  if (!exact) yield `V6: it was answered with revision ${revision}, and written at ${last.revision}`
  if (!last.record?.done) yield `S8: it was answered, and its record is not done`
  else if (!sameAnswer(last.record.answer, answer)) yield `S8: it was answered otherwise than its record says`
  for (const other of call.repeated) {
    if (!sameAnswer(other, answer)) yield `S8: it was answered otherwise when asked again: ${JSON.stringify(other)}`
  }
}

/**
 * A refusal leaves no record: where the request was sent more than once, another copy of it may act
 * on what came in between. It does so once.
 */
const actedAnew = ({ sent, endedAt }: Call, effects: readonly Effect[]): boolean =>
  sent > 1 && effects[0]!.revision > endedAt

type Said = Pick<Answer, 'outcome' | 'kind' | 'ids' | 'touched'>

const sameAnswer = (a: Said, b: Said): boolean =>
  a.outcome === b.outcome && a.kind === b.kind && a.touched === b.touched && a.ids.join() === b.ids.join()

/** Without an effect: the map was as asked at some time in between. */
function mayBeUnchanged(call: Call, answer: Answer, ledger: Ledger): boolean {
  const { command } = call.envelope
  const held = (key: string, check: (value: Record<string, unknown> | undefined) => boolean): boolean =>
    ledger.held(key, call.begunAt, call.endedAt, each => check(each?.value as Record<string, unknown> | undefined))
  switch (command.op) {
    case 'deploy':
    case 'create-token':
      return (
        answer.outcome === 'unchanged' && held(keys.record(answer.kind, answer.ids[0]!), each => each !== undefined)
      )
    case 'activate':
      return held(keys.record('components', answer.ids[0]!), each => each?.['active'] === command.body.active)
    case 'register-mothership':
    case 'register-rainserver':
      return (
        answer.outcome === 'unchanged' && held(keys.record(answer.kind, answer.ids[0]!), each => each !== undefined)
      )
    case 'stop-instance':
      return answer.outcome === 'unchanged' && held(keys.record('stops', answer.ids[0]!), each => each !== undefined)
    case 'undeploy':
      return answer.outcome === 'unchanged' && held(keys.record('removals', answer.ids[0]!), each => each !== undefined)
    case 'steer-rollout':
      return answer.outcome === 'unchanged' && held(keys.record('rollouts', answer.ids[0]!), each => each !== undefined)
    case 'refresh-version':
      return answer.touched === 0
    case 'rebalance':
      return answer.outcome === 'unchanged' && answer.ids.length === 0
    default:
      return false
  }
}

/** What the caller named has to have been missing at some time in between; what was there already, there. */
function mayRefuse({ envelope, begunAt, endedAt }: Call, code: string, ledger: Ledger): boolean {
  const { command } = envelope
  const missed = (key: string): boolean => ledger.held(key, begunAt, endedAt, each => each === undefined)
  const there = (key: string): boolean => ledger.held(key, begunAt, endedAt, each => each !== undefined)
  const version = (body: { component: string; version: string }): string =>
    keys.record('components', `${body.component}/${body.version}`)
  if (code === 'unknown-thing') {
    switch (command.op) {
      case 'clone':
      case 'refresh-instance':
      case 'stop-instance':
        return missed(keys.record('instances', command.body.instance))
      case 'undeploy':
      case 'activate':
      case 'start-rollout':
      case 'refresh-version':
        return missed(version(command.body))
      case 'steer-rollout':
        return missed(keys.record('rollouts', command.body.id))
      case 'revoke-token':
        return missed(keys.record('tokens', command.body.id))
      case 'update-mothership':
        return missed(keys.record('motherships', command.body.id))
      case 'update-rainserver':
        return missed(keys.record('rainservers', command.body.id))
      case 'instantiate':
        return ['1.0.0', '1.1.0'].every(each => missed(version({ component: command.body.component, version: each })))
      default:
        return false
    }
  }
  if (code === 'conflict' && command.op === 'put-settings') {
    const { ifRevision } = command.body
    return ledger.held(keys.record('settings', ''), begunAt, endedAt, each => each?.revision !== ifRevision)
  }
  if (code === 'conflict' && command.op === 'instantiate' && command.body.wish.id !== undefined) {
    const inactive = ['1.0.0', '1.1.0'].some(each =>
      ledger.held(version({ component: command.body.component, version: each }), begunAt, endedAt, found => {
        return (found?.value as { active?: boolean } | undefined)?.active === false
      }),
    )
    return inactive || there(keys.record('instances', command.body.wish.id))
  }
  return true
}
