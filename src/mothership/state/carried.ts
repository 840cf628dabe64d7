/** What motherships say to each other about one instance: its copies among themselves, and requests to the primary. */
import Type, { type Static } from 'typebox'
import { BaseSchema, CopyMessage } from '../../cloud/replication/messages.js'

const count = Type.Integer({ minimum: 0 })
const position = Type.Object({ seq: count, digest: Type.String() })

const Outcome = Type.Union([
  Type.Object({
    kind: Type.Literal('committed'),
    epoch: count,
    seq: count,
    reply: Type.Optional(Type.String()),
  }),
  Type.Object({
    kind: Type.Literal('conflict'),
    epoch: count,
    at: position,
    document: Type.Unknown(),
    again: Type.Optional(Type.Boolean()),
  }),
  Type.Object({ kind: Type.Literal('unknown'), reason: Type.String() }),
  Type.Object({
    kind: Type.Literal('refused'),
    code: Type.Union([Type.Literal('bad-request'), Type.Literal('busy')]),
    reason: Type.String(),
  }),
  Type.Object({ kind: Type.Literal('read'), epoch: count, seq: count, document: Type.Unknown() }),
  Type.Object({ kind: Type.Literal('readable'), epoch: count, seq: count }),
  Type.Object({ kind: Type.Literal('elsewhere') }),
])

export const Carried = Type.Union([
  Type.Object({ k: Type.Literal('copy'), message: CopyMessage }),
  /** To the primary, on behalf of the code of another copy. `n` numbers the request of that mothership. */
  Type.Object({ k: Type.Literal('propose'), n: count, base: BaseSchema, body: Type.String() }),
  Type.Object({ k: Type.Literal('read'), n: count }),
  /** How far a copy has to be to be read as it is now; what is committed is told before the answer. */
  Type.Object({ k: Type.Literal('confirm'), n: count }),
  Type.Object({ k: Type.Literal('outcome'), n: count, outcome: Outcome }),
])
export type Carried = Static<typeof Carried>
export type CarriedOutcome = Static<typeof Outcome>
