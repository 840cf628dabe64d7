/**
 * Which instances to move so that fewer motherships are in use (`pack`): those that hold least are emptied, one after
 * the other, as far as the others can take all that they hold.
 */
import { Draft } from '../draft.js'
import { byId } from '../ids.js'
import { type InstanceRecord, put, type Resources } from '../records.js'
import { type Host, isInUse, resourceNames } from './host.js'
import type { PlannedMove } from './plan.js'
import type { RebalanceInput } from './planning.js'
import { whyItStays } from './staying.js'

export interface Consolidation {
  /** The map as it is when all has moved. */
  readonly draft: Draft
  readonly moves: readonly PlannedMove[]
  /** Why instances stay that were to go, and how many. */
  readonly staying: Readonly<Record<string, number>>
}

export function consolidate(input: RebalanceInput): Consolidation {
  const consolidating = new Consolidating(input)
  consolidating.run()
  return consolidating
}

class Consolidating implements Consolidation {
  readonly draft: Draft
  readonly moves: PlannedMove[] = []
  readonly #moved = new Set<string>()
  /** By instance. */
  readonly #staying = new Map<string, string>()

  constructor(private readonly input: RebalanceInput) {
    this.draft = new Draft(input.map)
  }

  get staying(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const [id, why] of this.#staying) if (!this.#moved.has(id)) counts[why] = (counts[why] ?? 0) + 1
    return counts
  }

  run(): void {
    const { movesMax, hosts } = this.input
    const order = hosts(this.draft)
      .filter(each => each.connected && isInUse(each))
      .map(each => ({ id: each.id, share: shareOf(each.reserved, each) }))
      .sort((a, b) => a.share - b.share || byId(a.id, b.id))
    for (const { id } of order) {
      if (this.moves.length >= movesMax) break
      const host = hosts(this.draft).find(each => each.id === id)
      if (host && isInUse(host)) this.#evacuate(host, movesMax - this.moves.length)
    }
  }

  /** All of what it holds, or nothing. */
  #evacuate(host: Host, movesMax: number): void {
    const ids = [...this.draft.instancesOn(host.id)].sort(byId)
    const instances = ids.map(id => this.draft.get('instances', id)!.value)
    for (const each of instances) {
      const why = this.#moved.has(each.id) ? 'moved already' : whyItStays(this.input.map, each, host.id)
      if (why !== undefined) return this.#stays(each.id, why)
    }
    const trial = new Draft(this.draft)
    // Another one that is empty would only take the place of this one.
    const closed = this.input.hosts(this.draft).filter(each => each.id === host.id || !isInUse(each))
    trial.add(closed.map(each => put('motherships', each.id, { ...each.record, cordoned: true })))
    // Large ones first, as for any packing (first-fit decreasing).
    const bySize = [...instances].sort((a, b) => shareOf(b.need, host) - shareOf(a.need, host) || byId(a.id, b.id))
    const planned: { readonly after: InstanceRecord; readonly move: PlannedMove }[] = []
    for (const instance of bySize) {
      const { component, version, placement: wish, need, id, epoch } = instance
      const question = { component, version, need, wish, copies: 1, instance, seed: `${id} ${epoch}` }
      const found = this.input.place(trial, question)
      const to = found.kind === 'placed' ? found.on[0]! : undefined
      if (found.kind !== 'placed' || to === undefined) return this.#stays(id, 'fits nowhere else')
      const on = (each: string): string => (each === host.id ? to : each)
      const after = { ...instance, primary: on(instance.primary), inSync: instance.inSync.map(on) }
      trial.add([put('instances', id, after)])
      const { decision } = found
      planned.push({
        after,
        move: { instance: id, component, version, from: host.id, to, gain: 0, used: need, decision },
      })
    }
    for (const { after, move } of planned.slice(0, movesMax)) {
      this.draft.add([put('instances', after.id, after)])
      this.#moved.add(after.id)
      this.moves.push(move)
    }
  }

  #stays(instance: string, why: string): void {
    this.#staying.set(instance, why)
  }
}

/** Of a mothership, by the resource of which it is most. */
const shareOf = (amount: Resources, { record }: Host): number =>
  Math.max(...resourceNames.map(name => amount[name] / Math.max(record.capacity[name], 1e-9)))
