/**
 * What runs here, brought to what is wanted: level-triggered, from the whole wanted state each time. Instances of one
 * component version and refresh share a process (or have their own, when the component asks for that). A refresh is a
 * new generation: its process is started and tested while the old one serves, then takes over, then the old one ends.
 * It is taken back by a further generation with the refresh of before, whose process serves already.
 */
import { isDeepStrictEqual } from 'node:util'
import type { ObservedItem } from '../hypervisor/ports.js'
import type { WantedInstance } from '../protocol/messages.js'
import type { CallResult, ControlResult, Failed, ProcessState } from './component-process.js'
import { Farewells } from './farewells.js'
import type { ControlCall, RenderCall, SocketCall } from './ipc.js'
import type { OpenSocket, SocketEvents } from './process-sockets.js'

/** A process of the component, as much of it as is needed here. */
export interface Runner {
  readonly state: ProcessState
  readonly restarts: number
  readonly pid: number | undefined
  /** MiB of memory that the instances it serves, or is to serve, ask for together. */
  asks(ramMiB: number): void
  render(call: RenderCall, deadlineMs: number): Promise<CallResult>
  control(call: ControlCall, deadlineMs: number): Promise<ControlResult>
  open(call: SocketCall, events: SocketEvents, deadlineMs: number): Promise<OpenSocket | Failed>
  stop(): Promise<void>
}

/** An instance's copy of its kept state. */
export interface CopyHere {
  /** Pages may be asked of it: it is in sync. */
  readonly serves: boolean
  readonly problem: string | undefined
  /** What is told of it, and in which epoch. */
  readonly report: Pick<ObservedItem, 'epoch' | 'copy'> | undefined
}

export interface InstancesPorts {
  /** Asked of instances that keep state. */
  copy?(instance: string): CopyHere | undefined
  /**
   * Fetches what is needed and starts a process; `onState` tells what becomes of it. Throws when that cannot be.
   * `ramMiB`: of all that it is started for.
   */
  start(wanted: WantedInstance, ramMiB: number, name: string, onState: () => void): Promise<Runner>
  /** What changed, for the hypervisor. */
  observed(items: readonly ObservedItem[]): void
  /** Other processes may serve now. */
  settled?(): void
}

interface Hosted {
  wanted: WantedInstance
  /** Of the process that it is wanted in. */
  name: string
  /** Name of the process that serves it; undefined before the first one is ready. */
  serving: string | undefined
  /** Generation that `serving` belongs to. */
  generation: number
  told: ObservedItem | undefined
}

interface Slot {
  readonly wanted: WantedInstance
  runner: Runner | undefined
  problem: string | undefined
  attempts: number
}

export const processName = (id: string, wanted: WantedInstance): string =>
  `${wanted.component}/${wanted.version}#${wanted.refresh ?? wanted.generation}${wanted.isolation === 'exclusive' ? `#${id}` : ''}@${wanted.digest.slice(7, 19)}`

export class Instances {
  readonly #hosted = new Map<string, Hosted>()
  readonly #slots = new Map<string, Slot>()
  /** Processes on their way out, by name. */
  readonly #ending = new Map<string, Promise<void>>()

  readonly #farewells: Farewells

  constructor(private readonly ports: InstancesPorts) {
    this.#farewells = new Farewells(items => ports.observed(items))
  }

  /** Applies the whole wanted state; what takes time goes on behind. */
  apply(wanted: ReadonlyMap<string, WantedInstance>): void {
    const gone = [...this.#hosted].filter(([id]) => !wanted.has(id))
    for (const [id] of gone) this.#hosted.delete(id)
    for (const [id, each] of wanted) {
      const hosted = this.#hosted.get(id)
      if (hosted) {
        // Stopped and started under the same id, and only the start was heard of: nothing was said of this one yet.
        if (hosted.wanted.since !== each.since) hosted.told = undefined
        hosted.wanted = each
        hosted.name = processName(id, each)
      } else {
        this.#farewells.welcome(id)
        const name = processName(id, each)
        this.#hosted.set(id, { wanted: each, name, serving: undefined, generation: 0, told: undefined })
      }
    }
    this.#settle()
    for (const [id, hosted] of gone) void this.#endOf(id, hosted)
  }

  async #endOf(id: string, { wanted, name: own, serving }: Hosted): Promise<void> {
    const names = [...new Set([serving, own])]
    const ends = names.flatMap(name => (name === undefined ? [] : (this.#ending.get(name) ?? [])))
    const { epoch, generation } = wanted
    await this.#farewells.say({ instance: id, epoch, generation }, ends, () => !this.#hosted.has(id))
  }

  /** For another try at what could not be started. */
  retry(): void {
    for (const [name, slot] of this.#slots) if (slot.problem !== undefined && !slot.runner) void this.#start(name, slot)
  }

  render(call: RenderCall, deadlineMs: number): Promise<CallResult> {
    const runner = this.runnerOf(call.instance)
    if ('kind' in runner) return Promise.resolve(runner)
    return this.#farewells.during(call.instance, runner.render(call, deadlineMs))
  }

  control(call: ControlCall, deadlineMs: number): Promise<ControlResult> {
    const runner = this.runnerOf(call.instance)
    if ('kind' in runner) return Promise.resolve(runner)
    return this.#farewells.during(call.instance, runner.control(call, deadlineMs))
  }

  /** Something is new of its copy. */
  copyChanged(instance: string): void {
    const hosted = this.#hosted.get(instance)
    const item = hosted && this.#news(instance, hosted)
    if (item) this.ports.observed([item])
  }

  /** The process that serves the instance now. */
  runnerOf(instance: string): Runner | Failed {
    const hosted = this.#hosted.get(instance)
    if (hosted?.wanted.kept && !this.ports.copy?.(instance)?.serves) {
      return { kind: 'failed', status: 503, reason: 'the copy of its state here is not in sync' }
    }
    const runner = hosted?.serving === undefined ? undefined : this.#slots.get(hosted.serving)?.runner
    if (runner) return runner
    // Not 404, which is a component's own word: another copy may well have it.
    return { kind: 'failed', status: 503, reason: hosted ? 'not running yet' : `no instance ${instance} here` }
  }

  /** Digest by component version, of what is hosted. */
  digestOf(component: string, version: string): string | undefined {
    for (const { wanted } of this.#hosted.values()) {
      if (wanted.component === component && wanted.version === version) return wanted.digest
    }
    return undefined
  }

  componentOf(instance: string): string | undefined {
    const wanted = this.#hosted.get(instance)?.wanted
    return wanted && `${wanted.component}/${wanted.version}`
  }

  /** Whether an instance of `id/version` is here. */
  hosts(component: string): boolean {
    for (const { wanted } of this.#slots.values()) {
      if (`${wanted.component}/${wanted.version}` === component) return true
    }
    return false
  }

  /** Of all that runs or starts: an old generation that still serves needs its files, and to be started again. */
  digests(): ReadonlySet<string> {
    return new Set([...this.#slots.values()].map(each => each.wanted.digest))
  }

  /** Everything that runs or should, or has ended, as a new session tells it. */
  report(): ObservedItem[] {
    return [...[...this.#hosted].map(([id, hosted]) => this.#itemOf(id, hosted)), ...this.#farewells.report()]
  }

  processes(): Iterable<{ component: string; runner: Runner }> {
    return [...this.#slots.values()].flatMap(({ wanted, runner }) =>
      runner ? [{ component: `${wanted.component}/${wanted.version}`, runner }] : [],
    )
  }

  async stop(): Promise<void> {
    this.#hosted.clear()
    const slots = [...this.#slots.values()]
    this.#slots.clear()
    await Promise.all(slots.map(slot => slot.runner?.stop()))
  }

  #settle(): void {
    for (const hosted of this.#hosted.values()) {
      const { name } = hosted
      let slot = this.#slots.get(name)
      if (!slot) {
        slot = { wanted: hosted.wanted, runner: undefined, problem: undefined, attempts: 0 }
        this.#slots.set(name, slot)
        void this.#start(name, slot)
      }
      if (slot.runner?.state.kind === 'ready') {
        hosted.serving = name
        hosted.generation = hosted.wanted.generation
      }
    }
    this.ports.settled?.()
    const asked = this.#asked()
    for (const [name, { runner }] of this.#slots) {
      const ramMiB = asked.get(name)
      if (ramMiB !== undefined) runner?.asks(ramMiB)
      else {
        this.#slots.delete(name)
        if (runner) this.#end(name, runner)
      }
    }
    this.#tell()
  }

  /** MiB by process, of all that are needed. */
  #asked(): ReadonlyMap<string, number> {
    const asked = new Map<string, number>()
    for (const { name, serving, wanted } of this.#hosted.values()) {
      asked.set(name, (asked.get(name) ?? 0) + wanted.need.ram)
      if (serving !== undefined && serving !== name) asked.set(serving, (asked.get(serving) ?? 0) + wanted.need.ram)
    }
    return asked
  }

  async #start(name: string, slot: Slot): Promise<void> {
    slot.attempts++
    slot.problem = undefined
    try {
      const runner = await this.ports.start(slot.wanted, this.#asked().get(name) ?? 0, name, () => this.#settle())
      if (this.#slots.get(name) === slot) slot.runner = runner
      else await runner.stop()
    } catch (error) {
      slot.problem = (error as Error).message
    }
    this.#settle()
  }

  #end(name: string, runner: Runner): void {
    const end = runner.stop().finally(() => {
      if (this.#ending.get(name) === end) this.#ending.delete(name)
    })
    this.#ending.set(name, end)
  }

  #tell(): void {
    const changed: ObservedItem[] = []
    for (const [id, hosted] of this.#hosted) {
      const item = this.#news(id, hosted)
      if (item) changed.push(item)
    }
    if (changed.length > 0) this.ports.observed(changed)
  }

  #news(id: string, hosted: Hosted): ObservedItem | undefined {
    const item = this.#itemOf(id, hosted)
    if (hosted.told && isSame(item, hosted.told)) return undefined
    hosted.told = item
    return item
  }

  /**
   * The old generation that still serves is what runs; a new one that cannot start is told as its reason. An instance
   * that keeps state runs when its process does and its copy is in sync.
   */
  #itemOf(id: string, hosted: Hosted): ObservedItem {
    const { wanted, name, serving, generation } = hosted
    const copy = wanted.kept && this.ports.copy?.(id)
    const next = this.#slots.get(name)
    const serves = serving === undefined ? undefined : this.#slots.get(serving)
    const unfit = next?.problem ?? (next?.runner?.state.kind === 'failed' ? next.runner.state.reason : undefined)
    const problem = copy?.problem ?? unfit
    const ready = serves?.runner?.state.kind === 'ready' && copy?.problem === undefined
    const phase = ready && (!wanted.kept || copy?.serves) ? 'running' : 'starting'
    // Nearly all are like this.
    if (problem === undefined && !copy) {
      return { instance: id, epoch: wanted.epoch, generation: ready ? generation : wanted.generation, phase }
    }
    const base = { instance: id, epoch: wanted.epoch, ...copy?.report }
    const why = problem === undefined ? {} : { reason: problem.slice(0, 1000) }
    if (ready) {
      const tried = unfit === undefined ? {} : { tried: wanted.generation }
      return { ...base, generation, phase, ...why, ...tried }
    }
    if (problem !== undefined) return { ...base, generation: wanted.generation, phase: 'failed', ...why }
    return { ...base, generation: wanted.generation, phase: 'starting' }
  }
}

/** Field by field: a thousand of them are looked at for each change. */
function isSame(one: ObservedItem, other: ObservedItem): boolean {
  const names = Object.keys(one) as (keyof ObservedItem)[]
  const alike = (name: keyof ObservedItem): boolean =>
    one[name] === other[name] || isDeepStrictEqual(one[name], other[name])
  return names.length === Object.keys(other).length && names.every(alike)
}
