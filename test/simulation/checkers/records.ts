/**
 * V1, V2, V4 and V5 as far as records tell: what was written stays until a command that may do so takes it away; counters
 * grow by what was asked and by nothing else; of each epoch there is one configuration with one primary; and the map
 * keeps its invariants at every revision.
 */
import { loose, overbooked, violations } from '../../../src/cloud/invariants.js'
import { type Applied, MemoryMap } from '../../../src/cloud/map.js'
import type { InstanceRecord, Kind } from '../../../src/cloud/records.js'
import type { AuditEntry } from '../../../src/hypervisor/ports.js'
import type { LeaderTxn, Ledger, RecordChange } from './ledger.js'

type Doing = 'make' | 'change' | 'remove'

/** What raises the generation of an instance. */
const refreshes = ['refresh-instance', 'refresh-version', 'rollout', 'steer-rollout'] as const

/** What takes an instance away: at once, where it runs nowhere. */
const stops = ['stop-instance', 'stop', 'removal'] as const

/** Which operations may do what to a record. */
const may: Partial<Record<Kind, Readonly<Record<Doing, readonly string[]>>>> = {
  instances: {
    make: ['instantiate'],
    change: ['clone', 'upkeep', 'rebalance', ...refreshes],
    remove: stops,
  },
  components: { make: ['deploy'], change: ['activate', 'rollback', 'undeploy'], remove: ['undeploy', 'removal'] },
  motherships: {
    make: ['register-mothership'],
    change: ['update-mothership', 'unregister-mothership', 'register-mothership'],
    remove: ['unregister-mothership', 'departures'],
  },
  rainservers: { make: ['register-rainserver'], change: ['update-rainserver', 'register-rainserver'], remove: [] },
  tokens: { make: ['create-token', 'bootstrap'], change: [], remove: ['revoke-token'] },
  settings: { make: ['bootstrap', 'put-settings'], change: ['put-settings'], remove: [] },
  // Made once for each cool-down: nothing moves an instance while it lasts.
  moves: { make: ['rebalance'], change: ['upkeep'], remove: ['expire', ...stops] },
  quarantine: { make: ['quarantine'], change: [], remove: ['expire', 'refresh-version', 'start-rollout'] },
  stops: { make: ['stop-instance', 'removal'], change: ['stop'], remove: ['stop', 'stop-instance', 'removal'] },
  removals: { make: ['undeploy'], change: [], remove: ['removal'] },
  rollouts: { make: ['start-rollout'], change: ['rollout', 'steer-rollout'], remove: ['rollout'] },
  era: { make: ['bootstrap'], change: [], remove: [] },
  keys: { make: ['bootstrap'], change: [], remove: [] },
}

export function* recordViolations(ledger: Ledger): Iterable<string> {
  for (const txn of ledger.txns) {
    for (const change of txn.changes) {
      yield* opViolations(change, txn)
      if (change.kind === 'instances') yield* counterViolations(change, txn)
    }
  }
  yield* epochViolations(ledger)
  yield* mapViolations(ledger)
}

function* opViolations(change: RecordChange, { audit }: LeaderTxn): Iterable<string> {
  const { kind, id, before, after } = change
  const doing: Doing = after.value === null ? 'remove' : before ? 'change' : 'make'
  const allowed = may[kind]?.[doing]
  if (!allowed) return
  const ops = entriesOn(change, audit?.entries ?? []).map(each => each.op)
  if (ops.some(op => allowed.includes(op))) return
  // Removed and made anew in one transaction.
  const did = (what: Doing): boolean => ops.some(op => may[kind]?.[what].includes(op))
  if (doing === 'change' && did('remove') && did('make')) return
  yield `V1: revision ${after.revision} ${doing}s ${kind} ${id} by ${ops.join(', ') || 'nothing'}`
}

const entriesOn = ({ kind, id }: RecordChange, entries: readonly AuditEntry[]): AuditEntry[] =>
  entries.filter(each => each.subjects.includes(id) || each.subjects.includes(kind))

/** Of an instance: refreshed as often as was asked, an epoch for each new configuration. */
function* counterViolations(change: RecordChange, { audit }: LeaderTxn): Iterable<string> {
  const after = change.after.value as InstanceRecord | null
  if (after === null) return
  const before = change.before?.value as InstanceRecord | undefined
  const entries = entriesOn(change, audit?.entries ?? [])
  const count = (...ops: readonly string[]): number => entries.filter(each => ops.includes(each.op)).length
  // Stopped and made anew in one transaction: what was before is of no matter.
  if (before && count('instantiate') > 0) return
  const wrong = (what: string, from: number, to: number): string =>
    `V1: revision ${change.after.revision} takes the ${what} of ${change.id} from ${from} to ${to}`
  const generation = (before?.generation ?? 0) + count(...refreshes)
  if (after.generation !== generation) yield wrong('generation', before?.generation ?? 0, after.generation)
  const epoch = (before?.epoch ?? 1) + count('clone', 'upkeep', 'rebalance')
  if (after.epoch !== epoch) yield wrong('epoch', before?.epoch ?? 1, after.epoch)
}

function* epochViolations(ledger: Ledger): Iterable<string> {
  const made = new Set(
    ledger.txns.flatMap(({ revision, audit }) =>
      (audit?.entries ?? [])
        .filter(each => each.op === 'instantiate')
        .flatMap(each => each.subjects.map(id => `${revision} ${id}`)),
    ),
  )
  for (const [key, versions] of ledger.mapKeys) {
    if (!key.includes('/instances/')) continue
    const known = new Map<string, string>()
    for (const { value, created, revision } of versions) {
      if (value === null) continue
      // Also where it was stopped and made anew in one transaction, which its key does not show.
      if (made.has(`${revision} ${key.slice(key.lastIndexOf('/') + 1)}`)) known.clear()
      const { epoch, primary, inSync, learners, journals } = value as InstanceRecord
      const life = `${created} in epoch ${epoch}`
      const configuration = JSON.stringify({ primary, inSync, learners, journals })
      const before = known.get(life)
      if (before !== undefined && before !== configuration) {
        yield `V2: ${key} of ${life} is ${before}, and ${configuration} at revision ${revision}`
      }
      known.set(life, configuration)
    }
  }
}

/** The whole map after each transaction of a leader. */
function* mapViolations(ledger: Ledger): Iterable<string> {
  const map = new MemoryMap()
  const byRevision = new Map<number, RecordChange[]>()
  for (const change of [...ledger.txns.flatMap(each => each.changes), ...ledger.direct]) {
    const { revision } = change.after
    byRevision.set(revision, [...(byRevision.get(revision) ?? []), change])
  }
  const revisions = [...byRevision].sort(([a], [b]) => a - b)
  const led = new Set(ledger.txns.map(each => each.revision))
  const told = new Set<string>()
  for (const [revision, changes] of revisions) {
    map.apply(changes.map(applied), revision)
    const matters = changes.some(each => each.kind === 'instances' || each.kind === 'components')
    if (!led.has(revision) || !matters) continue
    for (const text of [...violations(map), ...overbooked(map)]) {
      if (!told.has(text)) yield `map: from revision ${revision} on: ${text}`
      told.add(text)
    }
  }
  for (const text of loose(map)) yield `map: in the end: ${text}`
}

const applied = ({ kind, id, after }: RecordChange): Applied =>
  ({ kind, id, value: after.value, created: after.created, modified: after.revision }) as Applied
