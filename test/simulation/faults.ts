/**
 * What goes wrong in a run, by seed: one fault after the other begins, some last a while, and several may be there at
 * once. `heal` ends all of them.
 */
import type { Channels } from './channels.js'
import type { Dice } from './dice.js'
import { etcdName, type SimEtcd } from './etcd.js'
import type { SimMothership } from './mothership.js'
import type { Heal, Network } from './network.js'
import type { SimReplica } from './replica.js'

export interface FaultPorts {
  readonly network: Network
  readonly channels: Channels
  readonly etcd: SimEtcd
  readonly replicas: readonly SimReplica[]
  readonly motherships: readonly SimMothership[]
  /** Whether each copy in sync there has another one in sync elsewhere that is sound. */
  isCovered(mothership: SimMothership): boolean
}

/** How often each is drawn, beside the others. */
const usual = {
  crash: 10,
  'crash without a word': 4,
  'crash of all': 1,
  'orderly stop': 4,
  pause: 8,
  'slow process': 4,
  'cut from etcd': 6,
  'cut to etcd one way': 4,
  'cut from etcd one way': 5,
  'cut between replicas': 5,
  'cut between replicas one way': 5,
  isolation: 4,
  'link reset': 4,
  'etcd connection reset': 4,
  'etcd connection refused': 3,
  'watch cut': 4,
  'watch stalled': 4,
  compaction: 4,
  'compaction while a watch is stalled': 5,
  'leader lease revoked': 4,
  'presence lease revoked': 4,
  'etcd away': 3,
  'bad fates of transactions': 10,
  'slow path': 6,
  'cut from users': 3,
  'mothership crash': 8,
  'mothership crash without a word': 3,
  'mothership crash of all': 1,
  'mothership pause': 5,
  'mothership slow': 3,
  'mothership cut from replicas': 3,
  'mothership isolation': 3,
  'cut between motherships': 4,
  'cut between motherships one way': 4,
  'copy link reset': 3,
  'journal wiped': 2,
  'journal cut short': 2,
  'disk lies': 3,
  'disk full': 2,
  'disk slow': 3,
} as const

export type Fault = keyof typeof usual
export type FaultWeights = Readonly<Partial<Record<Fault, number>>>
export const faultNames = Object.keys(usual) as Fault[]

const bothWays = (one: string, other: string): [from: string, to: string][] => [
  [one, other],
  [other, one],
]

export class Faults {
  readonly #dice: Dice
  readonly #ends = new Set<() => void>()
  #over = false

  constructor(
    private readonly ports: FaultPorts,
    private readonly weights: FaultWeights = usual,
  ) {
    this.#dice = ports.network.world.dice.for('faults')
  }

  /** Begins one fault after the other until they are healed. */
  async run(): Promise<void> {
    while (!this.#over) {
      await new Promise<void>(resolve => this.#world.after(this.#dice.between(100, 1_400), 'next fault', resolve))
      if (!this.#over) this.begin(this.#dice.weighted(this.weights as Record<Fault, number>))
    }
  }

  begin(fault: Fault): void {
    this.#world.counts.add(`fault: ${fault}`)
    this.#world.note(`fault: ${fault}`)
    this.#begin(fault)
  }

  /** For a call that needs several transactions: who leads dies soon, maybe between two of them. */
  crashLeaderSoon(): void {
    this.#world.after(this.#dice.between(1, 12), 'crash amid a bulk call', () => {
      const leader = this.ports.replicas.find(each => each.replica?.status().leading)
      if (!leader || this.#over) return
      this.#world.counts.add('fault: crash amid a bulk call')
      this.#crash(leader, false)
    })
  }

  /** Everything works again: what is down is started. */
  heal(): void {
    this.#over = true
    for (const end of [...this.#ends]) end()
    this.ports.network.healAll()
    this.ports.etcd.back()
    for (const mothership of this.ports.motherships) {
      mothership.disk.full = false
      mothership.disk.slowMs = 2
      mothership.process.slow(0)
      mothership.process.resume()
      mothership.start()
    }
    for (const replica of this.ports.replicas) {
      if (replica.etcd) replica.etcd.troublePercent = 0
      replica.process.slow(0)
      replica.process.resume()
      replica.start()
    }
    this.#world.note('healed')
  }

  get #world() {
    return this.ports.network.world
  }

  #begin(fault: Fault): void {
    const { etcd, channels, replicas } = this.ports
    const replica = this.#leaderOrAny()
    const other = this.#dice.pick(replicas)
    switch (fault) {
      case 'crash':
        return this.#crash(replica, false)
      case 'crash without a word':
        return this.#crash(replica, true)
      case 'crash of all':
        for (const each of replicas) this.#crash(each, this.#dice.percent(50))
        return
      case 'orderly stop':
        replica.stop()
        return this.#for(this.#dice.between(300, 2_000), () => replica.start())
      case 'pause': {
        const { process } = replica
        process.pause()
        return this.#for(this.#dice.between(50, 5_000), () => process.resume())
      }
      case 'slow process': {
        const { process } = replica
        process.slow(this.#dice.between(1, 12))
        return this.#for(this.#dice.between(500, 3_000), () => process.slow(0))
      }
      case 'cut from etcd':
        return this.#cut(replica, [replica.id, etcdName], [etcdName, replica.id])
      case 'cut to etcd one way':
        return this.#cut(replica, [replica.id, etcdName])
      case 'cut from etcd one way':
        return this.#cut(replica, [etcdName, replica.id])
      case 'cut between replicas':
        return this.#cut(replica, [replica.id, other.id], [other.id, replica.id])
      case 'cut between replicas one way':
        return this.#cut(replica, [replica.id, other.id])
      case 'isolation':
        return this.#isolate(replica)
      case 'link reset':
        return channels.reset(replica.id, other.id)
      case 'etcd connection reset':
        return replica.etcd?.twin.reset()
      case 'etcd connection refused': {
        const twin = replica.etcd?.twin
        twin?.cut('refused')
        return this.#for(this.#dice.between(100, 2_500), () => twin?.heal())
      }
      case 'watch cut':
        return replica.etcd?.twin.endWatches('the watch was cut')
      case 'watch stalled':
        return this.#stallWatch(replica)
      case 'compaction':
        return this.#compact()
      case 'compaction while a watch is stalled':
        this.#stallWatch(replica)
        this.#world.after(this.#dice.between(300, 1_500), 'compaction', () => this.#compact())
        return
      case 'leader lease revoked':
        return this.#revoke(key => key.endsWith('/map/leader'))
      case 'presence lease revoked':
        return this.#revoke(key => key.endsWith(`/map/replicas/${replica.id}`))
      case 'etcd away':
        etcd.away()
        return this.#for(this.#dice.between(200, 3_000), () => etcd.back())
      case 'bad fates of transactions': {
        const client = replica.etcd
        if (client) client.troublePercent = this.#dice.pick([10, 30, 60])
        return this.#for(this.#dice.between(500, 4_000), () => {
          if (client) client.troublePercent = 0
        })
      }
      case 'slow path': {
        const [from, to] = this.#dice.pick([
          [replica.id, etcdName],
          [etcdName, replica.id],
          [replica.id, other.id],
        ] as const)
        this.ports.network.slow(from, to, this.#dice.between(10, 400))
        return this.#for(this.#dice.between(500, 4_000), () => this.ports.network.slow(from, to, 0))
      }
      case 'cut from users':
        return this.#cutUsers(replica)
      default:
        return this.#beginAtMothership(fault)
    }
  }

  #beginAtMothership(fault: Fault): void {
    const { channels, motherships, replicas } = this.ports
    const mothership = this.#dice.pick(motherships)
    const other = this.#dice.pick(motherships)
    switch (fault) {
      case 'mothership crash':
        return this.#crashMothership(mothership)
      case 'mothership crash without a word':
        return this.#crashMothership(mothership, { silently: true })
      case 'mothership crash of all':
        for (const each of motherships) this.#crashMothership(each)
        return
      case 'mothership pause': {
        const { process } = mothership
        process.pause()
        return this.#for(this.#dice.between(50, 5_000), () => process.resume())
      }
      case 'mothership slow': {
        const { process } = mothership
        process.slow(this.#dice.between(1, 8))
        return this.#for(this.#dice.between(300, 2_000), () => process.slow(0))
      }
      case 'mothership cut from replicas':
        return this.#cutPaths(replicas.flatMap(({ id }) => bothWays(mothership.id, id)))
      case 'mothership isolation': {
        // Its ways to the others and those to the replicas come back apart.
        this.#cutPaths(replicas.flatMap(({ id }) => bothWays(mothership.id, id)))
        return this.#cutPaths(motherships.flatMap(({ id }) => bothWays(mothership.id, id)))
      }
      case 'cut between motherships':
        return this.#cutPaths(bothWays(mothership.id, other.id))
      case 'cut between motherships one way':
        return this.#cutPaths([[mothership.id, other.id]])
      case 'copy link reset':
        return channels.reset(mothership.id, other.id)
      case 'journal wiped':
        return this.#crashMothership(mothership, { after: () => mothership.wipe('gone') })
      case 'journal cut short':
        return this.#crashMothership(mothership, { after: () => mothership.wipe('cut short') })
      case 'disk lies':
        // One at a time, and while the others can tell: of a lie by all of them at once nobody could know.
        if (!this.ports.isCovered(mothership)) return
        return this.#crashMothership(mothership, { after: () => mothership.disk.lie() })
      case 'disk full': {
        mothership.disk.full = true
        return this.#for(this.#dice.between(300, 3_000), () => {
          mothership.disk.full = false
        })
      }
      case 'disk slow': {
        mothership.disk.slowMs = this.#dice.between(20, 900)
        return this.#for(this.#dice.between(300, 3_000), () => {
          mothership.disk.slowMs = 2
        })
      }
    }
  }

  /** Not while another one, whose disk has lied, has nothing but these to learn from. */
  #crashMothership(mothership: SimMothership, how: { silently?: boolean; after?: () => void } = {}): void {
    const { motherships } = this.ports
    const frail = [...this.#liars].filter(each => each !== mothership && !each.isSound)
    for (const each of motherships) if (each.isSound) this.#liars.delete(each)
    if (frail.length > 0) return
    mothership.crash(how.silently)
    if (how.after) {
      how.after()
      this.#liars.add(mothership)
    }
    this.#for(this.#dice.between(50, 3_000), () => mothership.start())
  }

  readonly #liars = new Set<SimMothership>()

  #cutPaths(paths: readonly (readonly [from: string, to: string])[]): void {
    const { network } = this.ports
    const how: Heal = this.#dice.percent(50) ? 'lost' : 'sent-again'
    for (const [from, to] of paths) if (from !== to) network.cut(from, to)
    this.#for(this.#dice.between(100, 4_500), () => {
      for (const [from, to] of paths) network.heal(from, to, how)
    })
  }

  /** What happens to the leader matters most. */
  #leaderOrAny(): SimReplica {
    const { replicas } = this.ports
    const leader = replicas.find(each => each.replica?.status().leading)
    return leader && this.#dice.percent(50) ? leader : this.#dice.pick(replicas)
  }

  #crash(replica: SimReplica, silently: boolean): void {
    replica.crash(silently)
    this.#for(this.#dice.between(50, 3_000), () => replica.start())
  }

  #isolate(replica: SimReplica): void {
    const others = [etcdName, ...this.ports.replicas.filter(each => each !== replica).map(each => each.id)]
    this.#cut(
      replica,
      ...others.flatMap((id): [string, string][] => [
        [replica.id, id],
        [id, replica.id],
      ]),
    )
  }

  #cutUsers(replica: SimReplica): void {
    const users = ['c1', 'c2', 'c3', 'm1', 'm2', 'm3', 'm4', 'r1']
    this.#cut(replica, ...users.map((id): [string, string] => [replica.id, id]))
  }

  /** After a long silence connections are given up: what was under way is lost then. */
  #cut(replica: SimReplica, ...paths: readonly [from: string, to: string][]): void {
    const { network } = this.ports
    const how: Heal = this.#dice.percent(50) ? 'lost' : 'sent-again'
    for (const [from, to] of paths) if (from !== to) network.cut(from, to)
    this.#for(this.#dice.between(100, 4_500), () => {
      for (const [from, to] of paths) network.heal(from, to, how)
      if (how === 'lost') replica.etcd?.twin.reset()
    })
  }

  #stallWatch(replica: SimReplica): void {
    const twin = replica.etcd?.twin
    twin?.holdWatches()
    this.#for(this.#dice.between(200, 3_500), () => twin?.releaseWatches())
  }

  #compact(): void {
    const { twin } = this.ports.etcd
    const revision = twin.revision - this.#dice.below(5)
    if (revision > twin.compacted) twin.compact(revision)
  }

  #revoke(holds: (key: string) => boolean): void {
    const { twin } = this.ports.etcd
    for (const [id, { keys }] of [...twin.leases]) if ([...keys].some(holds)) twin.revoke(id)
  }

  #for(ms: number, end: () => void): void {
    const once = (): void => {
      if (this.#ends.delete(once)) end()
    }
    this.#ends.add(once)
    this.#world.after(ms, 'end of a fault', once)
  }
}
