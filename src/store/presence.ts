/**
 * What is there only while this process is: its own record and the sessions of the nodes that it holds, on one lease.
 * When the lease is lost (etcd was away, or revoked it), a new one is taken and everything is put again, until all of
 * it is there.
 */
import { CloudError } from '../cloud/errors.js'
import { type NodeRef, nodeName } from '../cloud/ids.js'
import type { ReplicaRecord, SessionRecord } from '../cloud/records.js'
import type { Clock, Log, Presence } from '../hypervisor/ports.js'
import { type Etcd, EtcdFailure } from './etcd.js'
import { callMs, cloudErrorOf, pause, retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { writeValue } from './values.js'

export interface PresencePorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
  readonly log: Log
  readonly ttlMs: number
}

interface Held {
  readonly record: SessionRecord
  readonly opened: number
  /** Another one than it was opened with when it was put again. */
  number: number
  /** On which it was put. */
  lease: string
}

const attempts = 8
/** While etcd does not answer: so soon after it comes back is this replica there again. */
const againMs = 500

export class EtcdPresence implements Presence {
  #lease: string | undefined
  #closed = false
  #left = false
  #renewing = false
  /** There was word of a lost lease while it was being renewed: perhaps after etcd had looked. */
  #again = false
  #cancelTimer: (() => void) | undefined
  readonly #held = new Map<string, Held>()
  /** Called when a session was put again under another number: the gateway reports with that one then. */
  onRenumbered: ((node: NodeRef, number: number) => void) | undefined

  constructor(
    private readonly ports: PresencePorts,
    readonly replica: ReplicaRecord,
  ) {}

  async open(): Promise<void> {
    await this.#settle()
    this.#schedule()
  }

  /** Takes its own record away, so that nobody sends anything here any more; sessions stay for now. */
  async leave(): Promise<void> {
    if (this.#left) return
    this.#left = true
    const { etcd, keys, log } = this.ports
    const key = keys.record('replicas', this.replica.id)
    await etcd.txn({ compare: [], success: [{ delete: key }] }, callMs).catch((error: unknown) => {
      log.info({ err: error }, 'the record of this replica is left to its lease')
    })
  }

  /** Leaves the sessions to the lease's end: their nodes are on their way elsewhere. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    await this.leave()
  }

  async openSession(session: Omit<SessionRecord, 'schema' | 'replica'>): Promise<number> {
    const record: SessionRecord = { schema: 1, replica: this.replica.id, ...session }
    const { number, lease } = await this.#put(record)
    this.#held.set(nodeName(session), { record, opened: number, number, lease })
    return number
  }

  async closeSession(node: NodeRef, number: number): Promise<void> {
    const name = nodeName(node)
    const held = this.#held.get(name)
    // It may have been put again since, and the caller need not have heard of that.
    const same = held !== undefined && held.opened <= number && number <= held.number
    if (same) this.#held.delete(name)
    await this.#delete(name, same ? held.number : number)
  }

  async #delete(name: string, number: number): Promise<void> {
    const key = this.ports.keys.record('sessions', name)
    try {
      await this.ports.etcd.txn({ compare: [{ key, modified: number }], success: [{ delete: key }] }, callMs)
    } catch (error) {
      throw cloudErrorOf(error)
    }
  }

  /** Compares the number that it read, so that of two sessions of one node the later one wins (N2). */
  async #put(record: SessionRecord): Promise<{ number: number; lease: string }> {
    const { etcd, keys, clock } = this.ports
    const key = keys.record('sessions', nodeName(record))
    for (let attempt = 0; attempt < attempts; attempt++) {
      const lease = this.#lease
      if (lease === undefined) {
        await pause(clock, 50)
        continue
      }
      const before = await retryRead(clock, 2_000, deadlineMs => etcd.range({ key }, deadlineMs))
      const modified = before.items[0]?.modified ?? 0
      try {
        const result = await etcd.txn(
          { compare: [{ key, modified }], success: [{ put: key, value: writeValue('sessions', record), lease }] },
          callMs,
        )
        if (result.succeeded) return { number: result.revision, lease }
      } catch (error) {
        // Unknown or refused: read again. A put that did land is replaced by the next one.
        this.ports.log.info({ err: error, node: nodeName(record) }, 'opening the session again')
        if (error instanceof EtcdFailure && error.kind === 'lease-gone') this.look()
        await pause(clock, 30)
      }
    }
    throw new CloudError('store-unavailable', `the session of ${nodeName(record)} could not be opened`, {
      retryAfterS: 1,
    })
  }

  /** Word that the lease may be gone: there is no need to wait for the next time. */
  look(): void {
    if (this.#closed) return
    this.#again = this.#renewing
    if (this.#renewing) return
    this.#cancelTimer?.()
    void this.#keepAlive()
  }

  #schedule(inMs = this.ports.ttlMs / 3): void {
    if (this.#closed) return
    this.#cancelTimer = this.ports.clock.after(inMs, () => void this.#keepAlive())
  }

  async #keepAlive(): Promise<void> {
    this.#renewing = true
    this.#again = false
    const kept = await this.#renew()
    this.#renewing = false
    this.#schedule(kept && !this.#again ? undefined : againMs)
  }

  /** False when etcd did not let it. */
  async #renew(): Promise<boolean> {
    try {
      const lease = this.#lease
      const gone = lease === undefined || (await this.ports.etcd.keepAlive(lease, callMs)) === 0
      if (this.#closed) return true
      if (gone) await this.#settle()
      await this.#putRest()
      return true
    } catch (error) {
      this.ports.log.warn({ err: error }, 'the presence of this replica could not be renewed')
      return false
    }
  }

  /** Takes a lease, and puts this replica's own record on it. */
  async #settle(): Promise<void> {
    const { etcd, keys, ttlMs } = this.ports
    this.#lease = undefined
    try {
      const { lease } = await etcd.grant(Math.ceil(ttlMs / 1000), callMs)
      const key = keys.record('replicas', this.replica.id)
      const success = this.#left ? [] : [{ put: key, value: writeValue('replicas', this.replica), lease }]
      await etcd.txn({ compare: [], success }, callMs)
      this.#lease = lease
    } catch (error) {
      throw cloudErrorOf(error)
    }
  }

  /** Puts what is held but not on the lease. Where etcd fails in the midst of it, the rest comes the next time. */
  async #putRest(): Promise<void> {
    const lease = this.#lease
    if (lease === undefined) return
    for (const [name, held] of [...this.#held]) {
      if (held.lease !== lease && this.#held.get(name) === held) await this.#putAgain(name, held, lease)
    }
  }

  /** Only where nobody else has the session by now: a node that moved on stays where it is. */
  async #putAgain(name: string, held: Held, lease: string): Promise<void> {
    const { etcd, keys } = this.ports
    const key = keys.record('sessions', name)
    const success = [{ put: key, value: writeValue('sessions', held.record), lease }]
    for (let attempt = 0, modified = 0; attempt < attempts; attempt++) {
      const request = { compare: [{ key, modified }], success, failure: [{ get: key }] }
      const result = await etcd.txn(request, callMs)
      const now = result.found[0]
      if (result.succeeded) return this.#renumber(name, held, lease, result.revision)
      // An earlier attempt had landed, and its reply was lost.
      if (now?.lease === lease) return this.#renumber(name, held, lease, now.modified)
      if (now && now.modified !== held.number) {
        if (this.#held.get(name) === held) this.#held.delete(name)
        return
      }
      modified = now?.modified ?? 0
    }
  }

  async #renumber(name: string, held: Held, lease: string, number: number): Promise<void> {
    held.lease = lease
    held.number = number
    const holds = this.#held.get(name)
    if (holds === held) this.onRenumbered?.(held.record, number)
    // Closed in the meantime: nobody else would take it away.
    else if (!holds) await this.#delete(name, number)
  }
}
