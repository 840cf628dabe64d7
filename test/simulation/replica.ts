/**
 * One simulated hypervisor replica: the product's own store, replica and links, unchanged, in a simulated process. When
 * the process dies, a new one is started under the same id, as a supervisor would.
 */
import { createHash } from 'node:crypto'
import { nodeName } from '../../src/cloud/ids.js'
import { AppliedBook } from '../../src/hypervisor/applied.js'
import { LoadBook } from '../../src/hypervisor/loads.js'
import type { Log, RequestRecord } from '../../src/hypervisor/ports.js'
import { Replica, type ReplicaPorts } from '../../src/hypervisor/replica.js'
import { createPeers, type RunningPeers } from '../../src/peers/peers.js'
import type { Etcd } from '../../src/store/etcd.js'
import type { StoreEvents } from '../../src/store/events.js'
import { openStore, type Store } from '../../src/store/store.js'
import type { Channels } from './channels.js'
import type { EtcdClient, SimEtcd } from './etcd.js'
import type { BrokenCopies } from './mothership.js'
import { SimProcess } from './process.js'
import type { World } from './world.js'

export const clusterName = 'sim'
export const adminToken = createHash('sha256').update('the secret of the simulation').digest('hex')

/** A rule of the product, broken by a port that wraps the real one. */
export interface Broken {
  readonly etcd?: (etcd: Etcd) => Etcd
  readonly ports?: (ports: ReplicaPorts) => ReplicaPorts
  readonly copies?: BrokenCopies
}

export interface ReplicaWorld {
  readonly world: World
  readonly etcd: SimEtcd
  readonly channels: Channels
  /** Errors that the product logged, or ended itself for. */
  readonly errors: string[]
  readonly broken: Broken
}

interface Life {
  readonly process: SimProcess
  readonly etcd: EtcdClient
  readonly kill: (silently: boolean) => void
  store?: Store
  replica?: Replica
  peers?: RunningPeers
  readonly loads: LoadBook
  readonly applied: AppliedBook
}

const restartMs = 300

export class SimReplica {
  readonly url: string
  #lives = 0
  #life: Life | undefined
  /** Numbers of the sessions of nodes, as the gateway would keep them. */
  readonly sessions = new Map<string, number>()
  /** Whether it is to be up. */
  #wanted = false

  constructor(
    readonly id: string,
    private readonly parts: ReplicaWorld,
  ) {
    this.url = `http://${id}:80`
  }

  /** The replica while it serves. */
  get replica(): Replica | undefined {
    return this.up && this.#life?.peers ? this.#life.replica : undefined
  }

  get store(): Store | undefined {
    return this.#life?.store
  }

  get loads(): LoadBook | undefined {
    return this.#life?.loads
  }

  get applied(): AppliedBook | undefined {
    return this.#life?.applied
  }

  get etcd(): EtcdClient | undefined {
    return this.#life?.etcd
  }

  /** Of the life that it has now, or had last. */
  get process(): SimProcess {
    return this.#life?.process ?? new SimProcess(this.parts.world, this.id)
  }

  get up(): boolean {
    return this.#life?.process.alive === true
  }

  start(): void {
    this.#wanted = true
    if (this.up) return
    const { world, etcd, channels } = this.parts
    const dice = world.dice.for(`life ${++this.#lives} of ${this.id}`)
    const process = new SimProcess(world, this.id, dice.between(0.95, 1.05), dice.between(1_000, 1_000_000))
    const client = etcd.client(process)
    const network = channels.of(process, this.url)
    const life: Life = {
      process,
      etcd: client,
      kill: network.kill,
      loads: new LoadBook(process),
      applied: new AppliedBook(),
    }
    this.#life = life
    this.sessions.clear()
    process.onEnd(() => client.twin.vanish())
    world.note(`${this.id} starts`)
    this.#run(life, network, dice).catch((error: unknown) => this.#failed(life, error))
  }

  /** Nothing of it runs any more. `silently`: no other replica is told by a closed connection. */
  crash(silently = false): void {
    if (!this.#life || !this.up) return
    this.parts.world.note(`${this.id} crashes`)
    this.#life.kill(silently)
    this.#life.process.crash()
  }

  /** Orderly, as at an upgrade. One that is started meanwhile comes up again when it has ended. */
  stop(): void {
    const life = this.#life
    this.#wanted = false
    if (!life?.peers) return this.crash()
    const over = (): void => {
      if (life !== this.#life) return
      this.parts.world.note(`${this.id} has stopped`)
      this.crash()
      if (this.#wanted) this.start()
    }
    this.#close(life).then(over, over)
  }

  async #close({ replica, peers, store }: Life): Promise<void> {
    await replica?.stop()
    await peers?.close()
    await store?.close()
  }

  async #run(life: Life, network: ReturnType<Channels['of']>, dice: World['dice']): Promise<void> {
    const { world, broken } = this.parts
    const log = this.#log()
    const incarnation = `${this.id}-${this.#lives}`
    const self = { schema: 1, id: this.id, url: this.url, incarnation }
    const times = { leaderTtlMs: 2_000, presenceTtlMs: 10_000 }
    const shared = { clock: life.process, chance: dice, log }
    const etcd = broken.etcd?.(life.etcd) ?? life.etcd
    const store = await openStore({
      etcd,
      cluster: clusterName,
      replica: self,
      ...times,
      ...shared,
      events: this.#events(),
    })
    life.store = store
    store.presence.onRenumbered = (node, number) => {
      world.counts.add('branch: session put again')
      this.sessions.set(nodeName(node), number)
    }
    const { applied } = life
    const bootstrap = [{ id: adminToken, role: 'admin' as const, subject: 'admin' }]
    const requests = {
      read: async (id: string, since?: number) => this.#noteRecord(await store.requests.read(id, since), since),
    }
    const ports = { ...store, requests, loads: life.loads, applied, ...shared, bootstrap }
    const replica = new Replica(broken.ports?.(ports) ?? ports)
    life.replica = replica
    replica.broken.catch((error: unknown) => {
      this.parts.errors.push(`${this.id} broke: ${messageOf(error)}`)
      this.crash()
      this.#again()
    })
    this.#countRefusals(replica)
    const peers = createPeers({ network, hypervisor: replica, self, loads: life.loads, applied, ...shared })
    replica.start(peers)
    life.peers = peers
  }

  /** What was forwarded and came when the term was over, to be sent to the next leader. */
  #countRefusals(replica: Replica): void {
    const { counts } = this.parts.world
    const accept = replica.accept.bind(replica)
    replica.accept = envelope =>
      accept(envelope).catch((error: unknown) => {
        const message = messageOf(error)
        if (/^the term ended|leads now$/.test(message)) counts.add('branch: refused by the queue of a term that ended')
        else if (/does not lead$/.test(message)) counts.add('branch: refused by who does not lead')
        throw error
      })
  }

  #noteRecord(record: RequestRecord | undefined, since: number | undefined): RequestRecord | undefined {
    if (!record) return undefined
    const kept = since === undefined ? 'request record' : 'answer of a turn'
    this.parts.world.counts.add(record.done ? `branch: ${kept} found` : 'branch: bulk call resumed')
    return record
  }

  /** It could not come up, because etcd was away. */
  #failed(life: Life, error: unknown): void {
    if (life !== this.#life) return
    this.parts.world.counts.add('branch: start given up')
    this.parts.world.note(`${this.id} gives up: ${messageOf(error)}`)
    this.crash()
    this.#again()
  }

  #again(): void {
    this.parts.world.after(restartMs, `start ${this.id}`, () => {
      if (this.#wanted) this.start()
    })
  }

  #events(): StoreEvents {
    const { counts } = this.parts.world
    const note = (name: string, why = ''): void => {
      counts.add(`branch: ${name}`)
      this.parts.world.note(`${this.id}: ${name} ${why}`)
    }
    return {
      onReopen: reason => note('watch reopened', reason),
      onResync: reason => note(reason.includes('compacted') ? 'resync by compaction' : 'resync', reason),
      onAmbiguous: resolved => note(`ambiguous write ${resolved}`),
      onTerm: (event, reason) => note(event === 'won' ? 'term won' : `term ended: ${reason}`),
      onUnreadable: (key, reason) => this.parts.errors.push(`${this.id} cannot read ${key}: ${reason}`),
    }
  }

  #log(): Log {
    const { world, errors } = this.parts
    const say = (level: string) => (fields: object, message: string) => {
      if (world.trace) world.trace(`${' '.repeat(12)}${this.id} ${level}: ${message} ${detailsOf(fields)}`)
      const branch = spoken[message]
      if (branch !== undefined) world.counts.add(`branch: ${branch}`)
    }
    const error = (fields: object, message: string): void => {
      errors.push(`${this.id}: ${message} ${detailsOf(fields)}`)
      say('error')(fields, message)
    }
    return { info: say('info'), warn: say('warn'), error }
  }
}

/** Branches that only the log tells of. */
const spoken: Readonly<Record<string, string>> = {
  'a majority has lost sight of the leader: ending its term': 'takeover',
  'ending a term of this replica that it does not lead any more': 'old term of its own ended',
  'could not stand for election': 'candidature failed',
  'the presence of this replica could not be renewed': 'presence not renewed',
  'the leader key could not be deleted': 'leader key not deleted',
  'moving instances': 'instances moved unasked',
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const detailsOf = (fields: object): string =>
  JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value))
