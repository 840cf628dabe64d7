/** A mothership's last word on each of its copies. It says each once, so none is lost here while the copy is wanted. */
import type { MessageOf } from '../protocol/messages.js'

export type Word = MessageOf<'observed'>['items'][number]

/** Words on copies that are wanted no more go when there are more than this, and twice as many as were left then. */
const keptMin = 1_000
/** On copies that this replica has not heard of. */
const unheardOfMax = 100_000

export class Words {
  readonly #last = new Map<string, Word>()
  #pruneAbove = keptMin
  #unheardOf = new Map<string, Word>()

  constructor(private readonly isWanted: (instance: string) => boolean) {}

  get size(): number {
    return this.#last.size + this.#unheardOf.size
  }

  /** Returns those on copies that are wanted. `ahead`: the node may know of copies of which this replica does not yet. */
  hear(words: readonly Word[], ahead: boolean): Word[] {
    const own = words.filter(each => this.isWanted(each.instance))
    for (const word of own) {
      this.#last.set(word.instance, word)
      this.#unheardOf.delete(word.instance)
    }
    if (ahead && own.length < words.length) this.#keepForLater(words)
    if (this.#last.size > this.#pruneAbove) this.#prune()
    return own
  }

  /** This replica knows what the node knew when it came: the words on what it has heard of meanwhile. */
  caughtUp(): Word[] {
    const words = [...this.#unheardOf.values()]
    this.#unheardOf = new Map()
    return this.hear(words, false)
  }

  /** On every copy that is wanted still. */
  all(): Word[] {
    this.#prune()
    return [...this.#last.values()]
  }

  #keepForLater(words: readonly Word[]): void {
    for (const word of words) {
      if (this.isWanted(word.instance)) continue
      if (this.#unheardOf.size < unheardOfMax || this.#unheardOf.has(word.instance)) {
        this.#unheardOf.set(word.instance, word)
      }
    }
  }

  #prune(): void {
    for (const instance of this.#last.keys()) if (!this.isWanted(instance)) this.#last.delete(instance)
    this.#pruneAbove = Math.max(keptMin, 2 * this.#last.size)
  }
}
