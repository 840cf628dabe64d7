/**
 * One change of an instance's document: numbered without gaps, linked to the one before it by a digest over both, so
 * that two copies whose positions are equal have the same history (reliability.md, section 3, rule 3).
 */
import { createHash } from 'node:crypto'
import { applyPatches, enablePatches, type Patch, setAutoFreeze } from 'immer'
import { CloudError } from '../errors.js'

enablePatches()
setAutoFreeze(false)

/** Where a history stands: its last number, and the digest over all of it. */
export interface Position {
  readonly seq: number
  readonly digest: string
}

/** What a change was made on. */
export interface Base {
  /** Of its position. */
  readonly digest: string
  /** Whatever became of earlier attempts at the same change, none of them was made at this position or before. */
  readonly earliest: number
}

export const beginning: Position = { seq: 0, digest: '' }

export interface Entry {
  readonly seq: number
  /** In which it was first prepared; it keeps it when it is prepared again in a later one. */
  readonly epoch: number
  /** JSON of an `Update`: kept as the text that its digest is over. */
  readonly body: string
  readonly digest: string
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export interface Update {
  /** Who asks the same again gets the first answer (rule 10). */
  readonly id: string
  /** `path` as in immer's patches: names and numbers, and `length` of a list. */
  readonly patches: readonly {
    readonly op: 'replace' | 'add' | 'remove'
    readonly path: readonly (string | number)[]
    readonly value?: unknown
  }[]
  /** What the change answered, JSON; absent when nothing. */
  readonly reply?: string
}

export const limits = {
  /** Bytes of the document as JSON. */
  document: 1024 * 1024,
  /** Bytes of one change. */
  update: 512 * 1024,
  /** Bytes of what a change answers. */
  reply: 1024,
  /** Answers that are remembered: of so many changes before the last one that is known to be committed. */
  replies: 4096,
} as const

/** By hand: processes of components read updates too, and start without the library of schemas. */
const isUpdate = (value: unknown): value is Update => {
  const { id, patches, reply } = Object(value) as Partial<Record<keyof Update, unknown>>
  const named = typeof id === 'string' && id.length >= 1 && id.length <= 128
  return named && Array.isArray(patches) && patches.every(isPatch) && (reply === undefined || typeof reply === 'string')
}

const isPatch = (value: unknown): boolean => {
  const { op, path } = Object(value) as { op?: unknown; path?: unknown }
  const known = op === 'replace' || op === 'add' || op === 'remove'
  return known && Array.isArray(path) && path.every(each => typeof each === 'string' || isPlace(each))
}

const isPlace = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0

/** Throws `bad-request` with what is wrong. */
export function readUpdate(body: string): Update {
  if (Buffer.byteLength(body) > limits.update) {
    throw new CloudError(
      'bad-request',
      `a change may have ${limits.update} bytes, this one has ${Buffer.byteLength(body)}`,
    )
  }
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw new CloudError('bad-request', 'a change that is not JSON')
  }
  if (!isUpdate(value)) throw new CloudError('bad-request', 'a change without an id or without patches')
  if (value.reply !== undefined && Buffer.byteLength(value.reply) > limits.reply) {
    throw new CloudError('bad-request', `what a change answers may have ${limits.reply} bytes as JSON`)
  }
  return value
}

/** Throws `bad-request` when the patches do not fit the document. */
export function change(document: Json, { patches }: Update): Json {
  try {
    return applyPatches(document as object, patches as Patch[]) as Json
  } catch (error) {
    throw new CloudError('bad-request', `the change does not fit the document: ${(error as Error).message}`)
  }
}

export const digestOf = (before: string, seq: number, epoch: number, body: string): string =>
  createHash('sha256').update(`${before} ${seq} ${epoch} `).update(body).digest('base64url').slice(0, 22)

export const entryAfter = (before: Position, epoch: number, body: string): Entry => {
  const seq = before.seq + 1
  return { seq, epoch, body, digest: digestOf(before.digest, seq, epoch, body) }
}

/** Whether it is what comes next: its number and its digest say so. */
export const continues = (before: Position, { seq, epoch, body, digest }: Entry): boolean =>
  seq === before.seq + 1 && digest === digestOf(before.digest, seq, epoch, body)
