/** Motherships and rain servers come, change and leave. */
import type { BodyOf } from '../commands.js'
import { parseDurationMs } from '../duration.js'
import type { CloudMap } from '../map.js'
import {
  type MothershipRecord,
  put,
  type RainServerRecord,
  type RecordOf,
  remove,
  type SessionRecord,
} from '../records.js'
import { type Context, change, done, refuse, staleRevision, unknown, type Verdict } from './verdict.js'

const idFrom = (prefix: string, context: Context): string => `${prefix}-${context.requestId.slice(0, 12)}`

const rainServerOf = (
  id: string,
  body: BodyOf<'register-rainserver'>,
  before?: RainServerRecord,
): RainServerRecord => ({
  schema: 1,
  draining: false,
  generation: 0,
  ...before,
  id,
  address: body.address,
  urls: body.urls,
  labels: body.labels ?? {},
  ...(body.zone === undefined ? {} : { zone: body.zone }),
})

const mothershipOf = (
  id: string,
  body: BodyOf<'register-mothership'>,
  before?: MothershipRecord,
): MothershipRecord => ({
  schema: 1,
  cordoned: false,
  draining: null,
  ...before,
  id,
  address: body.address,
  capacity: body.capacity,
  labels: body.labels ?? {},
  ...(body.zone === undefined ? {} : { zone: body.zone }),
})

export function registerRainServer(map: CloudMap, body: BodyOf<'register-rainserver'>, context: Context): Verdict {
  const id = body.id ?? idFrom('rainserver', context)
  const before = map.get('rainservers', id)?.value
  const answer = { kind: 'rainservers' as const, ids: [id] }
  if (!before) return change({ outcome: 'created', ...answer }, put('rainservers', id, rainServerOf(id, body)))
  if (before.address !== body.address) return otherAddress('rain server', id, before.address)
  return done({ outcome: 'unchanged', ...answer })
}

export function registerMothership(map: CloudMap, body: BodyOf<'register-mothership'>, context: Context): Verdict {
  const id = body.id ?? idFrom('mothership', context)
  const before = map.get('motherships', id)?.value
  const answer = { kind: 'motherships' as const, ids: [id] }
  if (!before) return change({ outcome: 'created', ...answer }, put('motherships', id, mothershipOf(id, body)))
  if (before.address !== body.address) return otherAddress('mothership', id, before.address)
  return done({ outcome: 'unchanged', ...answer })
}

const otherAddress = (what: string, id: string, address: string): Verdict =>
  refuse('conflict', `${what} ${id} is registered with address ${address}: unregister it first, or take another id`)

/**
 * From a session: the credential vouches for the identity, so the node's own word on its address and size counts. What
 * an operator may change too (urls, zone, labels) follows the node only when the node says something new.
 */
export function announceRainServer(map: CloudMap, body: BodyOf<'announce-rainserver'>, context: Context): Verdict {
  const id = context.actor.node?.id
  if (id === undefined || context.actor.node?.kind !== 'rainserver') return notYours('rain server')
  const before = map.get('rainservers', id)?.value
  const announced = {
    urls: body.urls,
    labels: body.labels ?? {},
    ...(body.zone === undefined ? {} : { zone: body.zone }),
  }
  const value: RainServerRecord =
    before && same(before.announced, announced)
      ? { ...before, address: body.address }
      : { ...rainServerOf(id, body, before), announced }
  return announce('rainservers', id, before, value)
}

export function announceMothership(map: CloudMap, body: BodyOf<'announce-mothership'>, context: Context): Verdict {
  const id = context.actor.node?.id
  if (id === undefined || context.actor.node?.kind !== 'mothership') return notYours('mothership')
  const before = map.get('motherships', id)?.value
  const announced = { labels: body.labels ?? {}, ...(body.zone === undefined ? {} : { zone: body.zone }) }
  const value: MothershipRecord =
    before && same(before.announced, announced)
      ? { ...before, address: body.address, capacity: body.capacity }
      : { ...mothershipOf(id, body, before), announced }
  return announce('motherships', id, before, value)
}

function announce<K extends 'rainservers' | 'motherships'>(
  kind: K,
  id: string,
  before: RecordOf<K> | undefined,
  value: RecordOf<K>,
): Verdict {
  if (before && same(before, value)) return done({ outcome: 'unchanged', kind, ids: [id] })
  return change({ outcome: before ? 'changed' : 'created', kind, ids: [id] }, put(kind, id, value))
}

const notYours = (what: string): Verdict => refuse('forbidden', `only a ${what} itself may announce itself`)

/** Key order does not matter: two records are the same when they say the same. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const [left, right] = [Object.entries(a), Object.entries(b)]
  return left.length === right.length && left.every(([key, value]) => same(value, (b as Record<string, unknown>)[key]))
}

/** Without a change: reset of the wiring, which is a generation that the rain server has not seen yet. */
export function updateRainServer(map: CloudMap, body: BodyOf<'update-rainserver'>): Verdict {
  const entry = map.get('rainservers', body.id)
  if (!entry) return unknown('rain server', body.id)
  const stale = staleRevision(entry.modified, body.ifRevision)
  if (stale) return stale
  const reset = Object.keys(body.change).length === 0
  const value = { ...entry.value, ...body.change, generation: entry.value.generation + (reset ? 1 : 0) }
  return change({ outcome: 'changed', kind: 'rainservers', ids: [body.id] }, put('rainservers', body.id, value))
}

export function unregisterRainServer(map: CloudMap, body: BodyOf<'unregister-rainserver'>): Verdict {
  const entry = map.get('rainservers', body.id)
  if (!entry) return unknown('rain server', body.id)
  const stale = staleRevision(entry.modified, body.ifRevision)
  if (stale) return stale
  const wiring = map.get('wiring', body.id) ? [remove('wiring', body.id)] : []
  const answer = { outcome: 'removed', kind: 'rainservers', ids: [body.id] } as const
  return change(answer, remove('rainservers', body.id), ...wiring)
}

export function updateMothership(map: CloudMap, body: BodyOf<'update-mothership'>, context: Context): Verdict {
  const entry = map.get('motherships', body.id)
  if (!entry) return unknown('mothership', body.id)
  const stale = staleRevision(entry.modified, body.ifRevision)
  if (stale) return stale
  const { draining, ...rest } = body.change
  const value: MothershipRecord = { ...entry.value, ...rest }
  if (draining !== undefined) value.draining = drainOf(draining, map.heldOn(body.id).instances, entry.value, context)
  // Who is to stay after all does not leave either.
  if (draining === false) delete value.leaving
  return change({ outcome: 'changed', kind: 'motherships', ids: [body.id] }, put('motherships', body.id, value))
}

/** Asked again, it goes on from where it began, with another deadline. */
function drainOf(
  draining: boolean | { deadline: string },
  held: number,
  { draining: before }: MothershipRecord,
  { at }: Context,
): MothershipRecord['draining'] {
  if (draining === false) return null
  const ms = draining === true ? undefined : parseDurationMs(draining.deadline)
  const deadline = ms === undefined ? null : new Date(Date.parse(at) + ms).toISOString()
  return { deadline, since: before?.since ?? at, total: before?.total ?? held }
}

/** An empty one goes at once; one with instances only with `drain`, and then when it is empty (the upkeep pass). */
export function unregisterMothership(map: CloudMap, body: BodyOf<'unregister-mothership'>, context: Context): Verdict {
  const entry = map.get('motherships', body.id)
  if (!entry) return unknown('mothership', body.id)
  const stale = staleRevision(entry.modified, body.ifRevision)
  if (stale) return stale
  const held = map.heldOn(body.id).instances
  const answer = { kind: 'motherships' as const, ids: [body.id] }
  if (held === 0) return change({ outcome: 'removed', ...answer }, remove('motherships', body.id))
  if (!body.drain) {
    return refuse('conflict', `mothership ${body.id} holds ${held} instances: stop them, or ask with ?drain=true`)
  }
  const draining = entry.value.draining ?? { deadline: null, since: context.at, total: held }
  const value: MothershipRecord = { ...entry.value, draining, leaving: true }
  return change({ outcome: 'changed', ...answer, touched: held }, put('motherships', body.id, value))
}

/** A node is there when it holds a session, whatever replica holds that. */
export const sessionOf = (map: CloudMap, kind: SessionRecord['kind'], id: string): SessionRecord | undefined =>
  map.get('sessions', `${kind}/${id}`)?.value
