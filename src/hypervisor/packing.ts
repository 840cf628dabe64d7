/**
 * One transaction in the making: the steps of as many commands as fit, with their audit, the answers to keep, and whom
 * to tell what once it is written.
 */
import type { Answer, Envelope } from '../cloud/commands.js'
import type { Decided, Step } from '../cloud/decide/verdict.js'
import type { CloudError } from '../cloud/errors.js'
import { type Change, put } from '../cloud/records.js'
import { type AuditEntry, type Batch, batchOpsMax, type RequestRecord } from './ports.js'

const batchBytesMax = 900_000
/** What most records weigh at most; the few that may be larger are weighed. */
const recordBytes = 2_000
const decisionBytes = 1_000

export interface Job {
  readonly requestId: string
  readonly fingerprint: string
  readonly envelope: Envelope
  readonly resume?: RequestRecord
  readonly promise: Promise<Answer>
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: CloudError) => void
}

export interface Gathered {
  readonly batch: Batch
  /** What to tell whom once the batch is written; with nothing to write, at once. */
  readonly settle: readonly Telling[]
  readonly jobs: readonly Job[]
}

export interface Telling {
  readonly job: Job
  readonly tell: (order: Answer['order']) => void
}

export class Packing {
  readonly #changes: Change[] = []
  readonly #audit: AuditEntry[] = []
  readonly #requests: RequestRecord[] = []
  readonly #answers: RequestRecord[] = []
  readonly #jobs: Job[] = []
  readonly #settle: Telling[] = []
  readonly #decisions: Decided[] = []
  readonly #keys = new Set<string>()
  #needsBlobs: { digest: string; chunks: number }[] = []
  readonly #dropsBlobs: { digest: string; chunks: number }[] = []
  #dropOps = 0
  #bytes = 0

  get empty(): boolean {
    return this.#changes.length === 0 && this.#jobs.length === 0 && this.#dropsBlobs.length === 0
  }

  get open(): boolean {
    return this.#keys.size + this.#requests.length + this.#dropOps < batchOpsMax && this.#bytes < batchBytesMax
  }

  get result(): Gathered {
    // A key may be written twice within one batch: the draft's merged changes go out, the last word for each key.
    const merged = new Map(this.#changes.map(change => [`${change.kind}/${change.id}`, change]))
    return {
      batch: {
        changes: [...merged.values()],
        audit: this.#audit,
        requests: this.#requests,
        ...(this.#answers.length > 0 ? { answers: this.#answers } : {}),
        ...(this.#decisions.length > 0 ? { decisions: this.#decisions } : {}),
        ...(this.#needsBlobs.length > 0 ? { needsBlobs: this.#needsBlobs } : {}),
        ...(this.#dropsBlobs.length > 0 ? { dropsBlobs: this.#dropsBlobs } : {}),
      },
      settle: this.#settle,
      jobs: this.#jobs,
    }
  }

  /** `keyed`: with an answer that is an operation of its own. */
  fits(step: Step, keyed: boolean): boolean {
    const fresh = step.changes.filter(change => !this.#keys.has(`${change.kind}/${change.id}`)).length
    const drops = this.#dropOps + (step.dropsBlobs?.chunks ?? 0)
    const ops = this.#keys.size + fresh + this.#requests.length + (keyed ? 1 : 0) + drops
    return ops <= batchOpsMax && (this.empty || this.#bytes + weigh(step) <= batchBytesMax)
  }

  add(step: Step): void {
    this.#changes.push(...step.changes)
    for (const change of step.changes) this.#keys.add(`${change.kind}/${change.id}`)
    if (step.dropsBlobs) {
      this.#dropsBlobs.push(step.dropsBlobs)
      this.#dropOps += step.dropsBlobs.chunks
    }
    this.#decisions.push(...(step.decisions ?? []))
    this.#bytes += weigh(step)
  }

  audit(entry: AuditEntry): void {
    this.#audit.push(entry)
    this.#bytes += entry.subjects.length * 64
  }

  request(record: RequestRecord, job: Job): void {
    const kept = isKeyed(job) ? this.#requests : this.#answers
    kept.push(record)
    this.#jobs.push(job)
    this.#bytes += record.answer.ids.length * 64 + 500
  }

  needBlobs(blobs: { digest: string; chunks: number }): void {
    this.#needsBlobs = [blobs]
  }

  tell(job: Job, tell: Telling['tell']): void {
    this.#settle.push({ job, tell })
  }
}

/** Whether the request id is a key of the caller's own. */
export const isKeyed = ({ envelope }: Job): boolean => envelope.since === undefined

/** With the turn in which it was decided in the records of the instances that it places. */
export function decidedIn(step: Step, turn: number): Step {
  if (!step.decisions) return step
  const placed = new Set(step.decisions.map(each => each.instance))
  const changes = step.changes.map(change =>
    change.kind === 'instances' && change.value && placed.has(change.id)
      ? put('instances', change.id, { ...change.value, decidedIn: turn })
      : change,
  )
  return { ...step, changes }
}

function weigh(step: Step): number {
  let bytes = (step.decisions?.length ?? 0) * decisionBytes
  for (const { kind, value } of step.changes) {
    const large =
      kind === 'components' ||
      kind === 'wiring' ||
      kind === 'rainservers' ||
      kind === 'rollouts' ||
      kind === 'activations'
    bytes += value === null ? 200 : large ? JSON.stringify(value).length : recordBytes
  }
  return bytes
}
