/**
 * A simulated mothership with the product's own copies of kept state: a process that may crash, a disk that outlives it,
 * connections with the other motherships. What stands between it and the hypervisor is in `nodes.ts`.
 */

import type { InstanceRecord } from '../../src/cloud/records.js'
import { configurationOf } from '../../src/cloud/replication/configuration.js'
import type { Json } from '../../src/cloud/replication/entry.js'
import type { Carried } from '../../src/mothership/state/carried.js'
import { Keeper, type KeeperPorts, type Kept } from '../../src/mothership/state/keeper.js'
import { Updates } from '../../src/mothership/state/updates.js'
import type { Channels } from './channels.js'
import { copyUrlOf, SimCopyLinks } from './copy-links.js'
import { SimDisk, type Wiped } from './disk.js'
import { SimProcess } from './process.js'
import type { World } from './world.js'

/** Rules of copies, broken by ports that wrap the real ones. */
export interface BrokenCopies {
  readonly ports?: (ports: KeeperPorts) => KeeperPorts
  /** What is believed to have been answered at once to what was sent. */
  readonly pretend?: (carried: Carried) => Carried | undefined
  /** A change as it is sent to the primary. */
  readonly body?: (body: string) => string
}

interface Life {
  readonly process: SimProcess
  readonly keeper: Keeper
  readonly links: SimCopyLinks
  readonly kill: (silently: boolean) => void
  readonly updates: Map<string, Updates>
  /** Highest revision of the map that was applied. */
  applied: number
}

export interface MothershipWorld {
  readonly world: World
  readonly channels: Channels
  readonly all: readonly string[]
  readonly broken: BrokenCopies | undefined
  /** What was not as it has to be. */
  readonly errors: string[]
}

const errorsMax = 20
const restartMs = [50, 3_000] as const

export class SimMothership {
  readonly disk: SimDisk
  #lives = 0
  #life: Life | undefined
  /** When it died, and whether that could be seen. */
  gone: { readonly atMs: number; readonly silently: boolean } | undefined
  /** Called when something may be new for the hypervisor. */
  onChanged: () => void = () => undefined

  constructor(
    readonly id: string,
    private readonly parts: MothershipWorld,
  ) {
    const { world } = parts
    const note = (what: string): void => world.counts.add(`fault: ${what}`)
    this.disk = new SimDisk(world.dice.for(id), note, what => this.#wrong(what))
  }

  /** Which process it is, by count. */
  get life(): number {
    return this.#lives
  }

  get up(): boolean {
    return this.#life?.process.alive === true
  }

  get paused(): boolean {
    return this.#life?.process.paused === true
  }

  get process(): SimProcess {
    return this.#life?.process ?? new SimProcess(this.parts.world, this.id)
  }

  get keeper(): Keeper | undefined {
    return this.up ? this.#life?.keeper : undefined
  }

  start(): void {
    if (this.up) return
    const { world, channels, all, broken } = this.parts
    const dice = world.dice.for(`life ${++this.#lives} of ${this.id}`)
    const process = new SimProcess(world, this.id, dice.between(0.95, 1.05), dice.between(1_000, 1_000_000))
    const network = channels.of(process, copyUrlOf(this.id))
    let links: SimCopyLinks | undefined
    const ports: KeeperPorts = {
      self: this.id,
      clock: process,
      open: (instance, since, anew, onFailed) => this.disk.open(process, instance, since, anew, onFailed),
      discard: (instance, since) => this.disk.discard(instance, since),
      send: (to, instance, carried) => {
        this.#check(instance, carried)
        links?.send(to, instance, carried)
        const pretended = broken?.pretend?.(carried)
        if (pretended) process.after(0, () => keeper.on(to, instance, pretended))
      },
      changed: () => this.onChanged(),
    }
    const keeper = new Keeper(broken?.ports?.(ports) ?? ports)
    const others = all.filter(id => id !== this.id)
    links = new SimCopyLinks(this.id, others, process, network, dice, {
      onLink: (mothership, up) => keeper.link(mothership, up),
      onCarried: (from, instance, carried) => keeper.on(from, instance, carried),
    })
    this.gone = undefined
    this.#life = {
      process,
      keeper,
      links,
      kill: network.kill,
      updates: new Map(),
      applied: 0,
    }
    world.note(`${this.id} starts`)
  }

  crash(silently = false): void {
    const life = this.#life
    if (!life || !this.up) return
    this.parts.world.note(`${this.id} crashes`)
    life.kill(silently)
    life.process.crash()
    this.disk.crash()
    this.gone = { atMs: this.parts.world.nowMs, silently }
  }

  wipe(how: Wiped): void {
    this.disk.wipe(how)
  }

  restartDelayMs(): number {
    return this.parts.world.dice.for(`restart ${this.#lives} of ${this.id}`).between(...restartMs)
  }

  /** Rule 2: what is said in an epoch is said by a copy that knows of it for good. */
  #check(instance: string, carried: Carried): void {
    const since = this.sinceOf(instance)
    if (carried.k !== 'copy' || since === undefined) return
    const { k, epoch } = carried.message
    const known = this.disk.epochOf(instance, since)
    const { errors } = this.parts
    if (known < epoch && errors.length < errorsMax)
      errors.push(
        `rule 2: ${this.id} says ${k} in epoch ${epoch} of ${instance}, and would not know of it after a crash`,
      )
  }

  #wrong(what: string): void {
    const { errors } = this.parts
    if (errors.length < errorsMax) errors.push(what)
  }

  /** Whether every copy in sync here has followed a primary since the process was started. */
  get isSound(): boolean {
    if (!this.up) return false
    return [...this.#kept.keys()].every(id => {
      const copy = this.keeper?.copyOf(id)
      return copy !== undefined && (copy.role === 'learner' || this.keeper?.report(id)?.copy.sound === true)
    })
  }

  #kept: ReadonlyMap<string, Kept> = new Map()

  /** As a replica told it: what is older than what was applied before is passed over. */
  apply(revision: number, instances: readonly { readonly record: InstanceRecord; readonly since: number }[]): void {
    const life = this.#life
    if (!life || revision < life.applied) return
    life.applied = revision
    this.#kept = new Map(
      instances.map(({ record, since }) => [record.id, { since, configuration: configurationOf(record) }]),
    )
    life.keeper.apply(this.#kept)
  }

  /** Which life of the instance has a copy here, as far as is known here. */
  sinceOf(instance: string): number | undefined {
    return this.#kept.get(instance)?.since
  }

  updates(instance: string, since: number): Updates {
    const life = this.#life!
    const key = `${instance}@${since}`
    let updates = life.updates.get(key)
    if (!updates) {
      updates = new Updates({
        propose: (base, body, withinMs) =>
          life.keeper.propose(instance, base, this.parts.broken?.body?.(body) ?? body, withinMs),
        nowMs: () => life.process.nowMs(),
      })
      life.updates.set(key, updates)
    }
    return updates
  }
}

/** What simulated code keeps: the ids of all changes, in order. */
export const logOf = (document: Json): readonly string[] =>
  ((document as { readonly log?: readonly string[] } | null)?.log ?? []) as readonly string[]
