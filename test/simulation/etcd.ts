/**
 * The etcd of a simulated cloud: the in-memory twin as a process of its own on the simulated network, a record of every
 * revision that it ever made, and clients whose transactions now and then meet a bad fate.
 */
import type { Etcd, TxnRequest, WatchEvent } from '../../src/store/etcd.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { Fate, TwinClient } from '../../src/store/twin-client.js'
import type { Dice } from './dice.js'
import type { Network } from './network.js'
import { SimProcess } from './process.js'

export const etcdName = 'etcd'

export interface Revision {
  readonly revision: number
  readonly atMs: number
  readonly events: readonly WatchEvent[]
}

export class SimEtcd {
  readonly process: SimProcess
  readonly twin: EtcdTwin
  /** Everything that was ever written, in order. */
  readonly history: Revision[] = []

  constructor(readonly network: Network) {
    const { world } = network
    this.process = new SimProcess(world, etcdName)
    this.twin = new EtcdTwin(this.process)
    this.twin.onRevision(() => this.#record())
  }

  get revision(): number {
    return this.twin.revision
  }

  /** The JSON value that a key has now; undefined when it has none. */
  newest(key: string): unknown {
    for (const { events } of [...this.history].reverse()) {
      const event = events.find(each => each.key === key)
      if (event) return event.value === null ? undefined : JSON.parse(Buffer.from(event.value).toString())
    }
    return undefined
  }

  /** Requests wait or are lost, leases stand still. */
  away(): void {
    this.process.pause()
    this.twin.stop()
  }

  back(): void {
    if (!this.process.paused) return
    this.twin.resume()
    this.process.resume()
  }

  client(process: SimProcess): EtcdClient {
    const { network } = this
    const wired = (from: SimProcess, to: SimProcess) => (): Promise<void> =>
      new Promise(resolve => network.carry(from.name, to.name, () => to.enter(resolve)))
    const wire = { clock: process, up: wired(process, this.process), down: wired(this.process, process) }
    return new EtcdClient(this.twin.client(wire), network.world.dice.for(`etcd client of ${process.name}`), network)
  }

  #record(): void {
    const { revision } = this
    const { events } = this.twin.news('', '\uffff', revision)!
    const { world } = this.network
    this.history.push({ revision, atMs: world.nowMs, events })
    world.note(`revision ${revision}: ${events.map(nameOf).join(' ')}`)
  }
}

const nameOf = ({ key, value }: WatchEvent): string => {
  const name = key.slice(key.indexOf('/v1/') + 4)
  return value === null ? `-${name}` : `${name}=${value.byteLength}`
}

const fates = {
  'request-lost': 3,
  'reply-lost': 5,
  refused: 2,
  twice: 2,
  late: 3,
} as const

/** One process's client; `troublePercent` of its transactions meet a bad fate. */
export class EtcdClient implements Etcd {
  troublePercent = 0
  readonly range: Etcd['range']
  readonly watch: Etcd['watch']
  readonly grant: Etcd['grant']
  readonly keepAlive: Etcd['keepAlive']
  readonly revoke: Etcd['revoke']

  constructor(
    readonly twin: TwinClient,
    private readonly dice: Dice,
    private readonly network: Network,
  ) {
    this.range = (...args) => twin.range(...args)
    this.watch = (...args) => twin.watch(...args)
    this.grant = (...args) => twin.grant(...args)
    this.keepAlive = (...args) => twin.keepAlive(...args)
    this.revoke = (...args) => twin.revoke(...args)
  }

  txn(request: TxnRequest, deadlineMs: number): ReturnType<Etcd['txn']> {
    if (this.troublePercent > 0 && this.dice.percent(this.troublePercent)) this.twin.plan(this.#fate())
    return this.twin.txn(request, deadlineMs)
  }

  close(): Promise<void> {
    return this.twin.close()
  }

  #fate(): Fate {
    const { world } = this.network
    const fate = this.dice.weighted(fates)
    world.counts.add(`fault: transaction ${fate}`)
    if (fate !== 'late') return fate
    const lateMs = this.dice.between(50, 4_000)
    return new Promise(resolve => world.after(lateMs, 'a late transaction', () => resolve(undefined)))
  }
}
