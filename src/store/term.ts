/**
 * One leadership and its transactions (S2). Each compares the leader key's create revision and the turn's modification
 * revision, and raises the turn; one is in flight at a time. So a superseded leader commits nothing, effects of a term
 * keep their order, and a transaction whose outcome is unknown can never land after a later one: its audit value tells
 * whether it landed, and until it is known nothing else is sent.
 */
import { hash } from 'node:crypto'
import { CloudError } from '../cloud/errors.js'
import type { Entry } from '../cloud/map.js'
import type { TurnRecord } from '../cloud/records.js'
import { type Batch, batchOpsMax, type Clock, type CommitResult, type Log, type Term } from '../hypervisor/ports.js'
import { writeDecisions } from './decisions.js'
import { type Compare, type Etcd, EtcdFailure, type KeyValue, type Op, type TxnResult } from './etcd.js'
import type { StoreEvents } from './events.js'
import { callMs, pause } from './failures.js'
import type { Keys } from './keys.js'
import { answersValue, type RequestLeases, requestValue } from './requests.js'
import { parseJson, readValue, writeValue } from './values.js'

const batchBytesMax = 1_400_000
/** etcd holds a transaction that was forwarded to a dead leader for seconds: a member that is slow is left sooner. */
const commitMs = 1_000

export interface TermPorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
  readonly log: Log
  readonly events: StoreEvents
  readonly leases: RequestLeases
}

interface Turn {
  readonly modified: number
  readonly number: number
  readonly auditHead: string
}

const noTurn: Turn = { modified: 0, number: 0, auditHead: '' }

export class FencedTerm implements Term {
  readonly ended: Promise<string>
  #end!: (reason: string) => void
  #over: string | undefined
  #turn: Turn | undefined
  #tail: Promise<unknown> = Promise.resolve()
  /** The transaction in flight may have landed, or may land yet. */
  #unsure = false
  /** Monotonic time until which the leader key certainly exists. */
  #validUntilMs: number

  constructor(
    private readonly ports: TermPorts,
    readonly token: number,
    validUntilMs: number,
  ) {
    this.#validUntilMs = validUntilMs
    this.ended = new Promise(resolve => (this.#end = resolve))
  }

  valid(): boolean {
    return this.#over === undefined && this.ports.clock.nowMs() < this.#validUntilMs
  }

  async holds(): Promise<boolean> {
    const { etcd, keys, clock } = this.ports
    while (this.valid()) {
      try {
        const { items } = await etcd.range({ key: keys.record('leader', '') }, callMs)
        if (items[0]?.created !== this.token) this.end('another replica leads')
        return this.valid()
      } catch {
        await pause(clock, 30)
      }
    }
    return false
  }

  get validForMs(): number {
    return this.#over === undefined ? this.#validUntilMs - this.ports.clock.nowMs() : 0
  }

  /** From the election: the key was kept alive. */
  prolong(untilMs: number): void {
    this.#validUntilMs = Math.max(this.#validUntilMs, untilMs)
  }

  /** Once; whatever comes later is another way of seeing the same end. */
  end(reason: string): void {
    if (this.#over !== undefined) return
    this.#over = reason
    this.#end(reason)
  }

  /**
   * With the turn as a memory shows it that has reached the win: nobody else can have raised it since. Without this it
   * is read at the first transaction.
   */
  begin(turn: Entry<'turn'> | undefined): void {
    this.#turn = turn ? { modified: turn.modified, ...headOf(turn.value) } : noTurn
  }

  commit(batch: Batch): Promise<CommitResult> {
    const result = this.#tail.then(() => this.#commit(batch))
    this.#tail = result.catch(() => undefined)
    return result
  }

  async #commit(batch: Batch): Promise<CommitResult> {
    const startMs = this.ports.clock.nowMs()
    this.#unsure = false
    for (;;) {
      if (this.#over !== undefined) return this.#dropped()
      const turn = await this.#readTurn()
      if (!turn) continue
      const lease = await this.#leaseFor(batch)
      if (lease === undefined) continue
      const result = await this.#send(batch, turn, lease)
      if (result === 'again') continue
      if (result.kind === 'committed') {
        const ms = this.ports.clock.nowMs() - startMs
        this.ports.events.onCommit?.(batch.changes.length, batch.requests.length + (batch.answers?.length ?? 0), ms)
      }
      return result
    }
  }

  #dropped(): CommitResult {
    if (!this.#unsure) return { kind: 'superseded' }
    this.ports.events.onAmbiguous?.('unknown')
    return { kind: 'unknown' }
  }

  /** The turn as the last transaction left it; read at the first one of the term. Undefined: etcd is away, try again. */
  async #readTurn(): Promise<Turn | undefined> {
    if (this.#turn) return this.#turn
    const { etcd, keys } = this.ports
    try {
      const answer = await etcd.range({ key: keys.record('turn', '') }, callMs)
      this.#turn = turnOf(answer.items[0])
      return this.#turn
    } catch (error) {
      await this.#afterFailure(error)
      return undefined
    }
  }

  async #leaseFor(batch: Batch): Promise<string | undefined> {
    if (batch.requests.length === 0 && !batch.answers) return ''
    try {
      return await this.ports.leases.current()
    } catch (error) {
      await this.#afterFailure(error)
      return undefined
    }
  }

  async #send(batch: Batch, turn: Turn, lease: string): Promise<CommitResult | 'again'> {
    const { etcd, keys } = this.ports
    const next = this.#nextTurn(batch, turn, lease)
    const fence: Compare[] = [
      { key: keys.record('leader', ''), created: this.token },
      { key: keys.record('turn', ''), modified: turn.modified },
    ]
    const chunks = (batch.needsBlobs ?? []).flatMap(({ digest, chunks }) =>
      Array.from({ length: chunks }, (_, index): Compare => ({ key: keys.chunk(digest, index), exists: true })),
    )
    const success = [...next.ops, ...this.#opsOf(batch, lease)]
    const failure: Op[] = [
      { get: keys.record('leader', '') },
      { get: keys.record('turn', '') },
      { get: keys.audit(next.turn.number) },
    ]
    let result: TxnResult
    try {
      result = await etcd.txn({ compare: [...fence, ...chunks], success, failure }, commitMs)
    } catch (error) {
      return this.#resolve(error, next.turn)
    }
    if (result.succeeded) return this.#landed(next.turn, result.revision)
    return this.#refused(result, turn, next.turn, batch)
  }

  #landed(turn: Omit<Turn, 'modified'>, revision: number): CommitResult {
    this.#turn = { ...turn, modified: revision }
    return { kind: 'committed', revision }
  }

  /** The compares failed: the term is over, or this very transaction had landed before, or chunks are missing. */
  #refused(result: TxnResult, before: Turn, next: Omit<Turn, 'modified'>, batch: Batch): CommitResult {
    const [leader, turn, audit] = result.found
    const landed = this.#landedBefore(audit, next)
    if (landed) return landed
    if (leader?.created === this.token && (turn?.modified ?? 0) === before.modified) {
      return { kind: 'missing-blobs', digests: (batch.needsBlobs ?? []).map(each => each.digest) }
    }
    this.end(leader?.created === this.token ? 'the turn was taken by another' : 'another replica leads')
    this.ports.events.onAmbiguous?.('superseded')
    return { kind: 'superseded' }
  }

  /**
   * The answer did not come: the audit value of its number tells what became of the transaction, also when a later
   * term has raised the turn since. Nothing else is sent until it is known.
   */
  async #resolve(error: unknown, next: Omit<Turn, 'modified'>): Promise<CommitResult | 'again'> {
    if (error instanceof EtcdFailure && !error.sent) {
      if (error.kind === 'too-large' || error.kind === 'invalid') {
        throw new CloudError('internal', 'a transaction that etcd does not take', {}, { cause: error })
      }
      await this.#afterFailure(error)
      return 'again'
    }
    this.ports.log.warn({ err: error }, 'the outcome of a transaction is not known')
    this.#unsure = true
    for (;;) {
      const over = this.#over !== undefined
      await this.#afterFailure(error)
      const result = await this.#lookFor(next)
      if (result) return result
      if (over) return this.#dropped()
    }
  }

  /** Undefined when that cannot be learned now. Once the leader key is another one, what has not landed never will. */
  async #lookFor(next: Omit<Turn, 'modified'>): Promise<CommitResult | 'again' | undefined> {
    const { etcd, keys, log, events } = this.ports
    try {
      const gets = [{ get: keys.record('leader', '') }, { get: keys.audit(next.number) }]
      const { found } = await etcd.txn({ compare: [], success: gets }, callMs)
      const [leader, audit] = found
      const landed = this.#landedBefore(audit, next)
      if (landed) return landed
      if (leader?.created !== this.token) {
        this.end('the leader key is gone')
        events.onAmbiguous?.('superseded')
        return { kind: 'superseded' }
      }
      if (this.#over !== undefined) return undefined
      events.onAmbiguous?.('sent-again')
      return 'again'
    } catch (error) {
      log.warn({ err: error }, 'the audit cannot be read')
      return undefined
    }
  }

  /** No two that could land have one hash: it is made of the term, the turn and all audit values before. */
  #landedBefore(audit: KeyValue | undefined, next: Omit<Turn, 'modified'>): CommitResult | undefined {
    const value = audit && (parseJson(audit.value) as { hash?: unknown } | undefined)
    if (!audit || value?.hash !== next.auditHead) return undefined
    this.ports.events.onAmbiguous?.('landed')
    return this.#landed(next, audit.modified)
  }

  #nextTurn(batch: Batch, turn: Turn, lease: string): { turn: Omit<Turn, 'modified'>; ops: Op[] } {
    const { keys } = this.ports
    const number = turn.number + 1
    const entry = { schema: 1, number, token: this.token, previous: turn.auditHead, entries: batch.audit }
    const text = JSON.stringify(entry)
    const head = hash('sha256', text)
    const record: TurnRecord = { schema: 1, token: this.token, number, auditHead: head }
    const ops: Op[] = [{ put: keys.record('turn', ''), value: writeValue('turn', record) }]
    // The hash comes last, so that what it is made of need not be written twice.
    ops.push({ put: keys.audit(number), value: Buffer.from(`${text.slice(0, -1)},"hash":"${head}"}`) })
    if (batch.decisions) ops.push({ put: keys.decisions(number), value: writeDecisions(batch.decisions) })
    if (batch.answers) ops.push({ put: keys.answers(number), value: answersValue(batch.answers), lease })
    return { turn: { number, auditHead: head }, ops }
  }

  #opsOf(batch: Batch, lease: string): Op[] {
    const { keys } = this.ports
    const changes = batch.changes.map(
      ({ kind, id, value }): Op =>
        value === null
          ? { delete: keys.record(kind, id) }
          : { put: keys.record(kind, id), value: writeValue(kind, value as never) },
    )
    const requests = batch.requests.map(
      (each): Op => ({ put: keys.request(each.id), value: requestValue(each), lease }),
    )
    const drops = (batch.dropsBlobs ?? []).flatMap(({ digest, chunks }) =>
      Array.from({ length: chunks }, (_, index): Op => ({ delete: keys.chunk(digest, index) })),
    )
    const ops = [...changes, ...requests, ...drops]
    const bytes = ops.reduce((sum, each) => sum + ('put' in each ? each.value.byteLength : 0), 0)
    if (ops.length > batchOpsMax || bytes > batchBytesMax) {
      throw new CloudError('internal', `a batch of ${ops.length} operations and ${bytes} bytes is too large`)
    }
    return ops
  }

  async #afterFailure(error: unknown): Promise<void> {
    if (error instanceof EtcdFailure && (error.kind === 'lease-gone' || error.kind === 'quota'))
      this.ports.leases.forget()
    await pause(this.ports.clock, 30)
  }
}

function turnOf(item: KeyValue | undefined): Turn {
  if (!item) return noTurn
  const read = readValue('turn', item.value)
  if (read.kind === 'unreadable') throw new CloudError('unreadable-value', `map/turn: ${read.reason}`)
  return { modified: item.modified, ...headOf(read.value) }
}

const headOf = ({ number, auditHead }: TurnRecord): Omit<Turn, 'modified'> => ({ number, auditHead })
