/**
 * Fast takeover: when the leader goes out of sight (its link closes, or is silent for a second) and a majority of the
 * replicas says the same, its key is deleted by a transaction guarded by its token, and the election goes on without
 * waiting for the lease. A wrong suspicion costs a term and never correctness, because effects are fenced (S2).
 *
 * A majority is asked for so that one cut link ends no term.
 */
import { byId } from '../cloud/ids.js'
import type { LeaderRecord } from '../cloud/records.js'
import type { Suspected } from './hypervisor.js'
import type { Clock, Election, Log, Maps, Peers } from './ports.js'

/** A leader that was never in sight may still be on its way to us. */
const graceMs = 1_000
const askAgainMs = 100
const rankMs = 30

export interface TakeoverPorts {
  readonly self: string
  readonly maps: Maps
  readonly election: Pick<Election, 'endTermOf'>
  readonly peers: Peers
  readonly clock: Clock
  readonly log: Log
}

interface OutOfSight {
  readonly term: number
  readonly leader: LeaderRecord
  readonly suspectFromMs: number
}

export class Takeover {
  /** The newest term whose leader was in sight. */
  #seen = 0
  #gone: OutOfSight | undefined
  #asking = false
  #closed = false
  #cancelTimer: (() => void) | undefined
  readonly #unsubscribe: readonly (() => void)[]

  constructor(private readonly ports: TakeoverPorts) {
    const { maps, peers } = ports
    this.#unsubscribe = [
      peers.onLinks(() => this.#look()),
      maps.onChange(changes => {
        if (changes.some(each => each.kind === 'leader')) this.#look()
      }),
    ]
    this.#look()
  }

  /** What a peer is told that suspects this leader. */
  agrees({ term }: Suspected): boolean {
    this.#look()
    return this.#gone?.term === term && this.#suspects(this.#gone)
  }

  hearsMajority(): boolean {
    const voters = this.#voters()
    return 1 + this.ports.peers.linked().filter(id => voters.has(id)).length >= majorityOf(voters.size)
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
  }

  /** The leader counts, whether or not its record is still there. */
  #voters(): Set<string> {
    const { maps, self } = this.ports
    const leader = maps.map.get('leader')?.value.replica ?? self
    return new Set([self, leader, ...[...maps.map.all('replicas')].map(([id]) => id)])
  }

  #suspects(gone: OutOfSight): boolean {
    return this.ports.clock.nowMs() >= gone.suspectFromMs
  }

  #look(): void {
    if (this.#closed) return
    this.#gone = this.#outOfSight()
    if (!this.#gone) return
    if (this.#suspects(this.#gone)) void this.#ask(this.#gone)
    else this.#lookIn(this.#gone.suspectFromMs - this.ports.clock.nowMs())
  }

  #outOfSight(): OutOfSight | undefined {
    const { maps, self, peers, clock } = this.ports
    const entry = maps.map.get('leader')
    if (!entry || entry.value.replica === self) return undefined
    const { value: leader, created: term } = entry
    if (peers.hears(leader)) {
      this.#seen = term
      return undefined
    }
    if (this.#gone?.term === term) return this.#gone
    return { term, leader, suspectFromMs: clock.nowMs() + (this.#seen === term ? 0 : graceMs) }
  }

  /** By rank of id, so that not all write the same at once: who comes first then stands first, too. */
  #waitForRank(others: readonly string[]): Promise<void> {
    const rank = others.filter(id => byId(id, this.ports.self) < 0).length
    if (rank === 0) return Promise.resolve()
    return new Promise(resolve => this.ports.clock.after(rank * rankMs, resolve))
  }

  #lookIn(ms: number): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.ports.clock.after(ms, () => this.#look())
  }

  async #ask({ term, leader }: OutOfSight): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const { peers, election, log } = this.ports
    try {
      const voters = this.#voters()
      const others = peers.linked().filter(id => voters.has(id) && id !== leader.replica)
      const votes = others.map(id => peers.agrees(id, leader, term))
      const agreed = await reaches(votes, majorityOf(voters.size) - 1)
      if (!agreed) return
      await this.#waitForRank(others)
      if (this.#gone?.term !== term) return
      log.info({ leader: leader.replica, term }, 'a majority has lost sight of the leader: ending its term')
      await election.endTermOf(term)
    } finally {
      this.#asking = false
      if (!this.#closed && this.#gone) this.#lookIn(askAgainMs)
    }
  }
}

const majorityOf = (voters: number): number => Math.floor(voters / 2) + 1

/** As soon as so many have said yes, or all have spoken. */
async function reaches(votes: readonly Promise<boolean>[], needed: number): Promise<boolean> {
  if (needed <= 0) return true
  let found = 0
  return new Promise(resolve => {
    const each = votes.map(async vote => {
      if ((await vote) && ++found >= needed) resolve(true)
    })
    void Promise.all(each).then(() => resolve(found >= needed))
  })
}
