/**
 * The last wanted state on disk, with its order: a mothership that starts while no hypervisor is there runs what it ran,
 * and one that was restarted refuses what is older than what it had.
 */
import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Order } from '../cloud/order.js'
import type { Log } from '../hypervisor/ports.js'
import type { WantedState } from '../sdk/node-session.js'

export class WantedMemory {
  readonly #path: string

  constructor(
    dataDir: string,
    private readonly log: Log,
  ) {
    this.#path = join(dataDir, 'wanted.json')
  }

  /** Undefined when there is none, or it cannot be read. */
  read(): WantedState | undefined {
    try {
      const { order, entries } = JSON.parse(readFileSync(this.#path, 'utf8')) as { order: Order; entries: object }
      if (!Number.isSafeInteger(order.era) || !Number.isSafeInteger(order.revision)) return undefined
      return { order: { era: order.era, revision: order.revision }, entries: new Map(Object.entries(entries)) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.log.warn({ err: error }, 'the remembered wanted state cannot be read')
      }
      return undefined
    }
  }

  /** Whole or not at all. */
  async write({ order, entries }: WantedState): Promise<void> {
    const fresh = `${this.#path}.new`
    const file = await open(fresh, 'w', 0o600)
    try {
      await file.writeFile(JSON.stringify({ order, entries: Object.fromEntries(entries) }))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(fresh, this.#path)
  }
}
