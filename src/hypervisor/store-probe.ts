/**
 * Whether etcd answers, with a quorum behind it: asked when a change takes long, once for all that wait. A watch does not
 * tell: a member that has lost its quorum gives signs of life for seconds.
 */
import { CloudError } from '../cloud/errors.js'
import type { Maps } from './ports.js'

const answerMs = 900

export class StoreProbe {
  #asked: Promise<boolean> | undefined

  constructor(private readonly maps: Maps) {}

  /** False when it certainly does not, within a second. */
  answers(): Promise<boolean> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined
    })
    return this.#asked
  }

  async #ask(): Promise<boolean> {
    try {
      await this.maps.catchUp(answerMs)
      return true
    } catch (error) {
      return !(error instanceof CloudError && error.code === 'store-unavailable')
    }
  }
}
