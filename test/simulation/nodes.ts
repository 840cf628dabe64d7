/**
 * Simulated motherships and rain servers: each holds a session at one replica, looks there what is wanted of it, says
 * what its copies do, and moves on when that replica does not answer. Copies that keep state are the product's own; of
 * the others dice say what they do.
 */
import type { NodeRef } from '../../src/cloud/ids.js'
import { nodeName } from '../../src/cloud/ids.js'
import type { CloudMap } from '../../src/cloud/map.js'
import type { InstanceRecord } from '../../src/cloud/records.js'
import type { ObservedItem } from '../../src/hypervisor/ports.js'
import type { Cloud } from './clients.js'
import type { Dice } from './dice.js'
import type { SimMothership } from './mothership.js'
import type { SimReplica } from './replica.js'

const lookEveryMs = 400
/** Of who keeps state, and at least so long after the last look when something changed. */
const lookWithStateMs = 150
const lookSoonMs = 15
const answerMs = 1_500
/** A closed connection is waited for so long, a silent one so long (N3). */
const closedMs = 300
const silentMs = 2_500

interface Wanted {
  readonly instance: string
  readonly epoch: number
  readonly generation: number
  /** It is not wanted any more, and has ended. */
  readonly ended?: true
}

interface Found {
  readonly wanted: readonly Wanted[]
  readonly revision: number
  readonly kept: readonly { readonly record: InstanceRecord; readonly since: number }[]
}

export class SimNode {
  readonly #dice: Dice
  #at: SimReplica | undefined
  #stopped = false
  #wake: (() => void) | undefined
  #reports = false

  constructor(
    private readonly node: NodeRef,
    private readonly cloud: Cloud,
    private readonly mothership?: SimMothership,
  ) {
    this.#dice = cloud.network.world.dice.for(nodeName(node))
    if (!mothership) return
    mothership.onChanged = () => {
      if (this.#reports) return
      this.#reports = true
      cloud.network.world.after(lookSoonMs, this.node.id, () => this.#wake?.())
    }
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#rest((this.mothership ? lookWithStateMs : lookEveryMs) * this.#dice.between(0.8, 1.2))
      this.#reports = false
      if (!this.#isHere()) continue
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

  /** Where it is not, the replica ends its session in the end. */
  #isHere(): boolean {
    const { mothership } = this
    if (!mothership || (mothership.up && !mothership.paused)) {
      this.#missingSinceMs = undefined
      // Another process has another session.
      if (mothership && mothership.life !== this.#life) this.#forgotten()
      this.#life = mothership?.life ?? 0
      return true
    }
    const { world } = this.cloud.network
    this.#missingSinceMs ??= world.nowMs
    const waitMs = mothership.gone && !mothership.gone.silently ? closedMs : silentMs
    if (world.nowMs - this.#missingSinceMs >= waitMs) this.#forgotten()
    return false
  }

  #missingSinceMs: number | undefined
  #life = 0

  #forgotten(): void {
    const replica = this.#at
    this.#at = undefined
    const number = replica?.sessions.get(nodeName(this.node))
    if (!replica?.replica || number === undefined) return
    replica.sessions.delete(nodeName(this.node))
    replica.process.enter(() => {
      replica.replica?.presence.closeSession(this.node, number).catch(() => undefined)
    })
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
    if (this.#dice.percent(this.mothership ? 0.4 : 1)) return this.#leave(replica)
    const { wanted, revision, kept } = await this.#call(replica, async () => this.#wantedAt(replica))
    const { mothership } = this
    if (mothership && this.#isHere()) mothership.process.enter(() => mothership.apply(revision, kept))
    const items = [...wanted.map(each => this.#itemOf(each)), ...this.#keptItems(kept)]
    await this.#call(replica, async () => {
      const number = replica.sessions.get(nodeName(this.node))
      if (number === undefined || this.#isReplaced(replica, number)) throw new Error('no session here')
      const fresh = items.filter(item => !this.#said(replica.replica!.maps.map, item, number))
      if (fresh.length > 0) replica.replica!.observations.report(this.node.id, number, fresh)
      if (this.node.kind === 'rainserver') replica.applied?.note(this.node, number, { era: 1, revision })
      replica.loads?.note({ node: this.node, cpu: this.#dice.between(0, 900), ram: 10, bandwidth: 10, components: {} })
    })
  }

  /** As the gateway hears of it: another replica has the node now. */
  #isReplaced(replica: SimReplica, number: number): boolean {
    const session = replica.replica?.maps.map.get('sessions', nodeName(this.node))
    return session !== undefined && session.modified > number && session.value.replica !== replica.id
  }

  #itemOf(wanted: Wanted): ObservedItem {
    if (wanted.ended) return { ...wanted, phase: 'stopping' }
    const phase = this.#dice.percent(95) ? 'running' : this.#dice.percent(60) ? 'starting' : 'failed'
    return { ...wanted, phase }
  }

  #keptItems(kept: Found['kept']): ObservedItem[] {
    const keeper = this.mothership?.keeper
    return kept.flatMap(({ record }) => {
      const report = keeper?.report(record.id)
      if (!report) return []
      const broken = keeper!.problem(record.id) !== undefined
      const phase = broken ? 'failed' : keeper!.serves(record.id) ? 'running' : 'starting'
      return [{ instance: record.id, generation: record.generation, phase, ...report }]
    })
  }

  #said(map: CloudMap, { instance, ...item }: ObservedItem, session: number): boolean {
    const seen = map.get('observed', `${this.node.id}/${instance}`)?.value
    if (!seen || seen.session !== session) return false
    const { epoch, generation, phase, copy, ended } = seen
    if (item.ended) return ended === true
    return JSON.stringify({ epoch, generation, phase, copy }) === JSON.stringify(ordered(item))
  }

  /** What is wanted and was not said to run yet. */
  #wantedAt({ replica }: SimReplica): Found {
    const { map } = replica!.maps
    const { revision } = map.order
    if (this.node.kind !== 'mothership') return { wanted: [], revision, kept: [] }
    const wanted: Wanted[] = []
    const kept: { record: InstanceRecord; since: number }[] = []
    for (const instance of [...map.instancesOn(this.node.id)].sort()) {
      const { value, created } = map.get('instances', instance)!
      const { epoch, generation, component, version } = value
      if (map.get('stops', instance)?.value.stage === 'drain') {
        const ended = map.get('observed', `${this.node.id}/${instance}`)?.value.ended === true
        if (!ended) wanted.push({ instance, epoch, generation, ended: true })
        continue
      }
      if (map.get('components', `${component}/${version}`)?.value.state === 'kept') {
        if (this.mothership) kept.push({ record: value, since: created })
        continue
      }
      const seen = map.get('observed', `${this.node.id}/${instance}`)?.value
      const said = seen?.phase === 'running' && seen.epoch === epoch && seen.generation === generation
      if (!said) wanted.push({ instance, epoch, generation })
    }
    return { wanted, revision, kept }
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

  #rest(ms: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.cloud.network.world.after(ms, this.node.id, () => this.#wake?.())
      this.#wake = () => {
        this.#wake = undefined
        cancel()
        resolve()
      }
    })
  }

  #count(name: string): void {
    this.cloud.network.world.counts.add(name)
  }
}

const ordered = ({ epoch, generation, phase, copy }: Omit<ObservedItem, 'instance'>): object => ({
  epoch,
  generation,
  phase,
  copy,
})
