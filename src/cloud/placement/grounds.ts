/**
 * A decision as it is kept while its batch is made: a row of numbers for each candidate, which unfolds to what people
 * read only when somebody asks. As objects in objects the candidates were a third of what a decision allocates, and
 * outlived it with their batch.
 */
import type { Decision } from '../records.js'
import type { Appraisal, PreferenceTerms } from './score.js'

type Candidate = Decision['candidates'][number]

/** Score, pressure of cpu, ram and bandwidth, age of the load (NaN: none), free, worst, fit, preferences, appraisal. */
export type Row = readonly [
  score: number,
  cpu: number,
  ram: number,
  bandwidth: number,
  loadAgeMs: number,
  free: number,
  worst: number,
  fit: number,
  zones: number,
  apart: number,
  code: number,
  wires: number,
  appraised: number,
]

export class Grounds implements Decision {
  constructor(
    readonly decisionRevision: number,
    readonly at: string,
    readonly refusedByRule: Readonly<Record<string, number>>,
    readonly motherships: readonly string[],
    readonly rows: readonly Row[],
    readonly appraisal: Appraisal['term'] | undefined,
  ) {}

  /** Best first. */
  get candidates(): Candidate[] {
    return this.rows.map((row, place) => this.#candidate(this.motherships[place]!, row))
  }

  #candidate(mothership: string, row: Row): Candidate {
    const [score, cpu, ram, bandwidth, loadAgeMs, free, worst, fit, zones, apart, code, wires, appraised] = row
    const terms: Record<string, number> = { free: rounded(free), worst: rounded(worst), fit: rounded(fit) }
    const preferences: PreferenceTerms = { zones, apart, code, wires }
    // Most speak against nothing.
    for (const [name, value] of Object.entries(preferences)) if (value !== 0) terms[name] = rounded(value)
    if (this.appraisal) terms[this.appraisal] = rounded(appraised)
    return {
      mothership,
      score: rounded(score),
      terms,
      pressure: { cpu: rounded(cpu), ram: rounded(ram), bandwidth: rounded(bandwidth) },
      loadAgeMs: Number.isNaN(loadAgeMs) ? null : Math.round(loadAgeMs),
    }
  }
}

const rounded = (share: number): number => Math.round(share * 10_000) / 10_000
