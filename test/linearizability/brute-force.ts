/** What linearizability means, tried out over every order of a few operations: to judge the judges by. */
import type { Operation } from '../support/linearizability/history.js'

/** Whether some order fits; `byRevision`: one in which what has a revision is in its order, reads after writes. */
export function someOrderFits(operations: readonly Operation[], { byRevision = false } = {}): boolean {
  const must = operations.filter(each => each.outcome === 'done')
  const may = operations.filter(each => each.outcome === 'unknown' && each.kind !== 'read')
  const subsets = Array.from({ length: 2 ** may.length }, (_, bits) => may.filter((_, i) => (bits >> i) & 1))
  return subsets.some(some => extend([], [...must, ...some], byRevision))
}

function extend(order: readonly Operation[], left: readonly Operation[], byRevision: boolean): boolean {
  if (left.length === 0) return true
  return left.some(next => {
    const rest = left.filter(each => each !== next)
    if (rest.some(each => (each.returnedMs ?? Number.POSITIVE_INFINITY) < next.calledMs)) return false
    if (byRevision && rest.some(each => comesFirst(each, next))) return false
    if (!finds(order, next)) return false
    return extend([...order, next], rest, byRevision)
  })
}

function comesFirst(a: Operation, b: Operation): boolean {
  if (a.revision === undefined || b.revision === undefined || (a.kind === 'read' && b.kind === 'read')) return false
  if (a.revision !== b.revision) return a.revision < b.revision
  return a.kind !== 'read' && b.kind === 'read'
}

function finds(order: readonly Operation[], { key, kind, value, expected }: Operation): boolean {
  if (kind === 'write') return true
  const state = order.findLast(each => each.key === key && each.kind !== 'read')?.value ?? null
  return state === (kind === 'read' ? value : (expected ?? null))
}
