/** Questions to other replicas, numbered, and who waits for their answers: at most so long, and so many. */
import { CloudError } from '../cloud/errors.js'
import type { Clock } from '../hypervisor/ports.js'

interface Pending<T> {
  readonly r: number
  readonly resolve: (answer: T) => void
  readonly reject: (error: CloudError) => void
  readonly replica: string
  readonly cancel: () => void
}

const pendingMax = 20_000
/** More than may wait, so that a free one is near. */
const places = 2 ** 15

export class Questions<T> {
  /** Each at its number modulo `places`. (A map cost a forwarded call a fifteenth more of processor time.) */
  readonly #pending: (Pending<T> | undefined)[] = []
  #count = 0
  #next = 1

  constructor(private readonly clock: Clock) {}

  /**
   * `send` says the question under its number, or throws. Rejects with `timeout` when no answer comes in time, with
   * `no-leader` when too many wait already.
   */
  ask(replica: string, deadlineMs: number, send: (r: number) => void): Promise<T> {
    if (this.#count >= pendingMax) {
      return Promise.reject(new CloudError('no-leader', `too many questions wait for ${replica}`))
    }
    const r = this.#number()
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(deadlineMs, () =>
        this.refuse(r, new CloudError('timeout', `${replica} did not answer in time`)),
      )
      this.#pending[r % places] = { r, resolve, reject, replica, cancel }
      this.#count++
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
    for (const pending of this.#pending) if (pending?.replica === replica) this.refuse(pending.r, error)
  }

  #number(): number {
    while (this.#pending[this.#next % places]) this.#next++
    return this.#next++
  }

  #take(r: number): Pending<T> | undefined {
    const pending = this.#pending[r % places]
    if (pending?.r !== r) return undefined
    this.#pending[r % places] = undefined
    this.#count--
    pending.cancel()
    return pending
  }
}
