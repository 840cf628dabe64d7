/** The table of faults: what was measured in each row, kept for `bench/results/faults.md`. */
import { appendFileSync } from 'node:fs'
import { loadavg } from 'node:os'

export interface Row {
  /** Like `F7`; one fault may have several rows. */
  readonly id: string
  readonly fault: string
  /** What was measured, with its unit. */
  readonly figure: string
  readonly bar: string
  readonly ok: boolean
  readonly n: number
}

/** Told to who started the run; a row of a run of its own is printed only. */
export function report(row: Row): void {
  const { RAIN_FAULT_ROWS: file } = process.env
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ ...row, load: Math.round(loadavg()[0]!) })}\n`)
  process.stdout.write(
    `${row.ok ? 'ok    ' : 'MISSED'} ${row.id} ${row.fault}: ${row.figure} (bar: ${row.bar}, n = ${row.n})\n`,
  )
}

export const ms = (value: number): string => (Number.isFinite(value) ? `${Math.round(value)} ms` : 'never')

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
