/** Moves: a further copy elsewhere first, and the copy that is moved goes when that one runs (the upkeep of instances). */
import type { BodyOf } from '../commands.js'
import type { CloudMap } from '../map.js'
import { tolerance } from '../placement/amounts.js'
import { resourceNames } from '../placement/host.js'
import type { PlannedMove, RebalancePlan } from '../placement/plan.js'
import { plus } from '../placement/resources.js'
import { put, type Resources } from '../records.js'
import { type Context, done, type Step, settingsOf, type Verdict } from './verdict.js'

/** Of an operator: as many moves at once as are planned without being asked within a minute, or as many as are asked for. */
export function rebalance(map: CloudMap, body: BodyOf<'rebalance'>, context: Context): Verdict {
  // Some of what was planned was done under an earlier leader: the rest is planned anew when it is asked for again.
  if (context.resume) return done({ outcome: 'changed', kind: 'instances', ids: context.resume.ids })
  const plan = context.plan(map, body.movesMax ?? settingsOf(map).rebalance.movesPerMinute)
  const steps = stepsOf(map, plan.moves, context.at)
  const ids = steps.flatMap(each => each.subjects)
  const imbalance = imbalanceOf(plan)
  return done({ outcome: ids.length > 0 ? 'changed' : 'unchanged', kind: 'instances', ids, imbalance }, ...steps)
}

export const imbalanceOf = ({ before, after }: RebalancePlan): { before: number; after: number } => ({
  before: before.imbalance,
  after: after.imbalance,
})

/**
 * Of those that fit beside everything that is still there. One into room that another move leaves waits until that one
 * has gone: it is planned again then.
 */
export function stepsOf(map: CloudMap, moves: readonly PlannedMove[], at: string): Step[] {
  const unreserved = new Unreserved(map)
  const until = new Date(Date.parse(at) + settingsOf(map).rebalance.coolDownMs).toISOString()
  return moves.flatMap(({ instance: id, from, to, used, decision }) => {
    const before = map.get('instances', id)?.value
    if (!before || !unreserved.take(to, before.need)) return []
    const value = { ...before, epoch: before.epoch + 1, learners: [...before.learners, to] }
    const changes = [put('instances', id, value), put('moves', id, { schema: 1, from, to, at, until, used })]
    return [{ changes, subjects: [id], decisions: [{ instance: id, decision }] }]
  })
}

/** What is not reserved yet, while more and more of it is. */
class Unreserved {
  readonly #reserved = new Map<string, Resources>()

  constructor(private readonly map: CloudMap) {}

  /** False when it does not fit; a resource of which nothing is needed is never short. */
  take(mothership: string, need: Resources): boolean {
    const capacity = this.map.get('motherships', mothership)?.value.capacity
    if (!capacity) return false
    const { overcommit } = settingsOf(this.map)
    const reserved = this.#reserved.get(mothership) ?? this.map.heldOn(mothership).reserved
    const fits = resourceNames.every(
      name => need[name] <= 0 || reserved[name] + need[name] <= capacity[name] * overcommit[name] + tolerance,
    )
    if (fits) this.#reserved.set(mothership, plus(reserved, need))
    return fits
  }
}
