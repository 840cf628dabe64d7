/**
 * The leader's queue (S7): one command after the other is decided on the map as it will be once everything before it
 * is written, and as many as fit go out in one transaction (S3). The next batch is gathered while one is in flight and
 * decided once this replica's memory shows it, so a decision never rests on anything that is not in etcd.
 *
 * Exactly once (S8): a request id is looked for among what waits, what was answered in this term, and (unless this is
 * its first sending) in etcd.
 */
import { hash } from 'node:crypto'
import type { Actor, Answer, Command, Envelope } from '../cloud/commands.js'
import { decide } from '../cloud/decide/decide.js'
import type { AnswerBody, Context, Step } from '../cloud/decide/verdict.js'
import { Draft } from '../cloud/draft.js'
import { CloudError } from '../cloud/errors.js'
import type { CloudMap } from '../cloud/map.js'
import { componentKey } from '../cloud/version.js'
import { AnsweredBook } from './answered.js'
import { Crowd } from './crowd.js'
import { decidedIn, type Gathered, isKeyed, type Job, Packing } from './packing.js'
import type { AuditEntry, Batch, Clock, Maps, RequestRecord, Requests, Term } from './ports.js'
import { stamper } from './stamps.js'

export const queueMax = 10_000
const recentMax = 10_000
const reasonsMax = 100
/** How long the queue waits for its memory to show what it has just written before it calls that a bug of the watch. */
const ownWriteMs = 30_000

/** A plan of the hypervisor's own, decided at its turn like a command. */
export interface Proposal {
  readonly name: string
  readonly steps: (draft: Draft) => readonly Step[]
}

export type Place = Context['place']

/** What is left of a job whose steps are going out. */
interface Current {
  readonly job: Job | undefined
  readonly name: string
  readonly steps: readonly Step[]
  next: number
  readonly answer: AnswerBody | undefined
  readonly needsBlobs?: { readonly digest: string; readonly chunks: number }
  readonly version?: string
}

export interface QueuePorts {
  readonly maps: Maps
  readonly requests: Requests
  readonly clock: Clock
  readonly place: Place
  readonly plan: Context['plan']
}

/** An id that was made for one call is used for no other one. */
const fingerprintOf = ({ since, command }: Envelope): string =>
  since === undefined ? hash('sha256', JSON.stringify(command)) : ''

export class LeaderQueue {
  readonly #waiting: Job[] = []
  readonly #proposals = new Map<string, Proposal>()
  readonly #jobs = new Map<string, Job>()
  readonly #recent = new AnsweredBook(recentMax)
  readonly #stamp: () => string
  #current: Current | undefined
  #wake: (() => void) | undefined
  #closed: CloudError | undefined
  readonly #crowd = new Crowd()
  #onOther: (() => void) | undefined
  #sentAtMs: number | undefined

  constructor(
    private readonly term: Term,
    private readonly ports: QueuePorts,
  ) {
    this.#stamp = stamper(ports.clock)
  }

  get length(): number {
    return this.#jobs.size
  }

  /** How long the transaction in flight has been away; undefined when there is none. */
  get inFlightForMs(): number | undefined {
    return this.#sentAtMs === undefined ? undefined : this.ports.clock.nowMs() - this.#sentAtMs
  }

  async accept(envelope: Envelope): Promise<Answer> {
    const fingerprint = fingerprintOf(envelope)
    const known = this.#known(envelope.requestId, fingerprint)
    if (known) return known
    const record = envelope.fresh ? undefined : await this.ports.requests.read(envelope.requestId, envelope.since)
    if (record) {
      if (record.fingerprint !== fingerprint) throw otherRequest(envelope.requestId)
      if (record.done) return { ...expand(record), order: await this.ports.maps.catchUp(2_000), replayed: true }
    }
    return this.#known(envelope.requestId, fingerprint) ?? this.#enqueue(envelope, fingerprint, record)
  }

  /** Comes before commands, and replaces a proposal of the same name that still waits. */
  propose(proposal: Proposal): void {
    if (this.#closed) return
    this.#proposals.set(proposal.name, proposal)
    this.#stir()
  }

  /** Runs until the term is over. What is not written then is rejected: whoever asked sends it to the next leader. */
  async run(): Promise<void> {
    void this.term.ended.then(reason => this.#close(new CloudError('no-leader', `the term ended: ${reason}`)))
    while (!this.#closed) {
      if (!this.#hasWork()) await new Promise<void>(resolve => (this.#wake = resolve))
      const others = this.#others()
      if (others) await others
      if (this.#hasWork() && !(await this.#turn())) break
    }
    const error = this.#closed ?? new CloudError('no-leader', 'this replica does not lead any more')
    for (const job of [...this.#jobs.values()]) this.#finish(job, () => job.reject(error))
  }

  /** Stops planning; the transaction in flight is waited for by `run`. */
  close(): void {
    this.#close(new CloudError('no-leader', 'this replica stops leading'))
  }

  #known(requestId: string, fingerprint: string): Promise<Answer> | undefined {
    const job = this.#jobs.get(requestId)
    const recent = this.#recent.get(requestId)
    const found = job?.fingerprint ?? recent?.fingerprint
    if (found === undefined) return undefined
    if (found !== fingerprint) return Promise.reject(otherRequest(requestId))
    return job ? job.promise : Promise.resolve({ ...recent!.answer, replayed: true })
  }

  #enqueue(envelope: Envelope, fingerprint: string, resume: RequestRecord | undefined): Promise<Answer> {
    if (this.#closed) return Promise.reject(this.#closed)
    if (this.#jobs.size >= queueMax) {
      return Promise.reject(new CloudError('busy', `${queueMax} commands wait already`, { retryAfterS: 1 }))
    }
    let resolve!: (answer: Answer) => void
    let reject!: (error: CloudError) => void
    const promise = new Promise<Answer>((yes, no) => {
      resolve = yes
      reject = no
    })
    const { requestId } = envelope
    const job: Job = { requestId, fingerprint, envelope, promise, resolve, reject, ...(resume ? { resume } : {}) }
    this.#jobs.set(requestId, job)
    this.#waiting.push(job)
    this.#stir()
    return promise
  }

  #stir(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
    this.#onOther?.()
  }

  /** Waits for those who are about to ask again, if there is a crowd of them. */
  #others(): Promise<void> | undefined {
    const leftMs = (): number =>
      this.#current || this.#closed ? 0 : this.#crowd.leftMs(this.#waiting.length, this.ports.clock.nowMs())
    const firstMs = leftMs()
    if (firstMs === 0) return undefined
    return new Promise(resolve => {
      const go = (): void => {
        cancel()
        this.#onOther = undefined
        resolve()
      }
      const cancel = this.ports.clock.after(firstMs, go)
      this.#onOther = () => {
        if (leftMs() === 0) go()
      }
    })
  }

  #hasWork(): boolean {
    return this.#current !== undefined || this.#proposals.size > 0 || this.#waiting.length > 0
  }

  #close(error: CloudError): void {
    this.#closed ??= error
    this.#proposals.clear()
    this.#stir()
    for (const job of this.#waiting.splice(0)) this.#finish(job, () => job.reject(error))
  }

  /** One batch: gathered in one synchronous stretch, written, waited for. False when the term is over. */
  async #turn(): Promise<boolean> {
    if (!this.term.valid()) {
      this.#close(new CloudError('no-leader', 'the lease of this leader may have run out'))
      return false
    }
    const { batch, settle, jobs } = this.#gather(this.ports.maps.map)
    if (isEmpty(batch)) {
      if (settle.length > 0 && !(await this.term.holds())) {
        this.#close(new CloudError('no-leader', 'another replica leads now'))
        return false
      }
      for (const { tell } of settle) tell(this.ports.maps.map.order)
      return true
    }
    this.#sentAtMs = this.ports.clock.nowMs()
    const result = await this.term.commit(batch)
    if (result.kind === 'missing-blobs') {
      this.#sentAtMs = undefined
      const error = new CloudError('chunks-gone', 'chunks of the package are not there any more: send it again')
      for (const job of jobs) this.#finish(job, () => job.reject(error))
      for (const { job, tell } of settle) if (!jobs.includes(job)) tell(this.ports.maps.map.order)
      this.#current = undefined
      return true
    }
    if (result.kind === 'unknown') {
      const error = new CloudError('timeout', 'the term ended before it was known whether the change was made')
      for (const job of jobs) this.#finish(job, () => job.reject(error))
    }
    if (result.kind === 'superseded' || result.kind === 'unknown') {
      this.#close(new CloudError('no-leader', 'another replica leads now'))
      return false
    }
    const order = { era: this.ports.maps.map.order.era, revision: result.revision }
    await this.ports.maps.waitFor(order, ownWriteMs)
    const nowMs = this.ports.clock.nowMs()
    this.#crowd.answered(settle.length, this.#waiting.length, nowMs - this.#sentAtMs, nowMs)
    this.#sentAtMs = undefined
    for (const { tell } of settle) tell(order)
    return true
  }

  #gather(map: CloudMap): Gathered {
    const draft = new Draft(map)
    const packing = new Packing()
    while (packing.open) {
      this.#current ??= this.#next(draft, packing)
      if (!this.#current) break
      const current = this.#current
      if (current.needsBlobs && !packing.empty) break
      if (!this.#pack(current, draft, packing)) break
      this.#current = undefined
      if (current.needsBlobs) break
    }
    return packing.result
  }

  /** The next proposal or command with something to write. Whoever gets an answer without that is told with the batch. */
  #next(draft: Draft, packing: Packing): Current | undefined {
    for (;;) {
      const proposal = this.#proposals.values().next().value
      if (proposal) {
        this.#proposals.delete(proposal.name)
        const steps = proposal.steps(draft)
        if (steps.length === 0) continue
        return { job: undefined, name: proposal.name, steps, next: 0, answer: undefined }
      }
      const job = this.#waiting[0]
      if (!job) return undefined
      if (!packing.empty && needsChunks(draft, job.envelope.command)) return undefined
      this.#waiting.shift()
      const current = this.#decide(job, draft, packing)
      if (current) return current
    }
  }

  #decide(job: Job, draft: Draft, packing: Packing): Current | undefined {
    const { resume } = job
    const verdict = decide(draft, job.envelope.command, {
      actor: job.envelope.actor,
      requestId: job.requestId,
      at: this.#stamp(),
      place: this.ports.place,
      plan: this.ports.plan,
      ...(resume
        ? {
            resume: {
              progress: resume.progress,
              ids: resume.answer.ids,
              ...(resume.last === undefined ? {} : { last: resume.last }),
              ...(resume.version === undefined ? {} : { version: resume.version }),
            },
          }
        : {}),
    })
    if (verdict.kind === 'refuse') {
      packing.tell(job, () => this.#finish(job, () => job.reject(verdict.error)))
      return undefined
    }
    const { answer, needsBlobs, version } = verdict
    const name = job.envelope.command.op
    const changes = verdict.steps.some(step => step.changes.length > 0 || step.dropsBlobs)
    // What an earlier leader began is ended with a word in etcd, also when there is nothing more to change; so is what
    // changes nothing, because its caller may ask again under the same key when it would.
    if (!changes && !resume) {
      if (keepsAnswers(job.envelope.actor)) return { job, name, steps: [], next: 0, answer }
      packing.tell(job, order => this.#answered(job, { ...answer, order }))
      return undefined
    }
    const more = { ...(needsBlobs ? { needsBlobs } : {}), ...(version === undefined ? {} : { version }) }
    return { job, name, steps: verdict.steps, next: 0, answer, ...more }
  }

  /** Puts as many of the steps into the batch as fit. True when all of them are in. */
  #pack(current: Current, draft: Draft, packing: Packing): boolean {
    const { job, steps, answer } = current
    const first = current.next
    while (current.next < steps.length && packing.fits(steps[current.next]!, job !== undefined && isKeyed(job))) {
      const step = decidedIn(steps[current.next++]!, turnAfter(draft))
      draft.add(step.changes)
      packing.add(step)
    }
    const whole = current.next === steps.length
    if (current.next === first && first < steps.length) {
      if (packing.empty) throw new CloudError('internal', `a step of ${current.name} is larger than a transaction`)
      return false
    }
    const written = steps.slice(first, current.next)
    if (written.length > 0) packing.audit(this.#auditOf(current, written))
    if (job && answer) {
      packing.request(recordOf(job, answer, current, written, whole), job)
      if (current.needsBlobs) packing.needBlobs(current.needsBlobs)
      if (whole) packing.tell(job, order => this.#answered(job, { ...answer, order }))
    }
    return whole
  }

  #auditOf(current: Current, written: readonly Step[]): AuditEntry {
    const notes = written.flatMap(step => step.note ?? [])
    const actor: Actor = current.job?.envelope.actor ?? { role: 'system', subject: 'hypervisor' }
    return {
      requestId: current.job?.requestId ?? '',
      actor: actor.subject,
      role: actor.role,
      ...(actor.from === undefined ? {} : { from: actor.from }),
      op: current.name,
      subjects: [...new Set(written.flatMap(step => step.subjects))],
      ...(notes.length > 0 ? { note: notes.join('; ') } : {}),
      at: this.#stamp(),
    }
  }

  #answered(job: Job, answer: Answer): void {
    this.#recent.set(job.requestId, { fingerprint: job.fingerprint, answer })
    this.#finish(job, () => job.resolve(answer))
  }

  #finish(job: Job, tell: () => void): void {
    this.#jobs.delete(job.requestId)
    tell()
  }
}

const isEmpty = ({ changes, requests, answers, dropsBlobs }: Batch): boolean =>
  changes.length === 0 && requests.length === 0 && answers === undefined && dropsBlobs === undefined

/** The memory has reached the last transaction, so the next one has the next number. */
const turnAfter = (map: CloudMap): number => (map.get('turn')?.value.number ?? 0) + 1

/** Nodes say what they are, each time anew, and the hypervisor decides on what is: neither repeats a request. */
const keepsAnswers = ({ role }: Actor): boolean => role !== 'node' && role !== 'system'

function recordOf(
  job: Job,
  answer: AnswerBody,
  current: Current,
  written: readonly Step[],
  whole: boolean,
): RequestRecord {
  const last = written.at(-1)?.subjects.at(-1)
  const ids = whole || answer.kind !== 'instances' ? answer.ids : answer.ids.slice(0, current.next)
  const refused = answer.refused?.slice(0, 1).map(each => ({ reasons: each.reasons.slice(0, reasonsMax) }))
  return {
    schema: 1,
    id: job.requestId,
    fingerprint: job.fingerprint,
    done: whole,
    answer: { ...answer, ids, ...(refused ? { refused } : {}) },
    progress: (job.resume?.progress ?? 0) + current.next,
    ...(last === undefined || whole ? {} : { last }),
    ...(current.version === undefined ? {} : { version: current.version }),
    ...(answer.refused ? { refusedCount: answer.refused.length } : {}),
  }
}

function expand(record: RequestRecord): AnswerBody {
  const first = record.answer.refused?.[0]
  if (!first || record.refusedCount === undefined) return record.answer
  return { ...record.answer, refused: Array(record.refusedCount).fill(first) as (typeof first)[] }
}

/** A new version: chunks that are gone refuse the whole transaction, so it has one of its own. */
function needsChunks(map: CloudMap, command: Command): boolean {
  if (command.op !== 'deploy') return false
  const { id, version } = command.body.component
  return map.get('components', componentKey(id, version)) === undefined
}

const otherRequest = (requestId: string): CloudError =>
  new CloudError('conflict', `the request id ${requestId} was used for another request: take a new Idempotency-Key`)
