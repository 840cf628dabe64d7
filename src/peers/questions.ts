/** Questions to other replicas, numbered, and who waits for their answers: at most so long, and so many. */
import { CloudError } from '../cloud/errors.js'
import type { Clock } from '../hypervisor/ports.js'

interface Pending<T> {
  readonly resolve: (answer: T) => void
  readonly reject: (error: CloudError) => void
  readonly replica: string
  readonly cancel: () => void
}

const pendingMax = 20_000

export class Questions<T> {
  readonly #pending = new Map<number, Pending<T>>()
  #next = 1

  constructor(private readonly clock: Clock) {}

  /**
   * `send` says the question under its number, or throws. Rejects with `timeout` when no answer comes in time, with
   * `no-leader` when too many wait already.
   */
  ask(replica: string, deadlineMs: number, send: (r: number) => void): Promise<T> {
    if (this.#pending.size >= pendingMax) {
      return Promise.reject(new CloudError('no-leader', `too many questions wait for ${replica}`))
    }
    const r = this.#next++
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(deadlineMs, () =>
        this.refuse(r, new CloudError('timeout', `${replica} did not answer in time`)),
      )
      this.#pending.set(r, { resolve, reject, replica, cancel })
      try {
        send(r)
      } catch (error) {
        this.refuse(r, error as CloudError)
      }
    })
  }

  /** One that nobody waits for any more is for nobody. */
  answer(r: number, answer: T): void {
    this.#take(r)?.resolve(answer)
  }

  refuse(r: number, error: CloudError): void {
    this.#take(r)?.reject(error)
  }

  /** All that this replica was asked. */
  drop(replica: string, error: CloudError): void {
    for (const [r, pending] of [...this.#pending]) if (pending.replica === replica) this.refuse(r, error)
  }

  #take(r: number): Pending<T> | undefined {
    const pending = this.#pending.get(r)
    this.#pending.delete(r)
    pending?.cancel()
    return pending
  }
}
