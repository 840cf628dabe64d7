/** What the copies of one instance say to each other, and what a copy makes durable. */
import Type, { type Static } from 'typebox'
import type { Entry, Position } from './entry.js'

const count = Type.Integer({ minimum: 0 })
const text = Type.String()
const position = Type.Object({ seq: count, digest: text })
const epoch = count

/** Every message is of one epoch: a copy hears those of its own only (rule 2). */
export const BaseSchema = Type.Object({ digest: text, earliest: count })

export const CopyMessage = Type.Union([
  /** Primary to copy: tell me where you stand. */
  Type.Object({ k: Type.Literal('invite'), epoch }),
  /** Copy to primary: I hold the history up to `tail`, and what is committed up to `committed`, in this journal. */
  Type.Object({
    k: Type.Literal('join'),
    epoch,
    journal: text,
    committed: position,
    tail: count,
    /** A learner whose history is no use: the whole state, please. */
    anew: Type.Optional(Type.Boolean()),
  }),
  /** Primary to copy: what comes after `after`; `whole`: and that is all there is. */
  Type.Object({
    k: Type.Literal('append'),
    epoch,
    after: position,
    entries: Type.Array(Type.Object({ seq: count, epoch, body: text, digest: text })),
    committed: count,
    whole: Type.Boolean(),
  }),
  /** Primary to learner: begin with this. */
  Type.Object({ k: Type.Literal('state'), epoch, at: position, state: text }),
  /** Copy to primary: everything up to `seq` is durable here, as you have it. */
  Type.Object({ k: Type.Literal('ack'), epoch, seq: count }),
  /** Primary to copy, and the answer to it: am I still the one? */
  Type.Object({ k: Type.Literal('beacon'), epoch, round: count }),
  Type.Object({ k: Type.Literal('beaten'), epoch, round: count }),
  /** Primary to copy: the digest of the document at `seq` (rule 14). */
  Type.Object({ k: Type.Literal('check'), epoch, seq: count, digest: text }),
])
export type CopyMessage = Static<typeof CopyMessage>

/** What a journal holds; the order counts. */
export type JournalRecord =
  /** The highest epoch seen (rule 2). */
  | { readonly k: 'epoch'; readonly epoch: number }
  | { readonly k: 'entry'; readonly entry: Entry }
  /** What came after `seq` is none any more. */
  | { readonly k: 'cut'; readonly seq: number }
  /** Known to be committed up to there. */
  | { readonly k: 'committed'; readonly seq: number }
  /** Instead of everything before. */
  | {
      readonly k: 'whole'
      readonly epoch: number
      readonly at: Position
      readonly state: string
      readonly committed: number
      readonly entries: readonly Entry[]
    }
