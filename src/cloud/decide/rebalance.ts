/** Moves: a further copy elsewhere first, and the copy that is moved goes when that one runs (the upkeep of instances). */
import type { BodyOf } from '../commands.js'
import type { CloudMap } from '../map.js'
import type { PlannedMove, RebalancePlan } from '../placement/plan.js'
import { put } from '../records.js'
import { type Context, done, type Step, settingsOf, type Verdict } from './verdict.js'

/** Of an operator: as many moves at once as are planned without being asked within a minute, or as many as are asked for. */
export function rebalance(map: CloudMap, body: BodyOf<'rebalance'>, context: Context): Verdict {
  // Some of what was planned was done under an earlier leader: the rest is planned anew when it is asked for again.
  if (context.resume) return done({ outcome: 'changed', kind: 'instances', ids: context.resume.ids })
  const plan = context.plan(map, body.movesMax ?? settingsOf(map).rebalance.movesPerMinute)
  const ids = plan.moves.map(each => each.instance)
  const imbalance = imbalanceOf(plan)
  return done(
    { outcome: ids.length > 0 ? 'changed' : 'unchanged', kind: 'instances', ids, imbalance },
    ...stepsOf(map, plan.moves, context.at),
  )
}

export const imbalanceOf = ({ before, after }: RebalancePlan): { before: number; after: number } => ({
  before: before.imbalance,
  after: after.imbalance,
})

export function stepsOf(map: CloudMap, moves: readonly PlannedMove[], at: string): Step[] {
  const until = new Date(Date.parse(at) + settingsOf(map).rebalance.coolDownMs).toISOString()
  return moves.flatMap(({ instance: id, from, to, used, decision }) => {
    const before = map.get('instances', id)?.value
    if (!before) return []
    const value = { ...before, epoch: before.epoch + 1, learners: [...before.learners, to] }
    const changes = [put('instances', id, value), put('moves', id, { schema: 1, from, to, at, until, used })]
    return [{ changes, subjects: [id], decisions: [{ instance: id, decision }] }]
  })
}
