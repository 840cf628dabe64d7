/**
 * Placement for whoever decides often: keeps the fleet in step with the live map, and with the drafts that are decided
 * on. A draft's changes are tried when it is first seen, its later ones as they come, and all are taken back when
 * another draft is decided on or the map changes; so a decision costs a look at the motherships, not at the instances,
 * and deciding a batch gives what deciding one by one would.
 */
import { type PlacementQuestion, type PlacementResult, settingsOf } from '../decide/verdict.js'
import { Draft } from '../draft.js'
import type { CloudMap } from '../map.js'
import type { Change, InstanceRecord } from '../records.js'
import type { Settings } from '../settings.js'
import { Fleet, placementKinds, type Replacing } from './fleet.js'
import type { Host, MeasuredLoad } from './host.js'
import { placeOn } from './place.js'
import type { Reaches } from './preferences.js'

export type LoadOf = (mothership: string) => MeasuredLoad | undefined

/** The moment of a decision: by the monotonic clock, and for people. */
export interface Moment {
  readonly nowMs: number
  readonly at: string
}

/**
 * Loads change every second; a batch of a thousand decisions need not ask for them a thousand times. Of many motherships
 * they are asked less often, so that asking stays a small part of the time; what is placed meanwhile is counted anyway.
 */
const measureEveryMs = 50
const measuredPerMs = 40

interface Tried {
  readonly draft: Draft
  /** How many of its changes are tried, and what was tried beneath it. */
  count: number
  readonly mark: number
}

export class Engine {
  readonly #fleet: Fleet
  readonly #tried: Tried[] = []
  #measuredAtMs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly base: CloudMap,
    private readonly loadOf: LoadOf,
    private readonly reaches?: Reaches,
  ) {
    this.#fleet = new Fleet(reaches)
    this.#fleet.apply(everything(base))
  }

  /** To be called with every change of the map beneath. */
  apply(changes: Iterable<Replacing>, nowMs: number): void {
    this.#tried.length = 0
    this.#fleet.apply(changes, nowMs)
  }

  /** On the live map, or on drafts over it; another map is read as a whole. */
  place(map: CloudMap, question: PlacementQuestion, { nowMs, at }: Moment): PlacementResult {
    const settings = settingsOf(map)
    if (!this.#look(map, settings, nowMs))
      return new Engine(map, this.loadOf, this.reaches).place(map, question, { nowMs, at })
    return placeOn(this.#fleet, { question, settings, revision: map.order.revision, at })
  }

  /** All motherships as decisions on this map see them, lowest id first. To be read before the next decision. */
  hosts(map: CloudMap, nowMs: number): readonly Host[] {
    if (!this.#look(map, settingsOf(map), nowMs)) return new Engine(map, this.loadOf, this.reaches).hosts(map, nowMs)
    return this.#fleet.hosts()
  }

  /** Brings the fleet in step with the map and the loads; false when the map does not rest on the one beneath. */
  #look(map: CloudMap, settings: Settings, nowMs: number): boolean {
    const drafts = draftsOver(this.base, map)
    if (!drafts) return false
    this.#follow(drafts)
    if (settings.policy === 'pack') this.#fleet.populate(() => instancesIn(map))
    if (settings.policy === 'balanced') this.#fleet.recount(id => instancesOn(map, id))
    const everyMs = Math.max(measureEveryMs, this.#fleet.columns.size / measuredPerMs)
    if (nowMs - this.#measuredAtMs >= everyMs || nowMs < this.#measuredAtMs) {
      this.#fleet.measure(this.loadOf, nowMs, settings.load)
      this.#measuredAtMs = nowMs
    }
    return true
  }

  #follow(drafts: readonly Draft[]): void {
    let same = 0
    while (this.#inStep(same, drafts)) same++
    // The first one that differs may only have grown; those above it rest on what it was.
    const grown = same < drafts.length && this.#tried[same]?.draft === drafts[same]
    this.#takeBack(grown ? same + 1 : same)
    for (const [level, draft] of drafts.entries()) {
      if (level >= this.#tried.length) this.#tried.push({ draft, count: 0, mark: this.#fleet.tried })
      const tried = this.#tried[level]!
      for (; tried.count < draft.log.length; tried.count++) this.#fleet.try(draft.log[tried.count]!)
    }
  }

  #inStep(level: number, drafts: readonly Draft[]): boolean {
    const [tried, draft] = [this.#tried[level], drafts[level]]
    return tried !== undefined && tried.draft === draft && tried.count === draft.log.length
  }

  #takeBack(levels: number): void {
    const dropped = this.#tried[levels]
    if (!dropped) return
    this.#fleet.takeBack(dropped.mark)
    this.#tried.length = levels
  }
}

/** Lowest first; undefined when the map does not rest on the base. */
function draftsOver(base: CloudMap, map: CloudMap): Draft[] | undefined {
  const drafts: Draft[] = []
  let each = map
  for (; each !== base && each instanceof Draft; each = each.beneath) drafts.unshift(each)
  return each === base ? drafts : undefined
}

function* instancesIn(map: CloudMap): Iterable<InstanceRecord> {
  for (const [, { value }] of map.all('instances')) yield value
}

function* instancesOn(map: CloudMap, mothership: string): Iterable<InstanceRecord> {
  for (const id of map.instancesOn(mothership)) yield map.get('instances', id)!.value
}

function* everything(map: CloudMap): Iterable<Change> {
  for (const kind of placementKinds) {
    for (const [id, entry] of map.all(kind)) yield { kind, id, value: entry.value } as Change
  }
}
