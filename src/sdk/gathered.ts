/**
 * Frames that are sent one right after the other go in one write: a page asks for all its children at once, and a system
 * call for each of them is most of what that would cost.
 */
import type { Socket } from 'node:net'

export class Gathered {
  #corked = false

  /** `soon`: runs what it is given when what is going on is over. */
  constructor(
    private readonly connection: Socket,
    private readonly soon: (run: () => void) => void,
  ) {}

  /** Before each frame. */
  begin(): void {
    if (this.#corked || this.connection.destroyed) return
    this.#corked = true
    this.connection.cork()
    this.soon(() => {
      this.#corked = false
      this.connection.uncork()
    })
  }
}
