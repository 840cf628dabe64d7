/**
 * Simulated motherships and rain servers: each holds a session at one replica, looks there what is wanted of it, says
 * what its copies do, and moves on when that replica does not answer.
 */
import type { NodeRef } from '../../src/cloud/ids.js'
import { nodeName } from '../../src/cloud/ids.js'
import type { ObservedItem } from '../../src/hypervisor/ports.js'
import type { Cloud } from './clients.js'
import type { Dice } from './dice.js'
import type { SimReplica } from './replica.js'

const lookEveryMs = 400
const answerMs = 1_500

interface Wanted {
  readonly instance: string
  readonly epoch: number
  readonly generation: number
}

export class SimNode {
  readonly #dice: Dice
  #at: SimReplica | undefined
  #stopped = false

  constructor(
    private readonly node: NodeRef,
    private readonly cloud: Cloud,
  ) {
    this.#dice = cloud.network.world.dice.for(nodeName(node))
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#pause(lookEveryMs * this.#dice.between(0.8, 1.2))
      try {
        if (this.#at) await this.#look(this.#at)
        else await this.#join(this.#dice.pick(this.cloud.replicas))
      } catch {
        if (this.#at) this.#count('branch: node moves')
        this.#at = undefined
      }
    }
  }

  stop(): void {
    this.#stopped = true
  }

  async #join(replica: SimReplica): Promise<void> {
    const { id, kind } = this.node
    await this.#call(replica, async () => {
      const number = await replica.replica!.presence.openSession({ kind, id, address: `ws://${id}:1` })
      replica.sessions.set(nodeName(this.node), number)
    })
    this.#at = replica
  }

  async #look(replica: SimReplica): Promise<void> {
    if (this.#dice.percent(1)) return this.#leave(replica)
    const wanted = await this.#call(replica, async () => this.#wantedAt(replica))
    const items = wanted.map(
      (each): ObservedItem => ({
        ...each,
        phase: this.#dice.percent(95) ? 'running' : this.#dice.percent(60) ? 'starting' : 'failed',
      }),
    )
    await this.#call(replica, async () => {
      const number = replica.sessions.get(nodeName(this.node))
      if (number === undefined) throw new Error('no session here')
      if (items.length > 0) replica.replica!.observations.report(this.node.id, number, items)
      replica.loads?.note({ node: this.node, cpu: this.#dice.between(0, 900), ram: 10, bandwidth: 10, components: {} })
    })
  }

  /** What is wanted and was not said to run yet. */
  #wantedAt({ replica }: SimReplica): Wanted[] {
    const { map } = replica!.maps
    if (this.node.kind !== 'mothership') return []
    return [...map.instancesOn(this.node.id)].sort().flatMap(instance => {
      const { epoch, generation } = map.get('instances', instance)!.value
      const seen = map.get('observed', `${this.node.id}/${instance}`)?.value
      return seen?.phase === 'running' && seen.epoch === epoch && seen.generation === generation
        ? []
        : [{ instance, epoch, generation }]
    })
  }

  async #leave(replica: SimReplica): Promise<void> {
    this.#count('branch: node leaves')
    this.#at = undefined
    await this.#call(replica, async () => {
      const number = replica.sessions.get(nodeName(this.node))
      if (number !== undefined) await replica.replica!.presence.closeSession(this.node, number)
    })
  }

  #call<T>(to: SimReplica, run: () => Promise<T>): Promise<T> {
    return this.cloud.network.call(this.node.id, to.process, answerMs, async () => {
      if (!to.replica) throw new Error('it does not serve')
      return run()
    })
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.cloud.network.world.after(ms, this.node.id, resolve))
  }

  #count(name: string): void {
    this.cloud.network.world.counts.add(name)
  }
}
