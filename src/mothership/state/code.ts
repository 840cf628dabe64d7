/**
 * Kept state as the code of instances has it, in the process of a component version: `environment.state`. What a call
 * changes is committed before its answer leaves (reliability.md, section 3, rule 9).
 */
import { randomUUID } from 'node:crypto'
import { CloudError } from '../../cloud/errors.js'
import type { Json } from '../../cloud/replication/entry.js'
import type { Ask, AskOutcome, Told } from './asks.js'
import { askWithinMs } from './patience.js'
import { type Updated, Updates } from './updates.js'

/** How far the document was that a call saw or made. */
export interface Seen {
  readonly epoch: number
  readonly seq: number
}

export interface ReadState extends Seen {
  /** The caller's own: changing it changes nothing. `{}` in the beginning. */
  readonly document: unknown
  /** Milliseconds by which it may be old at most; 0: it is as it was when it was asked for, or newer. */
  readonly staleForMs: number
}

/** `environment.state` of a component with `state: "kept"`. */
export interface InstanceState {
  /** Throws when nobody can tell in time. Without `maxStaleMs` the document is as it is now. */
  read(options?: { readonly maxStaleMs?: number }): Promise<ReadState>
  /**
   * Runs `change` on a draft of the document, once more whenever another change came first, and answers what it
   * returned when every copy in sync has the change. With an `id`, the same is not done twice: asked again, it answers
   * what it answered first. Throws when the change is refused or when it is not known whether it was made.
   */
  update<T>(change: (draft: never) => T, options?: { readonly id?: string }): Promise<T>
}

const asksMax = 1_024
/** Instances whose document is remembered from the last change. */
const rememberedMax = 256

/** Asks of the whole process. */
export class Asks {
  readonly #settles = new Map<number, (outcome: AskOutcome) => void>()
  #asked = 0

  constructor(private readonly send: (ask: Ask) => void) {}

  ask(instance: string, what: Ask['what']): Promise<AskOutcome> {
    if (this.#settles.size >= asksMax) {
      const reason = `${asksMax} changes and reads of state are under way`
      return Promise.resolve({ kind: 'refused', code: 'busy', reason })
    }
    const n = ++this.#asked
    return new Promise(resolve => {
      this.#settles.set(n, resolve)
      this.send({ k: 'ask', n, instance, what })
    })
  }

  told({ n, outcome }: Told): void {
    this.#settles.get(n)?.(outcome)
    this.#settles.delete(n)
  }
}

export class CodeState {
  readonly #updates = new Map<string, Updates>()

  constructor(private readonly asks: Asks) {}

  /** `seqMin`: nothing older than that is read. */
  forCall(instance: string, seqMin = 0): StateOfCall {
    const updates = this.#updates.get(instance) ?? this.#updatesOf(instance)
    this.#updates.delete(instance)
    this.#updates.set(instance, updates)
    const [oldest] = this.#updates.keys()
    if (this.#updates.size > rememberedMax) this.#updates.delete(oldest!)
    return new StateOfCall(instance, updates, this.asks, seqMin)
  }

  #updatesOf(instance: string): Updates {
    return new Updates({
      propose: async (base, body) => {
        const outcome = await this.asks.ask(instance, { kind: 'propose', base, body })
        if (outcome.kind === 'read') return { kind: 'unknown', reason: 'the mothership answered something else' }
        return outcome
      },
      nowMs: () => performance.now(),
    })
  }
}

export class StateOfCall {
  readonly state: InstanceState
  readonly #underWay = new Set<Promise<unknown>>()
  #seen: Seen | undefined

  constructor(
    private readonly instance: string,
    private readonly updates: Updates,
    private readonly asks: Asks,
    private readonly seqMin: number,
  ) {
    this.state = Object.freeze({
      read: options => this.#read(options?.maxStaleMs),
      update: (change, options) => {
        const made = this.#update(change, options?.id)
        // Whoever does not wait for it hears of it when the call ends.
        made.catch(() => undefined)
        return made
      },
    } satisfies InstanceState)
  }

  /** Everything that the call has changed is committed: throws what one of these came to that nobody waited for. */
  async settled(): Promise<Seen | undefined> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
    return this.#seen
  }

  async #read(maxStaleMs = 0): Promise<ReadState> {
    if (!(typeof maxStaleMs === 'number' && maxStaleMs >= 0)) {
      throw new CloudError('bad-request', 'maxStaleMs is a number of milliseconds, 0 or more')
    }
    const staleMsMax = Number.isFinite(maxStaleMs) ? { staleMsMax: maxStaleMs } : {}
    // A call sees what it has changed itself, however old it lets the document be.
    const seqMin = Math.max(this.seqMin, this.#seen?.seq ?? 0)
    const outcome = await this.asks.ask(this.instance, { kind: 'read', ...staleMsMax, seqMin })
    if (outcome.kind === 'read') {
      const { epoch, seq, document, staleForMs } = outcome
      this.#see({ epoch, seq })
      return { epoch, seq, document, staleForMs }
    }
    throw new CloudError('timeout', 'reason' in outcome ? outcome.reason : 'the mothership answered something else')
  }

  async #update<T>(change: (draft: never) => T, id: string = randomUUID()): Promise<T> {
    if (typeof change !== 'function') throw new CloudError('bad-request', 'a change is a function of the document')
    if (typeof id !== 'string' || id === '' || id.length > 128) {
      throw new CloudError('bad-request', 'the id of a change is a text of 1 to 128 characters')
    }
    const making = this.updates.update(id, change as (draft: Json) => unknown, askWithinMs)
    this.#underWay.add(making)
    const over = (): void => void this.#underWay.delete(making)
    making.then(over, over)
    const { epoch, seq, reply }: Updated = await making
    this.#see({ epoch, seq })
    return reply as T
  }

  #see(seen: Seen): void {
    const { epoch, seq } = this.#seen ?? { epoch: 0, seq: 0 }
    if (seen.epoch > epoch || (seen.epoch === epoch && seen.seq > seq)) this.#seen = seen
  }
}
