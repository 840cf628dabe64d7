/** Waiting for what the map will show: bounded, and woken by its changes. */
import { parseDurationMs } from '../cloud/duration.js'
import { CloudError } from '../cloud/errors.js'
import type { CloudMap } from '../cloud/map.js'
import { compareOrder, parseOrder } from '../cloud/order.js'
import { reachable } from '../cloud/wiring/wiring.js'
import type { Applied } from '../hypervisor/applied.js'
import type { Clock, Maps } from '../hypervisor/ports.js'
import { runsEverywhere, wiredEverywhere } from '../hypervisor/views.js'
import { fieldError } from './problems.js'
import type { ReadQuery, WaitQuery } from './schemas.js'

const minRevisionMs = 3_000
const linearizableMs = 3_000
const waitDefaultMs = 10_000
const waitMaxMs = 60_000

/** True when it came to be within the time. */
export function until(
  { maps, applied, clock }: WaitPorts,
  withinMs: number,
  check: (map: CloudMap) => boolean,
): Promise<boolean> {
  if (check(maps.map)) return Promise.resolve(true)
  return new Promise(resolve => {
    const finish = (came: boolean): void => {
      for (const end of ends) end()
      resolve(came)
    }
    const look = (): void => {
      if (check(maps.map)) finish(true)
    }
    const ends = [maps.onChange(look), applied.onChange(look), clock.after(withinMs, () => finish(false))]
  })
}

export interface WaitPorts {
  readonly maps: Maps
  readonly applied: Applied
  readonly clock: Clock
}

/** `minRevision`, `consistency` and `block` of a read (S6). */
export async function beforeRead(ports: WaitPorts, query: ReadQuery): Promise<void> {
  const { maps } = ports
  if (query.minRevision !== undefined) await waitForOrder(maps, query.minRevision)
  if (query.consistency === 'linearizable') await maps.catchUp(linearizableMs)
  if (query.block === undefined && query.after === undefined) return
  const after = query.after === undefined ? undefined : parseOrder(query.after)
  if (query.block === undefined || after === undefined) throw fieldError('query/after', 'goes together with block')
  const { era } = maps.map.order
  if (after.era !== era) {
    throw new CloudError('outdated-cursor', `the cursor is of era ${after.era}, the cloud is in era ${era}: read anew`)
  }
  const blockMs = boundedMs('query/block', query.block, waitMaxMs)
  await until(ports, blockMs, map => compareOrder(map.order, after) > 0)
}

async function waitForOrder(maps: Maps, text: string): Promise<void> {
  const order = parseOrder(text)
  if (!order) throw fieldError('query/minRevision', 'is <era>.<revision>')
  await maps.waitFor(order, minRevisionMs)
}

function boundedMs(path: string, text: string, maxMs: number): number {
  const ms = parseDurationMs(text)
  if (ms === undefined || ms > maxMs) throw fieldError(path, `a duration of at most ${maxMs / 1000}s`)
  return ms
}

/** What `?wait=` asks for of these instances; comes back without it when the time is up. */
export async function waitForInstances(
  ports: WaitPorts,
  ids: readonly string[],
  { wait, timeout }: WaitQuery,
): Promise<void> {
  const ms = timeout === undefined ? waitDefaultMs : boundedMs('query/timeout', timeout, waitMaxMs)
  if (wait === undefined || wait === 'placed') return
  await until(ports, ms, map => ids.every(id => reached(ports, map, id, wait)))
}

/** One that is gone, or failed for good, is not waited for. */
function reached({ applied }: WaitPorts, map: CloudMap, id: string, wait: 'running' | 'wired'): boolean {
  const instance = map.get('instances', id)?.value
  if (!instance) return true
  if (map.get('observed', `${instance.primary}/${id}`)?.value.phase === 'failed') return true
  if (!runsEverywhere(map, id)) return false
  return wait === 'running' || wiredEverywhere(map, applied, id, needs)
}

const needs = (map: CloudMap, server: string, key: string): boolean => {
  const record = map.get('rainservers', server)?.value
  return record !== undefined && reachable(map, record).includes(key)
}

/** Waits until none of them is in the map and no mothership says that it still runs one. */
export async function waitUntilGone(ports: WaitPorts, ids: readonly string[], query: WaitQuery): Promise<void> {
  const ms = query.timeout === undefined ? waitDefaultMs : boundedMs('query/timeout', query.timeout, waitMaxMs)
  if (query.wait === undefined) return
  await until(ports, ms, map => ids.every(id => map.get('instances', id) === undefined))
}
