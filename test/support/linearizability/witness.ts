/**
 * Linearizability with a witness, in O(n log n): the store says at which revision each write took effect and which
 * revision each read shows, so no order has to be searched for. The order of revisions is one if it respects real time
 * and if each read finds the state at its revision. All keys are judged together: revisions are those of one store.
 *
 * What a history says of a revision comes from writes that were acknowledged, from reads (a value and the revision that
 * made it) and, where it is given, from the store's own log, which is complete: a write that it lacks was lost.
 * Without the log, a cas is not judged that expects the work of a write whose revision nobody told.
 */
import { describe, type Operation, type Version } from './history.js'

export interface Violation {
  readonly rule:
    | 'one value at a revision'
    | 'one effect for a write'
    | 'acknowledged writes are in the log'
    | 'refused writes are not in the log'
    | 'only what was written is there'
    | 'a cas finds what it expects'
    | 'reads find the state at their revision'
    | 'revisions respect real time'
  readonly detail: string
}

export interface Witnessed {
  readonly violations: readonly Violation[]
  /** How many operations were judged by their revision. */
  readonly judged: number
}

/** `log`: all versions of all keys of the history; absent: what the history itself says. */
export function judgeByWitness(history: readonly Operation[], log?: readonly Version[]): Witnessed {
  const violations: Violation[] = []
  const states = new States(log ?? [...versionsOf(history)], violations)
  if (log) for (const each of history) states.expect(each)
  judgeEffects(history, states, log !== undefined, violations)
  const judged = history.filter(each => each.outcome === 'done' && each.revision !== undefined)
  for (const each of judged) if (each.kind === 'read') states.judgeRead(each)
  judgeTime(history, states, violations)
  return { violations, judged: judged.length }
}

function* versionsOf(history: readonly Operation[]): Iterable<Version> {
  for (const { key, kind, value, outcome, revision, modified } of history) {
    if (outcome !== 'done') continue
    if (kind !== 'read' && revision !== undefined) yield { key, revision, value }
    if (kind === 'read' && modified !== undefined && value !== null) yield { key, revision: modified, value }
  }
}

class States {
  /** Of each key, by revision. */
  readonly #versions = new Map<string, Version[]>()
  readonly #revisions: number[]
  readonly #made = new Map<string, Version[]>()

  constructor(
    log: readonly Version[],
    private readonly violations: Violation[],
  ) {
    const seen = new Map<string, string | null>()
    for (const version of [...log].sort((a, b) => a.revision - b.revision)) {
      const place = `${version.key}@${version.revision}`
      const before = seen.get(place)
      if (before === undefined) this.#add(version)
      else if (before !== version.value) {
        violations.push({ rule: 'one value at a revision', detail: `${place}: ${before} and ${version.value}` })
      }
      seen.set(place, version.value)
    }
    this.#revisions = [...new Set(log.map(each => each.revision))].sort((a, b) => a - b)
  }

  #add(version: Version): void {
    const { key, value } = version
    listAt(this.#versions, key).push(version)
    if (value !== null) listAt(this.#made, `${key}=${value}`).push(version)
  }

  /** What the history says must be what the log has; a write may have been overwritten in its own transaction. */
  expect({ key, kind, value, outcome, ...rest }: Operation): void {
    const revision = kind === 'read' ? rest.modified : rest.revision
    if (outcome !== 'done' || revision === undefined || (kind === 'read' && value === null)) return
    const found = this.at(key, revision)
    if (found?.revision === revision && (kind !== 'read' || found.value === value)) return
    const detail = `${key} = ${value} at ${revision}: the log has ${found ? `${found.value} from ${found.revision}` : 'nothing'}`
    this.violations.push({ rule: 'acknowledged writes are in the log', detail })
  }

  /** The newest version of the key up to the revision. */
  at(key: string, revision: number): Version | undefined {
    const versions = this.#versions.get(key) ?? []
    return versions[countUpTo(versions, revision, each => each.revision) - 1]
  }

  madeBy({ key, value }: Pick<Operation, 'key' | 'value'>): readonly Version[] {
    return this.#made.get(`${key}=${value}`) ?? []
  }

  get values(): Iterable<readonly Version[]> {
    return this.#made.values()
  }

  /** Revisions between two writes show one state: a read is put right after the last write that it can show. */
  momentOf(revision: number): number {
    return this.#revisions[countUpTo(this.#revisions, revision, each => each) - 1] ?? 0
  }

  judgeRead(read: Operation): void {
    const shown = this.at(read.key, read.revision!)
    if ((shown?.value ?? null) === read.value) return
    const detail = `${describe(read)}, but it is ${shown?.value ?? 'nothing'} from ${shown?.revision ?? 0} on`
    this.violations.push({ rule: 'reads find the state at their revision', detail })
  }
}

export function listAt<T>(lists: Map<string, T[]>, name: string): T[] {
  let list = lists.get(name)
  if (!list) lists.set(name, (list = []))
  return list
}

function countUpTo<T>(sorted: readonly T[], most: number, of: (each: T) => number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (of(sorted[middle]!) <= most) low = middle + 1
    else high = middle
  }
  return low
}

function judgeEffects(history: readonly Operation[], states: States, complete: boolean, violations: Violation[]): void {
  const writers = new Set<string>()
  for (const write of history) {
    if (write.kind === 'read') continue
    writers.add(`${write.key}=${write.value}`)
    const made = write.value === null ? [] : states.madeBy(write)
    const tell = (rule: Violation['rule'], more = ''): void => {
      violations.push({ rule, detail: describe(write) + more })
    }
    if (made.length > 1) tell('one effect for a write', `: at ${made.map(each => each.revision).join(', ')}`)
    if (write.outcome === 'refused' && made.length > 0) tell('refused writes are not in the log')
    if (write.outcome === 'done' && complete && write.value !== null && made.length === 0 && !write.revision) {
      tell('acknowledged writes are in the log')
    }
    if (write.kind === 'cas') judgeCas(write, history, states, complete, tell)
  }
  for (const [first] of states.values) {
    if (!first || writers.has(`${first.key}=${first.value}`)) continue
    violations.push({ rule: 'only what was written is there', detail: `${first.key} = ${first.value}` })
  }
}

/** Writes that share a transaction share a revision: then a cas may have found what another of them wrote. */
function judgeCas(
  cas: Operation,
  history: readonly Operation[],
  states: States,
  complete: boolean,
  tell: (rule: Violation['rule'], more: string) => void,
): void {
  const revision = revisionOf(cas, states)
  if (revision === undefined) return
  const { key, value, expected = null } = cas
  const before = states.at(key, revision - 1)?.value ?? null
  // Without the log, what was expected may be the work of a write that nobody was told of.
  if (!complete && states.madeBy({ key, value: expected }).length === 0) return
  const beside = history.filter(
    each => each !== cas && each.kind !== 'read' && each.key === key && each.revision === revision,
  )
  const last = states.at(key, revision)?.value === value
  const found = last && beside.length > 0 ? [] : [before]
  if (![...found, ...beside.map(each => each.value)].includes(expected)) {
    tell('a cas finds what it expects', `: ${before} was there`)
  }
}

/**
 * Whatever began after an operation had returned comes later in the order of revisions: a write strictly, a read not
 * before. One sweep over calls, with the newest revision of all that has returned by then.
 */
function judgeTime(history: readonly Operation[], states: States, violations: Violation[]): void {
  const points = history.flatMap(operation => {
    const revision = revisionOf(operation, states)
    if (revision === undefined || operation.aged) return []
    return [{ operation, moment: operation.kind === 'read' ? states.momentOf(revision) : revision }]
  })
  const calls = points.toSorted((a, b) => a.operation.calledMs - b.operation.calledMs)
  const returns = points
    .filter(each => each.operation.returnedMs !== undefined && each.operation.outcome === 'done')
    .toSorted((a, b) => a.operation.returnedMs! - b.operation.returnedMs!)
  let newest: (typeof points)[number] | undefined
  let next = 0
  for (const call of calls) {
    for (; next < returns.length && returns[next]!.operation.returnedMs! < call.operation.calledMs; next++) {
      if (!newest || returns[next]!.moment > newest.moment) newest = returns[next]!
    }
    if (!newest) continue
    const late = call.operation.kind === 'read' ? call.moment < newest.moment : call.moment <= newest.moment
    if (!late) continue
    const detail = `${describe(call.operation)} began after the end of ${describe(newest.operation)}`
    violations.push({ rule: 'revisions respect real time', detail })
  }
}

/** Of a write whose revision nobody told: where it was seen. */
function revisionOf(operation: Operation, states: States): number | undefined {
  if (operation.outcome === 'refused' || (operation.kind === 'read' && operation.outcome !== 'done')) return undefined
  if (operation.revision !== undefined) return operation.revision
  return operation.kind === 'read' || operation.value === null ? undefined : states.madeBy(operation)[0]?.revision
}
