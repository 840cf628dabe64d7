/** Stores for tests over whatever etcd, and the question whether a memory is what etcd has. */
import { createHash } from 'node:crypto'
import type { CloudMap } from '../../src/cloud/map.js'
import { type Kind, kinds, put, type ReplicaRecord } from '../../src/cloud/records.js'
import type { AuditEntry, Batch, Chance, Clock, Log, Standing, Term } from '../../src/hypervisor/ports.js'
import type { Etcd, KeyValue } from '../../src/store/etcd.js'
import type { StoreEvents } from '../../src/store/events.js'
import { Keys } from '../../src/store/keys.js'
import { RequestLeases } from '../../src/store/requests.js'
import { openStore, type Store } from '../../src/store/store.js'
import { FencedTerm } from '../../src/store/term.js'
import { readValue, writeValue } from '../../src/store/values.js'
import { testClock } from './plain-store.js'
import { aMothership } from './records.js'

let clusters = 0
/** Tests that share an etcd have a cluster each. */
export const freshCluster = (): string => `c${++clusters}`
export const chance: Chance = { next: Math.random, id: length => 'f'.repeat(length) }
export const quiet: Log = { info() {}, warn() {}, error() {} }

export const aReplica = (id: string, incarnation = '1'): ReplicaRecord => ({
  schema: 1,
  id,
  url: `http://${id}.example:1`,
  incarnation,
})

export interface TestStore extends Store {
  /** The term that this replica leads, if it does. */
  term(): Term | undefined
  /** Its queue makes no progress any more, or does again. */
  stall(stalled?: boolean): void
}

/** A store that stands for election, and whose queue always makes progress. */
export async function aStore(
  id: string,
  etcd: Etcd,
  more: {
    cluster?: string
    clock?: Clock
    events?: StoreEvents
    incarnation?: string
    standing?: Partial<Standing>
  } = {},
): Promise<TestStore> {
  const { cluster = 'test', clock = testClock, events = {}, incarnation = '1', standing = {} } = more
  const replica = aReplica(id, incarnation)
  const times = { leaderTtlMs: 2_000, presenceTtlMs: 10_000 }
  const store = await openStore({ etcd, cluster, replica, ...times, clock, chance, log: quiet, events })
  let current: Term | undefined
  let stalled = false
  const beHealthy = (): void => {
    if (!stalled) store.election.healthy()
    cancel = clock.after(200, beHealthy)
  }
  let cancel = clock.after(0, beHealthy)
  const onTerm = (term: Term): void => {
    current = term
    void term.ended.then(() => {
      if (current === term) current = undefined
    })
  }
  store.election.stand({ onTerm, hearsMajority: () => true, onCutOff: () => undefined, ...standing })
  const close = async (): Promise<void> => {
    cancel()
    await store.close()
  }
  return { ...store, close, term: () => current, stall: (now = true) => void (stalled = now) }
}

/** Takes the leader key, whoever has it, for a term of its own that no election looks after. */
export async function aTerm(
  etcd: Etcd,
  more: { cluster?: string; clock?: Clock; events?: StoreEvents } = {},
): Promise<FencedTerm> {
  const { cluster = 'test', clock = testClock, events = {} } = more
  const keys = new Keys(cluster)
  const key = keys.record('leader', '')
  const value = writeValue('leader', { schema: 1, replica: 'h1', incarnation: '1', url: 'http://h1.example:1' })
  await etcd.txn({ compare: [], success: [{ delete: key }] }, 5_000)
  const { revision } = await etcd.txn({ compare: [], success: [{ put: key, value }] }, 5_000)
  const leases = new RequestLeases(etcd, clock)
  return new FencedTerm({ etcd, keys, clock, log: quiet, events, leases }, revision, clock.nowMs() + 600_000)
}

/** A clock that can stand still, as for a process that was stopped: when it goes on, all that time has passed. */
export class PausableClock implements Clock {
  #heldAtMs: number | undefined
  readonly #due: (() => void)[] = []

  nowMs(): number {
    return this.#heldAtMs ?? testClock.nowMs()
  }

  wallMs(): number {
    return testClock.wallMs()
  }

  after(delayMs: number, run: () => void): () => void {
    let cancelled = false
    const cancel = testClock.after(delayMs, () => {
      if (this.#heldAtMs === undefined) run()
      else this.#due.push(() => !cancelled && run())
    })
    return () => {
      cancelled = true
      cancel()
    }
  }

  hold(): void {
    this.#heldAtMs = testClock.nowMs()
  }

  release(): void {
    this.#heldAtMs = undefined
    for (const run of this.#due.splice(0)) run()
  }
}

let number = 0

/** A batch that registers a mothership, with its audit entry. */
export function aBatch(id: string, more: Partial<Batch> = {}): Batch {
  const audit: AuditEntry = {
    requestId: `request-${++number}`,
    actor: 'ann',
    role: 'operator',
    op: 'register-mothership',
    subjects: [id],
    at: '2026-01-01T00:00:00.000Z',
  }
  return { changes: [put('motherships', id, aMothership(id))], audit: [audit], requests: [], ...more }
}

type Memory = Record<string, { value: unknown; created: number; modified: number }>

export function memoryOf(map: CloudMap, cluster = 'test'): Memory {
  const keys = new Keys(cluster)
  const memory: Memory = {}
  for (const kind of Object.keys(kinds) as Kind[]) {
    for (const [id, { value, created, modified }] of map.all(kind)) {
      memory[keys.record(kind, id)] = { value, created, modified }
    }
  }
  return memory
}

/** What a memory at this revision has to be. */
export async function rangeOf(
  etcd: Etcd,
  revision: number,
  cluster = 'test',
  unreadable: readonly string[] = [],
): Promise<Memory> {
  const keys = new Keys(cluster)
  const { items } = await etcd.range({ key: keys.map, end: keys.mapEnd, revision }, 5_000)
  const readable = items.filter(item => !unreadable.includes(item.key))
  return Object.fromEntries(readable.map(item => [item.key, entryOf(keys, item)]))
}

function entryOf(keys: Keys, { key, value, created, modified }: KeyValue): Memory[string] {
  const read = readValue(keys.parse(key)!.kind, value)
  if (read.kind === 'unreadable') throw new Error(`${key} cannot be read: ${read.reason}`)
  return { value: read.value, created, modified }
}

/** The audit values in etcd, oldest first: one for each transaction of a term. Throws where their chain is broken. */
export async function auditOf(
  etcd: Etcd,
  cluster = 'test',
): Promise<{ number: number; token: number; entries: AuditEntry[] }[]> {
  const keys = new Keys(cluster)
  const { items } = await etcd.range({ key: keys.audit(0), end: keys.audit(9_999_999_999) }, 5_000)
  let head = ''
  return items.map(item => {
    const { hash, ...entry } = JSON.parse(Buffer.from(item.value).toString())
    const made = createHash('sha256').update(JSON.stringify(entry)).digest('hex')
    if (entry.previous !== head || made !== hash) throw new Error(`the chain is broken at ${item.key}`)
    head = hash
    return entry
  })
}
