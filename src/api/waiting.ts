/** Waiting for what the map will show: bounded, and woken by its changes. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { parseDurationMs } from '../cloud/duration.js'
import { CloudError } from '../cloud/errors.js'
import type { CloudMap } from '../cloud/map.js'
import { compareOrder, parseOrder } from '../cloud/order.js'
import type { Applied } from '../hypervisor/applied.js'
import type { Clock, Maps } from '../hypervisor/ports.js'
import { runsEverywhere, wiredEverywhere } from '../hypervisor/views.js'
import type { Wires } from '../hypervisor/wires.js'
import { fieldError } from './problems.js'
import type { ApiPorts } from './route.js'
import type { ReadQuery, WaitQuery } from './schemas.js'

const minRevisionMs = 3_000
const linearizableMs = 3_000
const waitDefaultMs = 10_000
const waitMaxMs = 60_000

/** True when it came to be within the time, and before nobody wanted to know any more. */
export function until(
  { maps, applied, clock, whenOver }: WaitPorts,
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
    const ends = [
      maps.onChange(look),
      applied.onChange(look),
      clock.after(withinMs, () => finish(false)),
      whenOver(() => finish(false)),
    ]
  })
}

export interface WaitPorts {
  readonly maps: Maps
  readonly applied: Applied
  readonly wires: Wires
  readonly clock: Clock
  /** Calls back, later, when the caller has gone or this replica stops. Returns the unsubscribe function. */
  readonly whenOver: (end: () => void) => () => void
}

declare module 'fastify' {
  interface FastifyReply {
    whenOver: WaitPorts['whenOver']
  }
}

/** So that what waits holds up no stop, and does not outlive who asked. */
export function useWaiting(app: FastifyInstance): void {
  const ends = new Set<() => void>()
  let closing = false
  app.decorateReply('whenOver', function (this: FastifyReply, end: () => void) {
    ends.add(end)
    this.raw.once('close', end)
    if (closing) queueMicrotask(end)
    return () => {
      ends.delete(end)
      this.raw.off('close', end)
    }
  })
  app.addHook('preClose', done => {
    closing = true
    for (const end of [...ends]) end()
    done()
  })
  // A connection that is kept would be waited for until its client, or its time, is over.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing) reply.header('connection', 'close')
    done(null, payload)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Resolves when no call is on its way any more, or the time is up. */
    drained(withinMs: number): Promise<void>
  }
}

/** So that a replica that stops can let what came in come to its end. */
export function useDraining(app: FastifyInstance, clock: Clock): void {
  // Only their number: a set of them lives long, and takes what it holds through the collector's whole young space.
  let calls = 0
  let told: (() => void) | undefined
  const onClose = (): void => {
    if (--calls === 0) told?.()
  }
  app.addHook('onRequest', (_request, reply, done) => {
    calls++
    reply.raw.once('close', onClose)
    done()
  })
  app.decorate('drained', (withinMs: number): Promise<void> => {
    if (calls === 0) return Promise.resolve()
    return new Promise(resolve => {
      const cancel = clock.after(withinMs, resolve)
      told = () => {
        cancel()
        resolve()
      }
    })
  })
}

/** What a call may wait with. */
export const waitPorts = (
  { hypervisor, clock }: Pick<ApiPorts, 'hypervisor' | 'clock'>,
  reply: FastifyReply,
): WaitPorts => ({
  maps: hypervisor.maps,
  applied: hypervisor.applied,
  wires: hypervisor.wires,
  clock,
  whenOver: end => reply.whenOver(end),
})

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

/** How long a call with `?wait=` waits. */
export const waitMsOf = ({ timeout }: WaitQuery): number =>
  timeout === undefined ? waitDefaultMs : boundedMs('query/timeout', timeout, waitMaxMs)

/** What `?wait=` asks for of these instances; comes back without it when the time is up. */
export async function waitForInstances(ports: WaitPorts, ids: readonly string[], query: WaitQuery): Promise<void> {
  const { wait } = query
  const ms = waitMsOf(query)
  if (wait === undefined || wait === 'placed') return
  await until(ports, ms, map => ids.every(id => reached(ports, map, id, wait)))
}

/** One that is gone, or failed for good, is not waited for. */
function reached({ applied, wires }: WaitPorts, map: CloudMap, id: string, wait: 'running' | 'wired'): boolean {
  const instance = map.get('instances', id)?.value
  if (!instance) return true
  if (map.get('observed', `${instance.primary}/${id}`)?.value.phase === 'failed') return true
  if (!runsEverywhere(map, id)) return false
  return wait === 'running' || wiredEverywhere(map, applied, wires.wiring, id)
}

/** A stop takes about so long where no call is under way: who asks then finds what was stopped gone. */
const goneDefaultMs = 3_000

/** Waits until it is not in the map any more, or the time is up. */
export async function waitUntilGone(
  ports: WaitPorts,
  kind: 'instances' | 'components',
  id: string,
  query: WaitQuery,
): Promise<void> {
  const asked = query.wait !== undefined || query.timeout !== undefined
  await until(ports, asked ? waitMsOf(query) : goneDefaultMs, map => map.get(kind, id) === undefined)
}
