/**
 * Instances that are not wanted here any more: when the calls that they had begun are over, and the process that was
 * theirs alone has ended, that is said of them, so that the hypervisor can forget them.
 */
import type { ObservedItem } from '../hypervisor/ports.js'

/** So many are remembered, for a session that comes after the one in which it was said. */
const rememberedMax = 1_000

export class Farewells {
  /** Calls under way, by instance. */
  readonly #calls = new Map<string, number>()
  readonly #whenOver = new Map<string, () => void>()
  readonly #ended = new Map<string, ObservedItem>()

  constructor(private readonly observed: (items: readonly ObservedItem[]) => void) {}

  /** A call of the instance, to its end. */
  async during<T>(instance: string, call: Promise<T>): Promise<T> {
    this.#calls.set(instance, (this.#calls.get(instance) ?? 0) + 1)
    try {
      return await call
    } finally {
      const left = this.#calls.get(instance)! - 1
      if (left > 0) this.#calls.set(instance, left)
      else {
        this.#calls.delete(instance)
        this.#whenOver.get(instance)?.()
      }
    }
  }

  /**
   * Says of the instance that it has ended, once it has, and where it is not wanted again by then. `processes`: those
   * that end because of it.
   */
  async say(
    { instance, epoch, generation }: Pick<ObservedItem, 'instance' | 'epoch' | 'generation'>,
    processes: readonly Promise<void>[],
    isGone: () => boolean,
  ): Promise<void> {
    const item: ObservedItem = { instance, epoch, generation, phase: 'stopping', ended: true }
    if (this.#calls.has(instance)) await new Promise<void>(resolve => this.#whenOver.set(instance, resolve))
    this.#whenOver.delete(instance)
    await Promise.all(processes)
    if (!isGone()) return
    if (this.#ended.size >= rememberedMax) this.#ended.delete(this.#ended.keys().next().value!)
    this.#ended.set(instance, item)
    this.observed([item])
  }

  /** It is wanted again, or for the first time. */
  welcome(instance: string): void {
    this.#ended.delete(instance)
  }

  /** For a new session: what was said in the last one may not have been heard. */
  report(): Iterable<ObservedItem> {
    return this.#ended.values()
  }
}
