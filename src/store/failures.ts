/** From what etcd does to what the rest of the hypervisor knows. */
import { CloudError } from '../cloud/errors.js'
import type { Clock } from '../hypervisor/ports.js'
import { EtcdFailure } from './etcd.js'

export const callMs = 1_000
export const pageMs = 5_000

export function cloudErrorOf(error: unknown): CloudError {
  if (error instanceof CloudError) return error
  if (error instanceof EtcdFailure) {
    if (error.kind === 'too-large')
      return new CloudError('too-large', 'more than etcd takes in one value', {}, { cause: error })
    const note =
      error.kind === 'quota' ? 'etcd is full (NOSPACE): reads go on, an operator must make room' : error.message
    return new CloudError('store-unavailable', note, { retryAfterS: 2 }, { cause: error })
  }
  return new CloudError('internal', error instanceof Error ? error.message : String(error), {}, { cause: error })
}

export const pause = (clock: Clock, ms: number): Promise<void> => new Promise(resolve => clock.after(ms, resolve))

/** Reads may be sent again, to the next member, until the budget is used up. Throws a CloudError then. */
export async function retryRead<T>(
  clock: Clock,
  budgetMs: number,
  read: (deadlineMs: number) => Promise<T>,
): Promise<T> {
  const untilMs = clock.nowMs() + budgetMs
  for (;;) {
    try {
      return await read(Math.max(50, Math.min(callMs, untilMs - clock.nowMs())))
    } catch (error) {
      const again = error instanceof EtcdFailure && error.kind === 'unavailable'
      if (!again || clock.nowMs() + 20 >= untilMs) throw cloudErrorOf(error)
      await pause(clock, 20)
    }
  }
}
