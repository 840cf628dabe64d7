/**
 * V3: no transaction of a term commits after a later term's takeover; effects of a term keep their order (S2); only
 * leaders write what is theirs (S7); the audit is whole and has an entry for each change (S9).
 */
import { createHash } from 'node:crypto'
import { keys, type LeaderTxn, type Ledger, leaderKinds, type RecordChange } from './ledger.js'

export function* termViolations(ledger: Ledger): Iterable<string> {
  let number = 0
  let head = ''
  let token = 0
  for (const txn of ledger.txns) {
    const at = `revision ${txn.revision}`
    const leader = ledger.at(keys.record('leader', ''), txn.revision - 1)
    if (leader?.created !== txn.turn.token) {
      yield `V3: ${at} is of term ${txn.turn.token}, while the leader key is of ${leader?.created ?? 'nobody'}`
    }
    if (txn.turn.token < token) yield `V3: ${at} is of term ${txn.turn.token}, after one of term ${token}`
    if (txn.turn.number !== number + 1) yield `turn: ${at} raises it from ${number} to ${txn.turn.number}`
    yield* auditViolations(txn, head).map(text => `audit: ${at} ${text}`)
    number = txn.turn.number
    head = txn.turn.auditHead
    token = Math.max(token, txn.turn.token)
  }
  for (const { kind, id, after } of ledger.direct) {
    if (leaderKinds.has(kind)) yield `S7: revision ${after.revision} writes ${kind} ${id} outside of a leader's turn`
  }
}

function auditViolations({ audit, turn, changes }: LeaderTxn, head: string): string[] {
  if (!audit) return ['has none']
  const { hash, ...entry } = audit
  const made = createHash('sha256').update(JSON.stringify(entry)).digest('hex')
  const found: string[] = []
  if (made !== hash || hash !== turn.auditHead) found.push('has another hash than its turn')
  if (audit.previous !== head) found.push('does not continue the chain')
  const subjects = new Set(audit.entries.flatMap(each => each.subjects))
  for (const change of changes) {
    if (!isNamed(change, subjects)) found.push(`has no entry for ${change.kind} ${change.id}`)
  }
  return found
}

/**
 * What was observed of a copy goes with its instance, the history of a component with its version; a kind of which there
 * is one is named by nothing or itself.
 */
const isNamed = ({ kind, id }: RecordChange, subjects: ReadonlySet<string>): boolean =>
  subjects.has(id) ||
  subjects.has(kind) ||
  (kind === 'observed' && subjects.has(id.slice(id.indexOf('/') + 1))) ||
  (kind === 'activations' && [...subjects].some(each => each.startsWith(`${id}/`)))
