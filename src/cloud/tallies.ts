/**
 * What many ask about all instances of a component version, or on a mothership, kept instead of counted: there may be a
 * million of them. Kept in step by whoever holds the records.
 */
import { byId } from './ids.js'
import { nothing, tidy } from './placement/resources.js'
import type { InstanceRecord, Phase, Resources } from './records.js'

export interface Held {
  readonly instances: number
  readonly reserved: Resources
}

export const holdsNothing: Held = { instances: 0, reserved: nothing }

/** The instances of a component version. */
export interface Tally {
  readonly total: number
  /** By the phase of the primary copy; phases without any are left out. */
  readonly byPhase: Readonly<Record<string, number>>
  /** Those with a copy of any of them, lowest id first, and how many copies they have. */
  readonly motherships: readonly string[]
  readonly copies: ReadonlyMap<string, number>
  /** Of these copies: those that pages can be made of and that are to stay; those that are being moved away; of stops. */
  readonly serving: ReadonlyMap<string, number>
  readonly leaving: ReadonlyMap<string, number>
  readonly stopping: ReadonlyMap<string, number>
}

const none: ReadonlyMap<string, number> = new Map()

export const noTally: Tally = {
  ...{ total: 0, byPhase: {}, motherships: [], copies: none },
  ...{ serving: none, leaving: none, stopping: none },
}

/** What becomes of a copy, beyond that there is one; undefined: it does not run, or not for pages. */
export type Fate = 'serving' | 'leaving' | 'stopping' | undefined

/** One more or one less, and gone when there is none. */
function count<K>(counts: Map<K, number>, key: K, by: 1 | -1): number {
  const after = (counts.get(key) ?? 0) + by
  if (after === 0) counts.delete(key)
  else counts.set(key, after)
  return after
}

/** Most versions have none of these: they share it until there is one. */
const shared = new Map<string, number>()
const noneYet = (): Map<string, number> => shared

/** Everything that is known of the instances of one component version. */
export class VersionTally {
  readonly ids = new Set<string>()
  readonly #phases = new Map<Phase, number>()
  readonly #copies = new Map<string, number>()
  readonly #fates = { serving: noneYet(), leaving: noneYet(), stopping: noneYet() }
  #sorted: readonly string[] | undefined

  add({ id, inSync, learners }: InstanceRecord, phase: Phase): void {
    this.ids.add(id)
    count(this.#phases, phase, 1)
    for (const mothership of inSync) this.#copy(mothership, 1)
    for (const mothership of learners) this.#copy(mothership, 1)
  }

  delete({ id, inSync, learners }: InstanceRecord, phase: Phase): void {
    this.ids.delete(id)
    count(this.#phases, phase, -1)
    for (const mothership of inSync) this.#copy(mothership, -1)
    for (const mothership of learners) this.#copy(mothership, -1)
  }

  move(from: Phase, to: Phase): void {
    if (from === to) return
    count(this.#phases, from, -1)
    count(this.#phases, to, 1)
  }

  show(mothership: string, fate: Fate, by: 1 | -1): void {
    if (fate === undefined) return
    let counts = this.#fates[fate]
    if (counts.size === 0) this.#fates[fate] = counts = new Map()
    count(counts, mothership, by)
  }

  get tally(): Tally {
    this.#sorted ??= [...this.#copies.keys()].sort(byId)
    const byPhase = Object.fromEntries(this.#phases)
    return { total: this.ids.size, byPhase, motherships: this.#sorted, copies: this.#copies, ...this.#fates }
  }

  #copy(mothership: string, by: 1 | -1): void {
    const after = count(this.#copies, mothership, by)
    if (after === 0 || (after === 1 && by === 1)) this.#sorted = undefined
  }
}

/** Everything that is known of the copies on one mothership. */
export class MothershipTally {
  readonly ids = new Set<string>()
  #cpu = 0
  #ram = 0
  #bandwidth = 0
  #held: Held | undefined

  add({ id, need }: InstanceRecord): void {
    this.ids.add(id)
    this.#reserve(need, 1)
  }

  delete({ id, need }: InstanceRecord): void {
    this.ids.delete(id)
    this.#reserve(need, -1)
  }

  get held(): Held {
    const reserved = { cpu: this.#cpu, ram: this.#ram, bandwidth: this.#bandwidth }
    this.#held ??= { instances: this.ids.size, reserved }
    return this.#held
  }

  #reserve({ cpu, ram, bandwidth }: Resources, sign: 1 | -1): void {
    this.#cpu = tidy(this.#cpu + sign * cpu)
    this.#ram = tidy(this.#ram + sign * ram)
    this.#bandwidth = tidy(this.#bandwidth + sign * bandwidth)
    this.#held = undefined
  }
}
