/** Moving instances so that motherships are alike: what would be done, and doing it. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { settingsOf } from '../../cloud/decide/verdict.js'
import { byId } from '../../cloud/ids.js'
import type { CloudMap } from '../../cloud/map.js'
import { formatOrder } from '../../cloud/order.js'
import { type ApiPorts, anyone, changers, define, submit } from '../route.js'
import { Rebalanced, RebalancePlan } from '../schemas.js'

const tag = 'rebalance'
const moves = Type.Integer({ minimum: 1, maximum: 1000, description: 'at most so many; default: those of a minute' })

export function rebalanceRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { hypervisor } = ports
  const { maps } = hypervisor

  define(app, {
    method: 'GET',
    url: '/rebalance/plan',
    access: anyone,
    tag,
    summary: 'What a rebalance would move now; nothing is done',
    query: { moves: Type.Optional(moves) },
    answers: { 200: RebalancePlan },
    handle: ({ query }) => {
      const { policy, rebalance } = settingsOf(maps.map)
      const plan = hypervisor.plan(query.moves ?? rebalance.movesPerMinute)
      return {
        revision: formatOrder(maps.map.order),
        policy,
        automatic: rebalance.automatic,
        imbalance: { before: plan.before.imbalance, after: plan.after.imbalance },
        inUse: { before: plan.before.inUse, after: plan.after.inUse },
        moves: plan.moves.map(({ used: _used, decision: _decision, ...move }) => move),
        staying: plan.staying,
        underWay: underWay(maps.map),
      }
    },
  })

  define(app, {
    method: 'POST',
    url: '/rebalance',
    access: changers,
    tag,
    summary: 'Move instances now, whether or not the cloud is uneven enough to do it unasked',
    body: Type.Object({ moves: Type.Optional(moves) }, { additionalProperties: false }),
    answers: { 202: Rebalanced },
    handle: async call => {
      const body = call.body.moves === undefined ? {} : { movesMax: call.body.moves }
      const answer = await submit(ports, call, { op: 'rebalance', body })
      call.reply.code(202)
      const moved = answer.ids.flatMap(instance => {
        const move = maps.map.get('moves', instance)?.value
        return move ? [{ instance, from: move.from, to: move.to }] : []
      })
      return { moving: answer.ids.length, ...(answer.imbalance ? { imbalance: answer.imbalance } : {}), moves: moved }
    },
  })
}

/** Moves that have begun and are not over. */
function underWay(map: CloudMap): { instance: string; from: string; to: string; at: string }[] {
  return [...map.all('moves')]
    .filter(([, { value }]) => !value.over)
    .sort(([a], [b]) => byId(a, b))
    .slice(0, 1000)
    .map(
      ([
        instance,
        {
          value: { from, to, at },
        },
      ]) => ({ instance, from, to, at }),
    )
}
