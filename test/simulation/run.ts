/**
 * One run: a whole cloud in one process, by seed. It is set up, used while things go wrong, healed, asked whether it
 * still works, left to settle, and then everything that happened is checked.
 */
import type { InstanceRecord } from '../../src/cloud/records.js'
import { Channels } from './channels.js'
import { check } from './checkers/all.js'
import { keys } from './checkers/ledger.js'
import { type Cloud, SimClient } from './clients.js'
import { SimEtcd } from './etcd.js'
import { Faults, type FaultWeights } from './faults.js'
import { History } from './history.js'
import { SimMothership } from './mothership.js'
import { Network } from './network.js'
import { SimNode } from './nodes.js'
import { type Broken, SimReplica } from './replica.js'
import { RolloutClient } from './rollout-clients.js'
import { StateClient } from './state-clients.js'
import { firstWishes, keptInstances, keptWish, motherships, wishFrom } from './wishes.js'
import { World } from './world.js'

export interface RunOptions {
  /** A rule of the product that is broken, to see that the checkers notice. */
  readonly broken?: Broken
  /** Which faults there are, and how often each; absent: all of them. */
  readonly weights?: FaultWeights
  /** How long things go wrong, ms; absent: by seed, 3,000 to 9,000. */
  readonly forMs?: number
  readonly trace?: (line: string) => void
}

export interface RunResult {
  readonly seed: number
  /** What was not as it has to be. */
  readonly violations: readonly string[]
  /** Of the whole history: equal for equal seeds. */
  readonly hash: string
  readonly counts: Readonly<Record<string, number>>
  readonly events: number
  readonly simulatedMs: number
}

const beginWithinMs = 20_000
const answerWithinMs = 10_000
const settleWithinMs = 40_000
const lastLooks = 60

export async function run(seed: number, { broken = {}, weights, forMs, trace }: RunOptions = {}): Promise<RunResult> {
  const world = new World(seed, trace)
  const sim = new Simulation(world, broken, weights, forMs)
  await sim.run()
  return {
    seed,
    violations: sim.violations,
    hash: world.hash,
    counts: world.counts.all,
    events: world.events,
    simulatedMs: Math.round(world.nowMs),
  }
}

class Simulation {
  readonly violations: string[] = []
  readonly #network: Network
  readonly #channels: Channels
  readonly #etcd: SimEtcd
  readonly #replicas: SimReplica[]
  readonly #cloud: Cloud
  readonly #clients: SimClient[]
  readonly #stateClients: StateClient[]
  readonly #motherships: SimMothership[]
  readonly #nodes: SimNode[]
  readonly #faults: Faults

  constructor(
    private readonly world: World,
    broken: Broken,
    weights: FaultWeights | undefined,
    private readonly forMs: number | undefined,
  ) {
    this.#network = new Network(world)
    this.#channels = new Channels(this.#network)
    this.#etcd = new SimEtcd(this.#network)
    const parts = { world, etcd: this.#etcd, channels: this.#channels, errors: this.violations, broken }
    const size = world.dice.for('size').weighted({ 3: 8, 2: 1, 5: 1 })
    this.#replicas = Array.from({ length: Number(size) }, (_, index) => new SimReplica(`h${index + 1}`, parts))
    this.#motherships = motherships.map(id => {
      const copies = { all: motherships, broken: broken.copies, errors: this.violations }
      return new SimMothership(id, { world, channels: this.#channels, ...copies })
    })
    const [network, etcd, replicas] = [this.#network, this.#etcd, this.#replicas]
    this.#cloud = { network, etcd, replicas, history: new History(), motherships: this.#motherships }
    this.#clients = ['c1', 'c2', 'c3'].map(name => new SimClient(name, this.#cloud))
    this.#nodes = [
      ...this.#motherships.map(each => new SimNode({ kind: 'mothership', id: each.id }, this.#cloud, each)),
      new SimNode({ kind: 'rainserver', id: 'r1' }, this.#cloud),
    ]
    this.#stateClients = ['s1', 's2'].map(name => new StateClient(name, this.#cloud))
    const isCovered = (mothership: SimMothership): boolean => this.#isCovered(mothership)
    this.#faults = new Faults({ ...this.#cloud, channels: this.#channels, isCovered }, weights)
  }

  /** What a copy forgets is to be had from another one that counts in sync. */
  #isCovered({ id }: SimMothership): boolean {
    return Object.keys(keptInstances).every(instance => {
      const record = this.#etcd.newest(keys.record('instances', instance)) as InstanceRecord | undefined
      if (!record?.inSync.includes(id)) return true
      return this.#motherships.some(other => {
        if (other.id === id || !record.inSync.includes(other.id)) return false
        const says = other.keeper?.report(instance)?.copy
        return says?.sound === true && says.journal === record.journals?.[other.id]
      })
    })
  }

  async run(): Promise<void> {
    if (!(await this.#setUp())) return
    await this.#trouble()
    this.#faults.heal()
    await this.#answersAgain()
    await this.#looksAgain()
    await this.#settles()
    const { etcd, history, replicas } = this.#cloud
    const count = (name: string): void => this.world.counts.add(name)
    this.violations.push(
      ...check({ revisions: etcd.history, history, replicas, motherships: this.#motherships, count }),
    )
    for (const process of [...replicas, ...this.#motherships]) process.crash()
    etcd.process.crash()
  }

  async #setUp(): Promise<boolean> {
    for (const process of [...this.#replicas, ...this.#motherships]) process.start()
    let ready = false
    const first = async (): Promise<void> => {
      await Promise.all(firstWishes().map(wish => this.#clients[0]!.ask(wish, true)))
      for (const id of Object.keys(keptInstances)) {
        await this.#clients[0]!.ask(keptWish(id as keyof typeof keptInstances), true)
      }
      ready = true
    }
    void this.#try(first())
    for (const node of this.#nodes) void this.#try(node.run())
    const begun = await this.world.run(beginWithinMs, () => ready)
    if (!begun) this.violations.push(`no cloud after ${beginWithinMs} ms`)
    return begun
  }

  /** As long as things go wrong, everybody asks for something. */
  async #trouble(): Promise<void> {
    const forMs = this.forMs ?? this.world.dice.for('length').between(3_000, 9_000)
    const untilMs = this.world.nowMs + forMs
    let busy = this.#clients.length + this.#stateClients.length + 1
    void this.#try(this.#faults.run())
    for (const client of this.#clients) {
      void this.#try(this.#use(client, untilMs)).finally(() => busy--)
    }
    for (const client of this.#stateClients) void this.#try(client.use(untilMs)).finally(() => busy--)
    void this.#try(new RolloutClient('operator', this.#cloud).use(untilMs)).finally(() => busy--)
    await this.world.run(forMs)
    this.#faults.heal()
    if (!(await this.world.run(60_000, () => busy === 0))) this.violations.push('users wait for ever')
  }

  async #use(client: SimClient, untilMs: number): Promise<void> {
    const dice = this.world.dice.for(`wishes of ${client.name}`)
    const { history } = this.#cloud
    while (this.world.nowMs < untilMs) {
      await new Promise<void>(resolve => this.world.after(dice.between(5, 250), client.name, resolve))
      const done = history.calls.filter(
        each => each.keyed && each.outcome.kind === 'ok' && changed(each.outcome.answer),
      )
      if (dice.percent(12)) await client.read(dice.percent(50))
      else if (dice.percent(6) && done.length > 0) await client.repeat(dice.pick(done))
      else {
        const map = dice.pick(this.#replicas).replica?.maps.map
        const wish = map && wishFrom(dice, map)
        if (wish?.op === 'instantiate' && wish.body.bulk && dice.percent(40)) this.#faults.crashLeaderSoon()
        if (wish) await client.ask(wish)
      }
    }
  }

  /** Liveness: healed, every replica has a new command acknowledged in time. */
  async #answersAgain(): Promise<void> {
    let waiting = this.#replicas.length
    for (const [index, replica] of this.#replicas.entries()) {
      const probe = new SimClient(`probe ${replica.id}`, { ...this.#cloud, replicas: [replica] })
      const ask = async (): Promise<void> => {
        const change = { fragmentDeadlineMs: 500 + index }
        while (!(await probe.ask({ op: 'put-settings', body: { change } }, true))) {
          await new Promise<void>(resolve => this.world.after(50, probe.name, resolve))
        }
        waiting--
      }
      void this.#try(ask())
    }
    const ok = await this.world.run(answerWithinMs, () => waiting === 0)
    if (!ok)
      this.violations.push(
        `liveness: ${waiting} replicas answer no command in ${answerWithinMs} ms after all is healed`,
      )
  }

  /** Liveness: what keeps state can be read again, in its newest version, unless it was lost. */
  async #looksAgain(): Promise<void> {
    const client = new StateClient('last look', this.#cloud)
    const waiting = new Set(Object.keys(keptInstances))
    for (const instance of waiting) {
      const look = async (): Promise<void> => {
        for (const [at] of Array.from({ length: lastLooks }).entries()) {
          const mothership = this.#motherships[at % this.#motherships.length]!
          if (mothership.sinceOf(instance) !== undefined && (await client.look(instance, 0, mothership, true))) break
          await new Promise<void>(resolve => this.world.after(100, client.name, resolve))
        }
        waiting.delete(instance)
      }
      void this.#try(look())
    }
    await this.world.run(lastLooks * 2_000, () => waiting.size === 0)
  }

  /** Until nothing is written any more for a while, and every memory has seen all of it. */
  async #settles(): Promise<void> {
    // What takes several steps waits for the word of nodes.
    await this.world.run(settleWithinMs, () => this.#replicas.every(each => hasEnded(each)))
    for (const node of this.#nodes) node.stop()
    let revision = 0
    let sinceMs = this.world.nowMs
    const still = (): boolean => {
      if (this.#etcd.revision !== revision) {
        revision = this.#etcd.revision
        sinceMs = this.world.nowMs
      }
      return this.world.nowMs - sinceMs >= 3_000 && this.#replicas.every(each => hasEnded(each))
    }
    if (!(await this.world.run(settleWithinMs, still))) {
      this.violations.push(`liveness: the cloud has not settled ${settleWithinMs} ms after all is healed`)
    }
  }

  /** What is thrown here is a bug of the simulation, or an answer that nobody may get. */
  async #try(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.violations.push(`an unexpected failure: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
    }
  }
}

/** Nothing that takes several steps is under way: some of them wait for longer than nothing is written. */
function hasEnded({ replica }: SimReplica): boolean {
  const map = replica?.maps.map
  if (!map) return true
  const runs = [...map.all('rollouts')].some(([, { value }]) => value.phase === 'running')
  return !runs && map.count('stops') + map.count('removals') === 0
}

const changed = ({ outcome }: { readonly outcome: string }): boolean => outcome !== 'unchanged'
