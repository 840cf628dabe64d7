/** A simulated operator who refreshes all instances of a version, and pauses, resumes and ends what is under way. */
import { type Command, rolloutActions } from '../../src/cloud/commands.js'
import { isOpen } from '../../src/cloud/decide/rollouts.js'
import type { CloudMap } from '../../src/cloud/map.js'
import { type Cloud, SimClient } from './clients.js'
import type { Dice } from './dice.js'

export class RolloutClient {
  readonly #dice: Dice
  readonly #client: SimClient

  constructor(
    readonly name: string,
    private readonly cloud: Cloud,
  ) {
    this.#dice = cloud.network.world.dice.for(`wishes of ${name}`)
    this.#client = new SimClient(name, cloud)
  }

  async use(untilMs: number): Promise<void> {
    const { world } = this.cloud.network
    while (world.nowMs < untilMs) {
      await new Promise<void>(resolve => world.after(this.#dice.between(50, 700), this.name, resolve))
      const map = this.#dice.pick(this.cloud.replicas).replica?.maps.map
      if (map) await this.#client.ask(this.#wishFrom(map))
    }
  }

  #wishFrom(map: CloudMap): Command {
    const open = [...map.all('rollouts')].filter(([, { value }]) => isOpen(value)).sort(([a], [b]) => (a < b ? -1 : 1))
    const paused = open.find(([, { value }]) => value.phase === 'paused')
    if (paused && this.#dice.percent(60)) {
      return { op: 'steer-rollout', body: { id: paused[0], action: this.#dice.percent(70) ? 'resume' : 'abort' } }
    }
    if (open.length > 0 && this.#dice.percent(30)) {
      return { op: 'steer-rollout', body: { id: open[0]![0], action: this.#dice.pick(rolloutActions) } }
    }
    return {
      op: 'start-rollout',
      body: {
        component: this.#dice.pick(['shop', 'shop', 'shop', 'cart', 'keep']),
        version: this.#dice.pick(['1.0', '1.0', '1.1']),
        maxUnavailable: this.#dice.pick([1, 3, '25%', '100%']),
        onFailure: this.#dice.pick(['pause', 'return'] as const),
        timeout: this.#dice.pick(['500ms', '2s']),
      },
    }
  }
}
