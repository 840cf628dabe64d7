/**
 * Simulated users: each asks for one thing after the other, at whatever replica, and most of them send again under the
 * same request id when no answer comes. What they asked and were told is the history that is checked.
 */
import type { Answer, Command, Envelope } from '../../src/cloud/commands.js'
import { CloudError } from '../../src/cloud/errors.js'
import type { CloudMap } from '../../src/cloud/map.js'
import { type Kind, kinds } from '../../src/cloud/records.js'
import { Keys } from '../../src/store/keys.js'
import type { Dice } from './dice.js'
import type { SimEtcd } from './etcd.js'
import type { Call, History, Outcome, Read } from './history.js'
import type { SimMothership } from './mothership.js'
import { CallFailure, type Network } from './network.js'
import { clusterName, type SimReplica } from './replica.js'
import { digestOf, packageOf } from './wishes.js'

export interface Cloud {
  readonly network: Network
  readonly etcd: SimEtcd
  readonly replicas: readonly SimReplica[]
  readonly history: History
  readonly motherships: readonly SimMothership[]
}

const actor = { role: 'operator', subject: 'simulated' } as const
/** What does not tell what became of the change, and passes. */
const passing: ReadonlySet<string> = new Set(['no-leader', 'timeout', 'store-unavailable', 'superseded', 'busy'])
const attemptsMax = 6
const answerMs = 4_000

export class SimClient {
  readonly #dice: Dice

  constructor(
    readonly name: string,
    private readonly cloud: Cloud,
  ) {
    this.#dice = cloud.network.world.dice.for(name)
  }

  /** Resolves with the answer, or undefined when there was none that says that it is done. */
  async ask(command: Command, keyed = this.#dice.percent(75)): Promise<Answer | undefined> {
    const envelope: Envelope = { requestId: this.#dice.id(32), fresh: !keyed, actor, command }
    const { etcd, history } = this.cloud
    const call: Call = {
      client: this.name,
      envelope,
      keyed,
      sent: 0,
      begunAt: etcd.revision,
      endedAt: Number.POSITIVE_INFINITY,
      outcome: { kind: 'unknown' },
      repeated: [],
    }
    history.calls.push(call)
    const outcome = keyed ? await this.#insist(call) : await this.#once(call)
    call.outcome = outcome
    if (outcome.kind !== 'unknown') call.endedAt = etcd.revision
    this.#note(call)
    return outcome.kind === 'ok' ? outcome.answer : undefined
  }

  /** What was done before is asked for again, under its id: it has to be the same answer. */
  async repeat(call: Call): Promise<void> {
    const outcome = await this.#once(call)
    if (outcome.kind === 'ok') call.repeated.push(outcome.answer)
    if (outcome.kind === 'ok' && outcome.answer.replayed) this.#count('branch: answer replayed')
  }

  async read(current: boolean): Promise<Read | undefined> {
    const to = this.#anyReplica()
    const { etcd, history } = this.cloud
    const begunAt = etcd.revision
    try {
      const found = await this.#call(to, answerMs, async () => {
        const { maps } = to.replica!
        if (current) await maps.catchUp(3_000)
        return { order: maps.map.order, held: heldIn(maps.map) }
      })
      const kind = current ? 'current' : 'memory'
      const read: Read = { client: this.name, replica: to.id, kind, begunAt, endedAt: etcd.revision, ...found }
      history.reads.push(read)
      return read
    } catch (error) {
      if (error instanceof CallFailure || error instanceof CloudError) return undefined
      throw error
    }
  }

  async #insist(call: Call): Promise<Outcome> {
    let outcome: Outcome = { kind: 'unknown' }
    let unsure = false
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (attempt > 0) {
        this.#count('branch: client sends again')
        await this.#pause(this.#dice.between(20, 300))
      }
      const twice = this.#dice.percent(10)
      outcome = twice ? await this.#twice(call) : await this.#once(call)
      if (outcome.kind === 'ok' || outcome.kind === 'refused') return outcome
      unsure ||= outcome.kind === 'unknown' || twice
    }
    return unsure ? { kind: 'unknown' } : outcome
  }

  /** The same request at two replicas at once. The answer of the one is as good as the other's. */
  async #twice(call: Call): Promise<Outcome> {
    this.#count('fault: request sent twice')
    const [one, two] = await Promise.all([this.#once(call), this.#once(call)])
    if (one.kind !== 'ok') return two.kind === 'ok' || one.kind === 'unknown' ? two : one
    if (two.kind === 'ok') call.repeated.push(two.answer)
    return one
  }

  async #once(call: Call): Promise<Outcome> {
    const { envelope } = call
    call.sent++
    const to = this.#anyReplica()
    const withinMs = this.#dice.percent(20) ? this.#dice.between(50, 1_000) : answerMs
    try {
      const deadlineMs = this.#dice.between(500, 3_500)
      const said = await this.#call(to, withinMs, async () => {
        const replica = to.replica!
        await this.#bring(envelope.command, to)
        const answer = await replica.submit(envelope, deadlineMs)
        return { answer, seenAt: replica.maps.map.order.revision }
      })
      return { kind: 'ok', ...said }
    } catch (error) {
      return this.#outcomeOf(error)
    }
  }

  #outcomeOf(error: unknown): Outcome {
    if (error instanceof CallFailure) {
      return error.why === 'refused' ? { kind: 'not-done', code: 'refused' } : { kind: 'unknown' }
    }
    if (!(error instanceof CloudError)) throw error
    const { code, message } = error
    this.#count(`answer: ${code}`)
    if (!passing.has(code)) return { kind: 'refused', code, message }
    const open = code === 'timeout' || code === 'superseded' || message.includes('not known')
    return open ? { kind: 'unknown' } : { kind: 'not-done', code }
  }

  /** Packages are there before the command that names them. */
  async #bring(command: Command, to: SimReplica): Promise<void> {
    if (command.op !== 'deploy') return
    const bytes = packageOf(command.body.component.id, command.body.component.version)
    await to.replica!.blobs.put(digestOf(bytes), bytes)
  }

  #call<T>(to: SimReplica, withinMs: number, run: () => Promise<T>): Promise<T> {
    return this.cloud.network.call(this.name, to.process, withinMs, async () => {
      if (!to.replica) throw new CallFailure('refused')
      return run()
    })
  }

  #anyReplica(): SimReplica {
    return this.#dice.pick(this.cloud.replicas)
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.cloud.network.world.after(ms, this.name, resolve))
  }

  #note({ envelope, outcome, begunAt, endedAt }: Call): void {
    const said = outcome.kind === 'ok' ? `${outcome.answer.outcome} ${outcome.answer.order.revision}` : outcome.kind
    const why = outcome.kind === 'refused' ? ` ${outcome.code} ${outcome.message}` : ''
    const { op, body } = envelope.command
    const { world } = this.cloud.network
    world.note(`${this.name} ${op} ${envelope.requestId.slice(0, 8)}: ${said}${why} [${begunAt}, ${endedAt}]`)
    world.trace?.(`${' '.repeat(12)}${JSON.stringify(body)}`)
  }

  #count(name: string): void {
    this.cloud.network.world.counts.add(name)
  }
}

const keys = new Keys(clusterName)

/** Modification revisions of all that a memory holds, by key. */
export function heldIn(map: CloudMap): Map<string, number> {
  const held = new Map<string, number>()
  for (const kind of Object.keys(kinds) as Kind[]) {
    for (const [id, { modified }] of map.all(kind)) held.set(keys.record(kind, id), modified)
  }
  return held
}
