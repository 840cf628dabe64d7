/**
 * When the next transaction goes out while many callers wait for one another. It costs etcd's members and all replicas
 * the same whether it carries one change or a hundred. Who was just answered mostly asks again at once: were the next
 * one sent at once too, it would carry the other half of the callers, and each half would wait for the other for ever.
 * So the queue waits a little for those it has just answered. Never long beside what a transaction takes; and when they
 * did not come, not for a while, each time twice as long: then they are no crowd, and waiting only costs time.
 */
const longestMs = 10
const shareOfCommit = 1
const passesMax = 64

export class Crowd {
  #expected = 0
  #untilMs = 0
  /** So many transactions are not waited for. */
  #passes = 0
  #penalty = 0

  /** A transaction has answered so many callers, while so many others came. */
  answered(callers: number, waiting: number, tookMs: number, nowMs: number): void {
    if (this.#expected > 0) this.#missed()
    this.#expected = callers > 0 && waiting > 0 && this.#passes === 0 ? callers + waiting : 0
    this.#passes = Math.max(0, this.#passes - 1)
    this.#untilMs = nowMs + Math.min(longestMs, tookMs * shareOfCommit)
  }

  /** How long to wait still when so many wait now; 0: not any more. */
  leftMs(waiting: number, nowMs: number): number {
    if (this.#expected === 0) return 0
    const leftMs = this.#untilMs - nowMs
    if (waiting >= this.#expected * enough) {
      this.#expected = 0
      this.#penalty = 0
    } else if (leftMs > 0) return leftMs
    return 0
  }

  #missed(): void {
    this.#penalty = Math.min(passesMax, Math.max(1, this.#penalty * 2))
    this.#passes = this.#penalty
  }
}

/** Who comes last is not worth the wait of all others. */
const enough = 0.9
