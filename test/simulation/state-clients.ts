/**
 * Simulated users of kept state: each changes and reads it at whatever mothership, and sends a change again under its id,
 * elsewhere, when no answer comes.
 */
import { CloudError } from '../../src/cloud/errors.js'
import type { Json } from '../../src/cloud/replication/entry.js'
import type { Cloud } from './clients.js'
import type { Dice } from './dice.js'
import type { StateUpdate } from './history.js'
import { logOf, type SimMothership } from './mothership.js'
import { CallFailure } from './network.js'
import { keptInstances } from './wishes.js'

const attemptsMax = 5
const withinMs = 1_500

export class StateClient {
  readonly #dice: Dice
  #updates = 0

  constructor(
    readonly name: string,
    private readonly cloud: Cloud,
  ) {
    this.#dice = cloud.network.world.dice.for(name)
  }

  async use(untilMs: number): Promise<void> {
    const { world } = this.cloud.network
    while (world.nowMs < untilMs) {
      await this.#pause(this.#dice.between(5, 120))
      const instance = this.#dice.pick(Object.keys(keptInstances))
      if (this.#dice.percent(65)) await this.#update(instance)
      else await this.look(instance, this.#dice.percent(50) ? 0 : Number.POSITIVE_INFINITY)
    }
  }

  async #update(instance: string): Promise<void> {
    const { network, history } = this.cloud
    const { world } = network
    let update: StateUpdate | undefined
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (attempt > 0) await this.#pause(this.#dice.between(5, 200))
      const mothership = this.#anyMothership()
      const since = mothership.sinceOf(instance)
      // Another life of the instance is another instance.
      if (since === undefined || (update && update.since !== since)) continue
      if (!update) {
        const id = `${this.name}.${++this.#updates}`
        const begunMs = world.nowMs
        update = { client: this.name, instance, since, id, begunMs, endedMs: Infinity, outcome: { kind: 'unknown' } }
        history.updates.push(update)
      } else world.counts.add('branch: change of state sent again')
      const outcome = await this.#once(mothership, update)
      update.outcome = outcome
      if (outcome.kind !== 'unknown') update.endedMs = world.nowMs
      world.note(`${this.name} ${instance} ${update.id} at ${mothership.id}: ${JSON.stringify(outcome)}`)
      if (outcome.kind === 'made') return world.counts.add('branch: state changed')
      if (outcome.kind === 'refused') return
    }
  }

  async #once(mothership: SimMothership, { instance, since, id }: StateUpdate): Promise<StateUpdate['outcome']> {
    try {
      const { seq, reply } = await this.#call(mothership, withinMs, () => {
        if (mothership.sinceOf(instance) !== since) throw new CallFailure('refused')
        return mothership.updates(instance, since).update(id, added(id), withinMs)
      })
      return { kind: 'made', seq, reply }
    } catch (error) {
      return this.#failed(error)
    }
  }

  #failed(error: unknown): { kind: 'refused' | 'unknown' } {
    if (error instanceof CallFailure) return { kind: 'unknown' }
    if (!(error instanceof CloudError)) throw error
    const passes = error.code === 'timeout' || error.code === 'busy'
    this.cloud.network.world.counts.add(`answer: state ${error.code}`)
    return { kind: passes ? 'unknown' : 'refused' }
  }

  /** `last`: after everything is healed. False when nothing could be read. */
  async look(instance: string, staleMsMax: number, mothership = this.#anyMothership(), last = false): Promise<boolean> {
    const { network, history } = this.cloud
    const { world } = network
    const since = mothership.sinceOf(instance)
    if (since === undefined) return false
    const begunMs = world.nowMs
    try {
      const found = await this.#call(mothership, withinMs, async () => {
        const read = await mothership.keeper!.read(instance, staleMsMax, withinMs)
        if ('kind' in read) return undefined
        return { seq: read.seq, staleForMs: read.staleForMs, log: logOf(read.document) }
      })
      if (!found || mothership.sinceOf(instance) !== since) return false
      const looked = {
        client: this.name,
        mothership: mothership.id,
        instance,
        since,
        begunMs,
        endedMs: world.nowMs,
        last,
      }
      history.looks.push({ ...looked, ...found })
      world.counts.add(found.staleForMs === 0 ? 'branch: state read at the primary' : 'branch: state read at a copy')
      return true
    } catch (error) {
      if (error instanceof CallFailure || error instanceof CloudError) return false
      throw error
    }
  }

  #call<T>(to: SimMothership, ms: number, run: () => Promise<T>): Promise<T> {
    return this.cloud.network.call(this.name, to.process, ms + 100, async () => {
      if (!to.keeper) throw new CallFailure('refused')
      return run()
    })
  }

  #anyMothership(): SimMothership {
    return this.#dice.pick(this.cloud.motherships)
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.cloud.network.world.after(ms, this.name, resolve))
  }
}

const added =
  (id: string) =>
  (draft: Json): number => {
    const state = draft as { log?: string[] }
    state.log ??= []
    state.log.push(id)
    return state.log.length
  }
