/** Finds etcd, and says clearly when it is not there or not one that will do. */
import { CloudError } from '../cloud/errors.js'
import type { Chance, Clock, Log } from '../hypervisor/ports.js'
import { type Etcd, EtcdFailure } from './etcd.js'
import type { StoreEvents } from './events.js'
import { pause } from './failures.js'
import { type EtcdAuth, EtcdTransport } from './transport.js'

const oldest = [3, 4] as const

export interface ConnectOptions {
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly events?: StoreEvents
  readonly auth?: EtcdAuth
  /** How long to try; default 15 s. */
  readonly withinMs?: number
}

/** Throws `store-unavailable` when no member answers in time, `misconfigured` when it is no etcd that will do. */
export async function connectEtcd(urls: readonly string[], options: ConnectOptions): Promise<Etcd> {
  const { clock, chance, log, events = {}, auth, withinMs = 15_000 } = options
  const transport = new EtcdTransport(urls, Math.floor(chance.next() * urls.length), events, auth)
  const untilMs = clock.nowMs() + withinMs
  for (;;) {
    try {
      checkVersion(await transport.version(1_000), transport.member)
      log.info({ member: transport.member }, 'connected to etcd')
      return transport
    } catch (error) {
      if (error instanceof CloudError) {
        await transport.close()
        throw error
      }
      const final = error instanceof EtcdFailure && error.kind !== 'unavailable'
      if (final || clock.nowMs() >= untilMs) {
        await transport.close()
        if (error instanceof EtcdFailure && error.kind === 'not-allowed') {
          throw new CloudError('misconfigured', `etcd does not let us in: ${error.message}`, {}, { cause: error })
        }
        const where = urls.join(', ')
        throw new CloudError(
          'store-unavailable',
          `etcd cannot be reached at ${where}: is it running there?`,
          {},
          { cause: error },
        )
      }
      await pause(clock, 200)
    }
  }
}

/** Throws `misconfigured` for a version that will not do. */
export function checkVersion(version: string, member: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major === oldest[0] && minor >= oldest[1]) return
  throw new CloudError('misconfigured', `etcd at ${member} is version ${version}: 3.4 or a later 3.x is needed`)
}
