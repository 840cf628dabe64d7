/**
 * The history of etcd, read back: every version of every key, and every transaction of a leader with what it changed and
 * what its audit says. The checkers judge by it alone, never by what a replica believes.
 */
import type { Kind, TurnRecord } from '../../../src/cloud/records.js'
import type { AuditEntry, RequestRecord } from '../../../src/hypervisor/ports.js'
import { Keys } from '../../../src/store/keys.js'
import { readAnswers, recordOf } from '../../../src/store/requests.js'
import type { Revision } from '../etcd.js'
import { clusterName } from '../replica.js'

export interface Version {
  readonly revision: number
  readonly created: number
  /** Null: deleted. */
  readonly value: unknown
}

export interface RecordChange {
  readonly key: string
  readonly kind: Kind
  readonly id: string
  readonly before: Version | undefined
  readonly after: Version
}

export interface AuditValue {
  readonly schema: number
  readonly number: number
  readonly token: number
  readonly previous: string
  readonly entries: readonly AuditEntry[]
  readonly hash: string
}

/** One transaction of a leader: it is known by the turn that it raises. */
export interface LeaderTxn {
  readonly revision: number
  readonly turn: TurnRecord
  readonly audit: AuditValue | undefined
  readonly changes: readonly RecordChange[]
  readonly requests: readonly RequestRecord[]
}

export const keys = new Keys(clusterName)
const auditPrefix = keys.audit(0).slice(0, -16)
const requestPrefix = keys.request('')
const answersPrefix = keys.answers(0).slice(0, -16)

/** What only the leader writes (S7). */
export const leaderKinds: ReadonlySet<Kind> = new Set([
  'era',
  'components',
  'motherships',
  'rainservers',
  'instances',
  'wiring',
  'keys',
  'settings',
  'tokens',
  'undeployed',
  'activations',
  'rollouts',
  'stops',
  'removals',
])

const parse = (value: Uint8Array | null): unknown => (value === null ? null : JSON.parse(Buffer.from(value).toString()))

export class Ledger {
  readonly txns: LeaderTxn[] = []
  /** Changes of records in `map/` by others than leaders. */
  readonly direct: RecordChange[] = []
  readonly #versions = new Map<string, Version[]>()

  constructor(revisions: readonly Revision[]) {
    for (const each of revisions) this.#take(each)
  }

  /** Of keys in `map/` only. */
  get mapKeys(): Iterable<[key: string, versions: readonly Version[]]> {
    return [...this.#versions].filter(([key]) => key.startsWith(keys.map))
  }

  versions(key: string): readonly Version[] {
    return this.#versions.get(key) ?? []
  }

  at(key: string, revision: number): Version | undefined {
    const found = this.versions(key).findLast(each => each.revision <= revision)
    return found?.value === null ? undefined : found
  }

  /** Whether it was so at any revision from one to another: of a key's version, undefined while there is none. */
  held(key: string, from: number, to: number, check: (version: Version | undefined) => boolean): boolean {
    if (check(this.at(key, from))) return true
    return this.versions(key).some(
      each => each.revision > from && each.revision <= to && check(each.value === null ? undefined : each),
    )
  }

  /** Modification revisions of all that was in `map/` at a revision. */
  stateAt(revision: number): Map<string, number> {
    const state = new Map<string, number>()
    for (const [key] of this.mapKeys) {
      const version = this.at(key, revision)
      if (version) state.set(key, version.revision)
    }
    return state
  }

  #take({ revision, events }: Revision): void {
    const changes: RecordChange[] = []
    const requests: RequestRecord[] = []
    let audit: AuditValue | undefined
    let turn: TurnRecord | undefined
    for (const { key, value, created } of events) {
      if (key.startsWith(requestPrefix)) {
        if (value === null) continue
        if (key.startsWith(answersPrefix)) requests.push(...readAnswers(value))
        else requests.push(recordOf(parse(value) as RequestRecord))
      } else if (key.startsWith(auditPrefix)) audit = parse(value) as AuditValue
      const place = key.startsWith(keys.map) ? keys.parse(key) : undefined
      const versions = this.#versions.get(key) ?? []
      const after = { revision, created, value: place ? parse(value) : value === null ? null : true }
      if (place?.kind === 'turn') turn = after.value as TurnRecord
      else if (place) changes.push({ key, ...place, before: this.at(key, revision), after })
      this.#versions.set(key, [...versions, after])
    }
    if (turn) this.txns.push({ revision, turn, audit, changes, requests })
    else this.direct.push(...changes)
  }
}
