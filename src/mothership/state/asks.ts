/** What the code of an instance asks of its kept state, and what its mothership answers: over the process's channel. */
import Type, { type Static } from 'typebox'
import type { Json } from '../../cloud/replication/entry.js'
import { BaseSchema } from '../../cloud/replication/messages.js'
import type { Proposed } from '../../cloud/replication/outcomes.js'
import type { Unknown } from './keeper.js'

/** `n` numbers it for its process. */
export const Ask = Type.Object({
  k: Type.Literal('ask'),
  n: Type.Integer({ minimum: 1 }),
  instance: Type.String(),
  what: Type.Union([
    Type.Object({ kind: Type.Literal('propose'), base: BaseSchema, body: Type.String() }),
    /** Milliseconds by which the answer may be old; 0: as it is now. Absent: any. */
    Type.Object({
      kind: Type.Literal('read'),
      staleMsMax: Type.Optional(Type.Number({ minimum: 0 })),
      /** However old the answer may be, it has this change. */
      seqMin: Type.Optional(Type.Integer({ minimum: 0 })),
    }),
  ]),
})
export type Ask = Static<typeof Ask>

export type AskOutcome =
  | Exclude<Proposed, { kind: 'elsewhere' }>
  | Unknown
  | {
      readonly kind: 'read'
      readonly epoch: number
      readonly seq: number
      readonly document: Json
      readonly staleForMs: number
    }

export interface Told {
  readonly k: 'told'
  readonly n: number
  readonly outcome: AskOutcome
}
