/**
 * A hypervisor replica: the same at every replica but for who leads. Takes commands from its edges and carries them to
 * the leader, here or over a link, until they are answered or the caller's time is up (S8 makes sending again safe).
 */
import type { Answer, Envelope } from '../cloud/commands.js'
import type { PlacementQuestion, PlacementResult } from '../cloud/decide/verdict.js'
import { CloudError } from '../cloud/errors.js'
import type { NodeRef } from '../cloud/ids.js'
import type { CloudMap } from '../cloud/map.js'
import type { RebalancePlan } from '../cloud/placement/plan.js'
import type { Applied } from './applied.js'
import { Carrier } from './carrier.js'
import { checkCommand } from './check.js'
import type { Hypervisor, Status, Suspected } from './hypervisor.js'
import { Leading, type LeadingPorts } from './leading.js'
import { Liveness } from './liveness.js'
import { createPlacer, type Placer } from './place.js'
import type {
  Blobs,
  Chance,
  Clock,
  Decisions,
  Election,
  Loads,
  Log,
  Maps,
  Observations,
  Peers,
  Presence,
  Requests,
  Room,
  Term,
} from './ports.js'
import { Takeover } from './takeover.js'
import { Wires } from './wires.js'

/** How long a term may take to begin once its key is seen. */
const beginWithinMs = 500
export interface ReplicaPorts {
  readonly maps: Maps
  readonly election: Election
  readonly requests: Requests
  readonly decisions: Decisions
  readonly room?: Room
  readonly blobs: Blobs
  readonly presence: Presence
  readonly observations: Observations
  readonly loads: Loads
  readonly applied: Applied
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly bootstrap: LeadingPorts['bootstrap']
}

export class Replica implements Hypervisor {
  readonly id: string
  readonly url: string
  readonly maps: Maps
  readonly blobs: Blobs
  readonly requests: Requests
  readonly decisions: Decisions
  readonly loads: Loads
  readonly applied: Applied
  readonly wires: Wires
  readonly presence: Presence
  readonly observations: Observations
  readonly #ports: ReplicaPorts
  readonly #liveness: Liveness
  readonly #placer: Placer
  #leading: Leading | undefined
  #peers: Peers | undefined
  #takeover: Takeover | undefined
  /** Who waits for this replica to begin to lead. */
  readonly #awaiting = new Set<() => void>()
  readonly #carrier: Carrier
  #stopped = false
  /** Rejects when this replica can no longer trust itself: the process should end, and start anew. */
  readonly broken: Promise<never>
  readonly #break: (error: unknown) => void

  constructor(ports: ReplicaPorts) {
    this.#ports = ports
    this.id = ports.presence.replica.id
    this.url = ports.presence.replica.url
    this.maps = ports.maps
    this.#carrier = new Carrier({ ...ports, attempt: (envelope, withinMs) => this.#attempt(envelope, withinMs) })
    this.blobs = ports.blobs
    this.requests = ports.requests
    this.decisions = ports.decisions
    this.loads = ports.loads
    this.applied = ports.applied
    this.presence = ports.presence
    this.observations = ports.observations
    this.#liveness = new Liveness(
      ports.maps,
      () => ports.clock.nowMs(),
      replica => this.#peers?.lostForMs(replica),
    )
    this.wires = new Wires(ports.maps)
    this.#placer = createPlacer({ ...ports, wires: this.wires })
    let fail!: (error: unknown) => void
    this.broken = new Promise<never>((_, reject) => (fail = reject))
    this.broken.catch(() => undefined)
    this.#break = fail
  }

  /** The links need the replica, and the replica the links: so they are given afterwards. Begins to campaign. */
  start(peers: Peers): void {
    const { maps, election, clock, log } = this.#ports
    this.#peers = peers
    const takeover = new Takeover({ self: this.id, maps, election, peers, clock, log })
    this.#takeover = takeover
    election.stand({
      onTerm: term => void this.#lead(term),
      hearsMajority: () => takeover.hearsMajority(),
      onCutOff: token => peers.yield(token),
    })
  }

  /** Stops planning, lets go of the leader key and stands for election no more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#takeover?.close()
    if (this.#leading) await this.#leading.stop()
    else await this.#ports.election.resign()
    this.#liveness.close()
    this.#placer.close()
    this.wires.close()
  }

  place(map: CloudMap, question: PlacementQuestion): PlacementResult {
    return this.#placer.place(map, question)
  }

  plan(movesMax: number): RebalancePlan {
    return this.#placer.plan(this.maps.map, movesMax)
  }

  goneForMs(node: NodeRef): number | undefined {
    return this.#liveness.goneForMs(node)
  }

  status(): Status {
    const leader = this.maps.map.get('leader')
    return {
      leader: leader?.value.replica ?? null,
      term: leader?.created ?? null,
      leading: this.#leading !== undefined,
      ready: this.maps.map.order.revision > 0,
      queued: this.#leading?.queue.length ?? 0,
      storeFull: this.#ports.room?.full ?? false,
    }
  }

  agreesThatGone(leader: Suspected): boolean {
    return this.#takeover?.agrees(leader) ?? false
  }

  async endTerm(term: number): Promise<void> {
    await this.#ports.election.endTermOf(term)
  }

  async relay(envelope: Envelope, deadlineMs: number): Promise<Answer> {
    const leader = this.#ports.election.leader()
    const here = this.#leading !== undefined || leader?.replica === this.id
    if (here || !leader || !this.#peers?.hears(leader)) return this.accept(envelope)
    checkCommand(envelope.command)
    return this.#peers.forward(leader.replica, envelope, deadlineMs)
  }

  async accept(envelope: Envelope): Promise<Answer> {
    checkCommand(envelope.command)
    // Who asks may have seen this replica win before it has seen that itself.
    const leader = this.#ports.election.leader()
    if (!this.#leading && !this.#stopped && (!leader || this.#hasWon())) await this.#untilLeading(beginWithinMs)
    if (!this.#leading) throw new CloudError('no-leader', `replica ${this.id} does not lead`)
    return this.#leading.queue.accept(envelope)
  }

  submit(envelope: Envelope, deadlineMs: number): Promise<Answer> {
    return this.#carrier.submit(envelope, deadlineMs)
  }

  async #attempt(envelope: Envelope, deadlineMs: number): Promise<Answer> {
    if (!this.#leading && this.#hasWon()) await this.#untilLeading(Math.min(deadlineMs, beginWithinMs))
    if (this.#leading) return this.#within(this.#leading.queue.accept(envelope), deadlineMs)
    const leader = this.#ports.election.leader()
    if (!leader || leader.replica === this.id || !this.#peers) {
      throw new CloudError('no-leader', 'no replica leads at the moment')
    }
    return this.#peers.forward(leader.replica, envelope, deadlineMs)
  }

  /** The leader key is this process's, and the term is about to begin. */
  #hasWon(): boolean {
    const leader = this.#ports.election.leader()
    if (this.#stopped) return false
    return leader?.replica === this.id && leader.incarnation === this.#ports.presence.replica.incarnation
  }

  /** At most so long, and not once the map shows that another one leads. */
  #untilLeading(maxMs: number): Promise<void> {
    return new Promise(resolve => {
      const finish = (): void => {
        this.#awaiting.delete(finish)
        unsubscribe()
        cancel()
        resolve()
      }
      const unsubscribe = this.maps.onChange(changes => {
        if (changes.some(each => each.kind === 'leader' && each.value && each.value.replica !== this.id)) finish()
      })
      const cancel = this.#ports.clock.after(maxMs, finish)
      this.#awaiting.add(finish)
    })
  }

  #within(answer: Promise<Answer>, deadlineMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const cancel = this.#ports.clock.after(deadlineMs, () =>
        reject(new CloudError('timeout', 'the leader did not answer in time')),
      )
      void answer.then(resolve, reject).finally(cancel)
    })
  }

  async #lead(term: Term): Promise<void> {
    if (this.#stopped) return
    const { place, plan, evenness } = this.#placer
    const leading = new Leading(term, {
      ...this.#ports,
      place,
      plan,
      evenness,
      liveness: this.#liveness,
      wires: this.wires,
    })
    this.#leading = leading
    const over = (): void => {
      if (this.#leading === leading) this.#leading = undefined
    }
    // What comes now is for the next leader, even while the last transaction of this one is still away.
    void term.ended.then(over)
    for (const finish of [...this.#awaiting]) finish()
    try {
      await leading.run()
    } catch (error) {
      this.#ports.log.error({ err: error }, 'the leader cannot go on')
      this.#break(error)
    } finally {
      over()
    }
  }
}
