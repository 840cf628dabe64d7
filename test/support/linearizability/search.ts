/**
 * Linearizability without a witness: is there any order of the operations that respects real time and in which each one
 * finds what it says? The search of Wing and Gong ("Testing and verifying concurrent objects", JPDC 17, 1993) with the
 * memory of configurations of Lowe ("Testing for linearizability", Concurrency and Computation 29, 2017): the same set
 * of operations done, with the same state, need not be tried twice. Each key is a register of its own, so the
 * history is split by key first (linearizability is local). Exponential at worst, in the number of operations that
 * are open at one time.
 */
import type { Operation } from './history.js'
import { listAt } from './witness.js'

/** A call or a return, in a list by time from which what is done is lifted out, and put back in reverse order. */
interface Entry {
  readonly operation: Operation
  readonly index: number
  /** Of a call: its return; absent when it never came. */
  readonly end?: Entry
  readonly call: boolean
  before: Entry | undefined
  after: Entry | undefined
}

/** Keys whose operations fit no order. */
export function keysOutOfOrder(history: readonly Operation[]): string[] {
  const keys = new Map<string, Operation[]>()
  for (const each of history) listAt(keys, each.key).push(each)
  return [...keys].filter(([, operations]) => !isLinearizable(operations)).map(([key]) => key)
}

/** Of one key, which holds nothing at first. */
export function isLinearizable(operations: readonly Operation[]): boolean {
  const judged = operations.filter(saysSomething)
  const head = listOf(judged)
  let left = judged.filter(each => each.outcome !== 'unknown').length
  let state: string | null = null
  let done = 0n
  const tried = new Set<string>()
  const path: { readonly entry: Entry; readonly state: string | null }[] = []
  let entry = head.after
  while (left > 0) {
    const next: After = entry?.call ? after(state, entry.operation) : undefined
    if (entry && next && !triedBefore(tried, done | (1n << BigInt(entry.index)), next.state)) {
      path.push({ entry, state })
      state = next.state
      done |= 1n << BigInt(entry.index)
      if (entry.operation.outcome !== 'unknown') left--
      lift(entry)
      entry = head.after
    } else if (entry?.call) entry = entry.after
    else {
      // A return whose call was not taken: something before it must be taken otherwise.
      const last = path.pop()
      if (!last) return false
      unlift(last.entry)
      state = last.state
      done ^= 1n << BigInt(last.entry.index)
      if (last.entry.operation.outcome !== 'unknown') left++
      entry = last.entry.after
    }
  }
  return true
}

/** A read without an answer, an aged one, and a write that was refused for another reason than the state. */
const saysSomething = ({ kind, outcome, aged }: Operation): boolean =>
  !aged &&
  (outcome === 'done' || (outcome === 'unknown' && kind !== 'read') || (outcome === 'refused' && kind === 'cas'))

type After = { readonly state: string | null } | undefined

/** The register after the operation; undefined when it cannot have found this state. */
function after(state: string | null, operation: Operation): After {
  const { kind, value, outcome } = operation
  if (kind === 'write') return { state: value }
  if (kind === 'read') return state === value ? { state } : undefined
  const fits = state === (operation.expected ?? null)
  if (outcome === 'refused') return fits ? undefined : { state }
  return fits ? { state: value } : undefined
}

function triedBefore(tried: Set<string>, done: bigint, state: string | null): boolean {
  const configuration = `${done.toString(36)}=${JSON.stringify(state)}`
  if (tried.has(configuration)) return true
  tried.add(configuration)
  return false
}

/** By time; at the same time calls come first, so that such operations are open together. */
function listOf(operations: readonly Operation[]): Entry {
  const link = { before: undefined, after: undefined }
  const entries = operations.flatMap((operation, index): { readonly atMs: number; readonly entry: Entry }[] => {
    if (operation.outcome === 'unknown') {
      return [{ atMs: operation.calledMs, entry: { operation, index, call: true, ...link } }]
    }
    const end: Entry = { operation, index, call: false, ...link }
    return [
      { atMs: operation.calledMs, entry: { operation, index, call: true, end, ...link } },
      { atMs: operation.returnedMs ?? Number.POSITIVE_INFINITY, entry: end },
    ]
  })
  entries.sort((a, b) => a.atMs - b.atMs || Number(b.entry.call) - Number(a.entry.call))
  const head: Entry = { operation: undefined as never, index: -1, call: false, ...link }
  let last = head
  for (const { entry } of entries) {
    last.after = entry
    entry.before = last
    last = entry
  }
  return head
}

function lift(call: Entry): void {
  for (const entry of [call, call.end]) {
    if (!entry) continue
    entry.before!.after = entry.after
    if (entry.after) entry.after.before = entry.before
  }
}

function unlift(call: Entry): void {
  for (const entry of [call.end, call]) {
    if (!entry) continue
    entry.before!.after = entry
    if (entry.after) entry.after.before = entry
  }
}
