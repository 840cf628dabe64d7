/** What becomes of what is asked of a copy. */
import { CloudError } from '../errors.js'
import type { Json, Position } from './entry.js'
import { BrokenHistory } from './history.js'

export type Proposed =
  | { readonly kind: 'committed'; readonly epoch: number; readonly seq: number; readonly reply: string | undefined }
  /** Not made on the document as it is; on this one it is to be made again. */
  | {
      readonly kind: 'conflict'
      readonly epoch: number
      readonly at: Position
      readonly document: Json
      /** An earlier attempt went to a primary that is none any more: it may have been made, and then it is remembered. */
      readonly again?: boolean
    }
  /** It may have been made so long ago that its answer is not remembered any more. */
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'refused'; readonly code: 'bad-request' | 'busy'; readonly reason: string }
  /** Ask the primary, under the same id: this copy is none, or none any more. */
  | { readonly kind: 'elsewhere' }

export type Readable =
  /** Everything that was committed when it was asked for is known: the document as it stands may be read. */
  { readonly kind: 'readable'; readonly epoch: number; readonly seq: number } | { readonly kind: 'elsewhere' }

/** A document as it was read. */
export interface StateRead {
  readonly epoch: number
  readonly seq: number
  readonly document: Json
  /** Milliseconds by which it may be old at most; 0: everything that was committed when it was asked for is in it. */
  readonly staleForMs: number
}

export type Settle<T> = (outcome: T) => void

export const refused = (code: 'bad-request' | 'busy', reason: string): Proposed => ({ kind: 'refused', code, reason })

export function refusalOf(error: unknown): Proposed {
  if (error instanceof CloudError || error instanceof BrokenHistory) return refused('bad-request', error.message)
  throw error
}
