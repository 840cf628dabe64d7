/**
 * What clients did and what they were told: one operation for each line of JSON, so that a history can be kept, read
 * and judged again by another program. All times come from one monotonic clock; no clock of a replica is in it.
 */
export interface Operation {
  readonly client: string
  readonly key: string
  /** `cas` writes only where it finds what it expects. */
  readonly kind: 'write' | 'cas' | 'read'
  /** What it wrote (null: deleted), or what a read found (null: nothing). Writes of one key have unique values. */
  readonly value: string | null
  /** Of a `cas`. */
  readonly expected?: string | null
  /**
   * `done`: it was acknowledged. `refused`: it certainly changed nothing (a `cas`: it found something else). `unknown`: the answer did not come, or did not
   * say; it may have happened at any moment since it was called, or never, or may happen yet.
   */
  readonly outcome: 'done' | 'refused' | 'unknown'
  readonly calledMs: number
  /** Absent where the outcome is unknown: it stays open to the end. */
  readonly returnedMs?: number
  /** Under which the store keeps the answer to a write, and so the revision at which it happened. */
  readonly request?: string
  /** The witness: of a write the revision that it committed at, of a read the revision of the state that it shows. */
  readonly revision?: number
  /** Of a read: the revision at which what it found was written. */
  readonly modified?: number
  /** A read from a memory that may be old: it owes the state at its revision, and nothing to the moment. */
  readonly aged?: boolean
}

export const toLines = (history: readonly Operation[]): string =>
  history.map(each => `${JSON.stringify(each)}\n`).join('')

/** Throws for a line that is no operation. */
export const fromLines = (text: string): Operation[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map((line, index) => {
      const value = JSON.parse(line) as Partial<Operation>
      const known = typeof value.key === 'string' && typeof value.calledMs === 'number' && value.outcome !== undefined
      if (!known) throw new RangeError(`line ${index + 1} is no operation`)
      return value as Operation
    })

/** A value that a key had from a revision on, whoever says so. */
export interface Version {
  readonly key: string
  readonly revision: number
  readonly value: string | null
}

export const describe = ({ client, kind, key, value, revision }: Operation): string =>
  `${client}: ${kind} ${key} = ${value === null ? 'nothing' : JSON.stringify(value)}${revision === undefined ? '' : ` at ${revision}`}`
