/** Looking on for a long time: a replica, or the way to it, may be away for some seconds meanwhile. */
import { CloudError } from '../cloud/errors.js'

const patienceMs = 30_000
const againMs = 500

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** A read that is repeated while the cloud cannot be reached, for half a minute at most. */
export async function patiently<V>(read: () => Promise<V>): Promise<V> {
  const untilMs = performance.now() + patienceMs
  for (;;) {
    try {
      return await read()
    } catch (error) {
      const passing = error instanceof CloudError && (error.code === 'store-unavailable' || error.code === 'no-leader')
      if (!passing || performance.now() > untilMs) throw error
      await pause(againMs)
    }
  }
}
