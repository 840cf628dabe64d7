/**
 * What is wanted of a node, as it was told: the highest order counts, lower ones are refused, a difference rests on what
 * is there; applied one state at a time, and of those that come meanwhile the newest only.
 */
import { CloudError } from '../cloud/errors.js'
import { beginning, compareOrder, type Order } from '../cloud/order.js'
import type { MessageOf } from '../protocol/messages.js'

export interface WantedState {
  readonly order: Order
  /** The whole, merged. */
  readonly entries: ReadonlyMap<string, unknown>
}

export interface Refused {
  readonly key: string
  readonly reason: string
}

export interface WantedPorts {
  /** The highest order applied in an earlier life. */
  readonly initialOrder?: Order
  /** Returns what it could not apply. Never called twice at a time. */
  readonly onWanted: (state: WantedState) => Promise<readonly Refused[]>
  readonly answer: (message: MessageOf<'applied'>) => void
  readonly onError: (error: unknown) => void
}

export class WantedBook {
  #order: Order
  #entries = new Map<string, unknown>()
  #haveBase = false
  #pending: WantedState | undefined
  #applying = false

  constructor(private readonly ports: WantedPorts) {
    this.#order = ports.initialOrder ?? beginning
  }

  get order(): Order {
    return this.#order
  }

  /** In a new session the whole comes first. */
  forgetBase(): void {
    this.#haveBase = false
  }

  onWanted(message: MessageOf<'wanted'>): void {
    const order: Order = { era: message.o[0], revision: message.o[1] }
    if (compareOrder(order, this.#order) < 0) {
      return this.#refuse(message, `older than ${this.#order.era}.${this.#order.revision}, which is applied here`)
    }
    if (message.base === null) this.#entries = new Map(Object.entries(message.put))
    else if (!this.#haveBase || message.base[0] !== this.#order.era || message.base[1] !== this.#order.revision) {
      return this.#refuse(message, 'the base is not what is here: send the whole')
    } else {
      this.#entries = new Map(this.#entries)
      for (const [key, value] of Object.entries(message.put)) this.#entries.set(key, value)
      for (const key of message.gone) this.#entries.delete(key)
    }
    this.#haveBase = true
    this.#order = order
    this.#pending = { order, entries: this.#entries }
    if (!this.#applying) void this.#apply()
  }

  #refuse({ o }: MessageOf<'wanted'>, reason: string): void {
    this.ports.answer({ t: 'applied', o, refused: [{ key: '', reason }] })
  }

  async #apply(): Promise<void> {
    this.#applying = true
    for (let state = this.#pending; state; state = this.#pending) {
      this.#pending = undefined
      const o: [number, number] = [state.order.era, state.order.revision]
      try {
        const refused = await this.ports.onWanted(state)
        this.ports.answer({ t: 'applied', o, ...(refused.length > 0 ? { refused: [...refused] } : {}) })
      } catch (error) {
        const reason = error instanceof CloudError ? error.message : 'could not be applied'
        this.ports.onError(error)
        this.ports.answer({ t: 'applied', o, refused: [{ key: '', reason }] })
      }
    }
    this.#applying = false
  }
}
