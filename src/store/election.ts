/**
 * One leader key on a lease of its own. The create revision of the key is the token of the term: it fences every
 * transaction, so a wrong belief about who leads costs a term and never correctness; the lease is for liveness only.
 *
 * A leader judges its validity by its monotonic clock: from the sending of the last keepalive that was answered, for
 * the time granted less a margin. It renews only while its queue makes progress. When etcd does not answer it for a
 * second, it gives the term up and has its peers end it, rather than let everybody wait for the lease.
 */
import { byId } from '../cloud/ids.js'
import { type Applied, type Entry, sortedIds } from '../cloud/map.js'
import type { LeaderRecord, ReplicaRecord } from '../cloud/records.js'
import type { Chance, Clock, Election, Log, Standing } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import type { StoreEvents } from './events.js'
import { callMs, pause } from './failures.js'
import type { Keys } from './keys.js'
import type { ReplicaMap } from './replica-map.js'
import type { RequestLeases } from './requests.js'
import { FencedTerm } from './term.js'
import { writeValue } from './values.js'

const marginMs = 500
const rankMs = 30
const ranksMax = 10
/** Longer than all ranks: who has lost a term, or hears no majority, lets the others try first. */
const amendsMs = 1_000
/** The queue has to say so at least this often, or the lease runs out. */
const healthyWithinMs = 2_000
const renewEveryMs = 250
/** So that another member can still be asked in time. */
const renewWithinMs = 200
const cutOffMs = 1_000
const lookEveryMs = 100
const silent = 'etcd does not answer'
/** A lease that was asked for in advance is used only while most of it is left. */
const spareMs = 300

export interface ElectionPorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly events: StoreEvents
  readonly maps: ReplicaMap
  readonly leases: RequestLeases
  readonly self: ReplicaRecord
  readonly leaderTtlMs: number
}

type LeaderChange = Extract<Applied, { kind: 'leader' }>

interface Granted {
  readonly sentMs: number
  readonly lease: Promise<{ readonly lease: string; readonly ttlMs: number }>
}

export class EtcdElection implements Election {
  #standing: Standing | undefined
  #term: FencedTerm | undefined
  #healthyAtMs = 0
  #standsFromMs = 0
  /** Since when this replica's memory shows no leader. */
  #vacantSinceMs: number | undefined
  /** Who led last: it is not counted among those who stand now. */
  #last: string | undefined
  #spare: Granted | undefined
  /** The term whose key this replica has deleted: its memory may still show it. */
  #freed = 0
  #closed = false
  #wake: (() => void) | undefined
  #unsubscribe: (() => void) | undefined
  #loop: Promise<void> | undefined

  constructor(private readonly ports: ElectionPorts) {}

  stand(standing: Standing): void {
    this.#standing = standing
    this.#last = this.leader()?.replica
    this.#unsubscribe = this.ports.maps.onChange(changes => {
      for (const change of changes) if (change.kind === 'leader') this.#onLeader(change)
    })
    this.#loop = this.#campaign()
  }

  leader(): LeaderRecord | undefined {
    return this.ports.maps.map.get('leader')?.value
  }

  healthy(): void {
    this.#healthyAtMs = this.ports.clock.nowMs()
  }

  async resign(): Promise<void> {
    this.#closed = true
    this.#stir()
    const term = this.#term
    if (term) {
      term.end('resigned')
      await this.endTermOf(term.token)
    }
    this.#unsubscribe?.()
    await this.#loop
  }

  async endTermOf(token: number): Promise<boolean> {
    const key = this.ports.keys.record('leader', '')
    const others = token !== this.#term?.token
    if (others && this.#rank() === 0) this.#prepare()
    try {
      const result = await this.ports.etcd.txn(
        { compare: [{ key, created: token }], success: [{ delete: key }] },
        callMs,
      )
      if (result.succeeded && others) {
        this.#freed = token
        this.#stir()
      }
      return result.succeeded
    } catch (error) {
      this.ports.log.warn({ err: error }, 'the leader key could not be deleted')
      return false
    }
  }

  /** Word of what was before the term began comes late when the watch is behind, and says nothing of it. */
  #onLeader({ value, created, modified }: LeaderChange): void {
    const token = this.#term?.token ?? 0
    const before = modified > 0 && modified < token
    if (!before && (value === null || created !== token)) this.#term?.end('the leader key is gone')
    if (value !== null) this.#last = value.replica
    this.#stir()
  }

  #stir(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** Waits for a change of the leader key, at most so long. */
  #nap(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve()
    return new Promise(resolve => {
      const cancel = this.ports.clock.after(ms, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  async #campaign(): Promise<void> {
    const { maps, self, log, clock } = this.ports
    while (!this.#closed) {
      try {
        const leader = this.#holder()
        this.ports.leases.keepReady()
        if (leader) this.#vacantSinceMs = undefined
        else this.#vacantSinceMs ??= clock.nowMs()
        // No term is going on here: it is of an earlier life, or was over while etcd was away and kept its lease.
        if (leader?.value.replica === self.id && maps.staleForMs() === 0) {
          log.info({ term: leader.created }, 'ending a term of this replica that it does not lead any more')
          await this.endTermOf(leader.created)
          await this.#nap(lookEveryMs)
        } else if (leader) await this.#nap(this.ports.leaderTtlMs)
        else if (maps.staleForMs() > 0) await this.#nap(lookEveryMs)
        else await this.#tryToLead()
      } catch (error) {
        log.warn({ err: error }, 'could not stand for election')
        await pause(this.ports.clock, 100 + this.ports.chance.next() * 200)
      }
    }
  }

  /** Undefined when there is no leader, be it that the watch has not told that yet. */
  #holder(): Entry<'leader'> | undefined {
    const leader = this.ports.maps.map.get('leader')
    return leader?.created === this.#freed ? undefined : leader
  }

  /** By rank of id among those who may stand, so that candidates do not all come at once. */
  #rank(): number {
    const { maps, self } = this.ports
    const ids = sortedIds(maps.map, 'replicas').filter(id => id !== this.#last)
    return Math.min(ranksMax, ids.filter(id => byId(id, self.id) < 0).length)
  }

  #mayStandFromMs(): number {
    const alone = this.#standing?.hearsMajority() === false ? amendsMs : 0
    const sinceMs = this.#vacantSinceMs ?? this.ports.clock.nowMs()
    return Math.max(sinceMs + this.#rank() * rankMs + alone, this.#standsFromMs)
  }

  /** Asks for the lease of a term that may soon begin. */
  #prepare(): Granted {
    const { clock, etcd, leaderTtlMs } = this.ports
    const fresh = this.#spare && clock.nowMs() - this.#spare.sentMs < spareMs
    if (!this.#spare || !fresh) {
      this.#spare = { sentMs: clock.nowMs(), lease: etcd.grant(Math.ceil(leaderTtlMs / 1000), callMs) }
      this.#spare.lease.catch(() => undefined)
    }
    return this.#spare
  }

  async #tryToLead(): Promise<void> {
    const { etcd, keys, clock, self, leaderTtlMs } = this.ports
    const waitMs = this.#mayStandFromMs() - clock.nowMs()
    if (waitMs > 0) return this.#nap(Math.min(waitMs, lookEveryMs))
    const { sentMs, lease: granted } = this.#prepare()
    this.#spare = undefined
    const { lease, ttlMs } = await granted
    if (this.#closed || this.#holder()) return
    const key = keys.record('leader', '')
    const record: LeaderRecord = { schema: 1, replica: self.id, incarnation: self.incarnation, url: self.url }
    try {
      const result = await etcd.txn(
        {
          compare: [{ key, created: 0 }],
          success: [{ put: key, value: writeValue('leader', record), lease }],
          failure: [{ get: key }],
        },
        callMs,
      )
      if (result.succeeded) return await this.#lead(result.revision, lease, sentMs + ttlMs - marginMs, ttlMs)
    } finally {
      // Whether the key was taken or not, it goes with its lease: an unknown outcome leaves nothing behind.
      await etcd.revoke(lease, callMs).catch((error: unknown) => {
        this.ports.log.info({ err: error }, 'a lease is left to run out')
      })
    }
    await this.#nap(leaderTtlMs)
  }

  async #lead(token: number, lease: string, validUntilMs: number, ttlMs: number): Promise<void> {
    const { clock, maps, log, events } = this.ports
    if (this.#closed) return
    const term = new FencedTerm(this.ports, token, validUntilMs)
    this.#term = term
    this.healthy()
    let won = false
    try {
      await maps.waitFor({ era: maps.map.order.era, revision: token }, ttlMs)
      if (!term.valid()) return
      term.begin(maps.map.get('turn'))
      won = true
      log.info({ term: token }, 'won the election')
      events.onTerm?.('won', '')
      this.#standing?.onTerm(term)
      await this.#renew(term, lease)
      term.end('the lease may have run out')
    } finally {
      term.end('the term could not begin')
      this.#term = undefined
      const reason = await term.ended
      // Not where etcd went: nobody else could lead then.
      if (reason !== silent) this.#standsFromMs = clock.nowMs() + amendsMs
      if (won) events.onTerm?.('ended', reason)
    }
  }

  /** Until the term is over. */
  async #renew(term: FencedTerm, lease: string): Promise<void> {
    const { clock, log, etcd } = this.ports
    const ended = term.ended.then(() => 'ended' as const)
    let heardAtMs = clock.nowMs()
    for (let waitMs = 0; term.valid(); ) {
      if ((await Promise.race([ended, pause(clock, waitMs)])) === 'ended') return
      waitMs = renewEveryMs
      if (clock.nowMs() - this.#healthyAtMs > healthyWithinMs) {
        log.warn({}, 'the queue makes no progress: the lease is not renewed')
        continue
      }
      const sentMs = clock.nowMs()
      const withinMs = Math.max(50, Math.min(renewWithinMs, heardAtMs + cutOffMs - sentMs))
      const granted = await etcd.keepAlive(lease, withinMs).catch(() => undefined)
      if (granted === 0) return term.end('the lease is gone')
      if (granted !== undefined) {
        heardAtMs = clock.nowMs()
        term.prolong(sentMs + granted - marginMs)
      } else if (clock.nowMs() - heardAtMs >= cutOffMs) return this.#giveUp(term)
      else waitMs = 20
    }
  }

  #giveUp(term: FencedTerm): void {
    this.ports.log.warn({ term: term.token }, 'etcd does not answer: giving the term up')
    term.end(silent)
    this.#standing?.onCutOff(term.token)
  }
}
