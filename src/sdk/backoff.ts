/** Full-jitter backoff: a random wait of at most `first` doubled with each failure, up to `most`. */
export class Backoff {
  #failures = 0

  constructor(
    private readonly firstMs: number,
    private readonly mostMs: number,
    private readonly random: () => number,
  ) {}

  nextMs(): number {
    const most = Math.min(this.mostMs, this.firstMs * 2 ** Math.min(this.#failures++, 20))
    return this.random() * most
  }

  reset(): void {
    this.#failures = 0
  }
}
