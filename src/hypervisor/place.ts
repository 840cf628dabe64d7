/**
 * Placement as the leader uses it: the pure decision, fed with what is reserved (kept up with the map), what is
 * pending in the batch, and the load that is known. One function for placing, moving, dry run and explanation.
 */
import { type PlacementQuestion, type PlacementResult, settingsOf } from '../cloud/decide/verdict.js'
import { Draft } from '../cloud/draft.js'
import { type CloudMap, copiesOf } from '../cloud/map.js'
import type { MeasuredLoad } from '../cloud/placement/host.js'
import { Ledger, nothing, plus } from '../cloud/placement/ledger.js'
import { placeOn } from '../cloud/placement/place.js'
import type { InstanceRecord, Resources } from '../cloud/records.js'
import type { Clock, Loads, Maps } from './ports.js'

export interface Placer {
  readonly place: (map: CloudMap, question: PlacementQuestion) => PlacementResult
  close(): void
}

export function createPlacer({ maps, loads, clock }: { maps: Maps; loads: Loads; clock: Clock }): Placer {
  const ledger = new Ledger()
  const recent = new Recent(clock)
  for (const [id, entry] of maps.map.all('instances')) ledger.set(id, entry.value)
  const close = maps.onChange(changes => {
    for (const change of changes) {
      if (change.kind !== 'instances') continue
      if (change.value && change.created === change.modified) recent.note(change.value)
      ledger.set(change.id, change.value)
    }
  })
  const loadOf = (id: string): MeasuredLoad | undefined => {
    const sample = loads.latest({ kind: 'mothership', id })
    return sample && { ...sample, ageMs: clock.nowMs() - sample.atMs }
  }
  const place = (map: CloudMap, question: PlacementQuestion): PlacementResult => {
    const pending = pendingReservations(map)
    const pendingOn = (id: string): Resources => pending.get(id) ?? nothing
    return placeOn({
      map,
      question,
      settings: settingsOf(map),
      reservedOn: id => plus(ledger.reservedOn(id), pendingOn(id)),
      placedSinceOn: id => plus(recent.since(id, loads.latest({ kind: 'mothership', id })?.atMs), pendingOn(id)),
      loadOf,
      at: new Date(clock.wallMs()).toISOString(),
    })
  }
  return { place, close }
}

/** What the draft adds to the map beneath it, per mothership. */
function pendingReservations(map: CloudMap): ReadonlyMap<string, Resources> {
  const pending = new Map<string, Resources>()
  if (!(map instanceof Draft)) return pending
  const count = (instance: InstanceRecord | undefined | null, sign: 1 | -1): void => {
    for (const id of instance ? copiesOf(instance) : []) {
      pending.set(id, plus(pending.get(id) ?? nothing, instance!.need, sign))
    }
  }
  for (const { before, after } of map.pendingInstances()) {
    count(before, -1)
    count(after, 1)
  }
  return pending
}

const rememberMs = 15_000

/** What was placed lately, so that a load sample from before does not make a mothership look empty. */
class Recent {
  readonly #placed = new Map<string, { atMs: number; need: Resources }[]>()

  constructor(private readonly clock: Clock) {}

  note(instance: InstanceRecord): void {
    const atMs = this.clock.nowMs()
    for (const id of copiesOf(instance)) {
      const list = (this.#placed.get(id) ?? []).filter(each => atMs - each.atMs < rememberMs)
      this.#placed.set(id, [...list, { atMs, need: instance.need }])
    }
  }

  since(mothership: string, atMs: number | undefined): Resources {
    if (atMs === undefined) return nothing
    const list = this.#placed.get(mothership) ?? []
    return list.reduce((sum, each) => (each.atMs >= atMs ? plus(sum, each.need) : sum), nothing)
  }
}
