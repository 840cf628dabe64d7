/**
 * What must hold whatever went wrong: V1-V3, V6 and V7 (acknowledged writes are there; one placement for each epoch; no
 * transaction of a term after a later term took over; REST is linearizable; replicas' memories are what etcd had). Each
 * is judged by etcd's own log, with revisions and no clocks.
 */
import { createHash } from 'node:crypto'
import type { WatchEvent } from '../../../src/store/etcd.js'
import { readAnswers } from '../../../src/store/requests.js'
import { waitUntil } from '../../support/etcd.js'
import { describe, type Operation, type Version } from '../../support/linearizability/history.js'
import { keysOutOfOrder } from '../../support/linearizability/search.js'
import { judgeByWitness } from '../../support/linearizability/witness.js'
import type { FaultCloud } from './cloud.js'
import { stateAt } from './etcd-log.js'

type Json = Readonly<Record<string, unknown>>

const parse = (event: WatchEvent): Json => JSON.parse(Buffer.from(event.value!).toString()) as Json

export interface Verdict {
  readonly violations: readonly string[]
  readonly operations: number
  readonly acknowledged: number
  readonly unknown: number
  readonly terms: number
  readonly transactions: number
}

/** Of a cloud that is whole again. */
export async function judge(cloud: FaultCloud, history: readonly Operation[] = []): Promise<Verdict> {
  const events = await cloud.log.read()
  const found = [
    ...onePlacement(events),
    ...fencedTerms(events),
    ...auditChain(events),
    ...linearizable(history, events),
    ...(await memories(cloud)),
  ]
  const audits = events.filter(each => each.key.startsWith('log/audit/'))
  return {
    violations: found,
    operations: history.length,
    acknowledged: history.filter(each => each.outcome === 'done').length,
    unknown: history.filter(each => each.outcome === 'unknown').length,
    terms: new Set(audits.map(each => parse(each)['token'])).size,
    transactions: audits.length,
  }
}

/** V2. */
export function onePlacement(events: readonly WatchEvent[]): string[] {
  const primaries = new Map<string, unknown>()
  return events.flatMap(event => {
    if (!event.key.startsWith('map/instances/') || event.value === null) return []
    const { epoch, primary } = parse(event)
    const place = `${event.key}@${event.created} epoch ${epoch}`
    const before = primaries.get(place) ?? primary
    primaries.set(place, primary)
    return before === primary ? [] : [`V2: ${place} has primaries ${before} and ${primary}`]
  })
}

/** V3: whatever a term wrote, it wrote while the leader key was its own. */
export function fencedTerms(events: readonly WatchEvent[]): string[] {
  const found: string[] = []
  let leader = 0
  for (const event of events) {
    if (event.key === 'map/leader') leader = event.value === null ? 0 : event.created
    if (!event.key.startsWith('log/audit/') || event.value === null) continue
    const { token, number } = parse(event)
    if (token === leader) continue
    found.push(
      `V3: transaction ${number} of term ${token} committed at ${event.modified}, in term ${leader || 'of nobody'}`,
    )
  }
  return found
}

/** Turns have no gaps and no two values, and each names the one before (S2, S9). */
export function auditChain(events: readonly WatchEvent[]): string[] {
  const found: string[] = []
  let before: { readonly number: number; readonly hash: string } | undefined
  for (const event of events) {
    if (!event.key.startsWith('log/audit/') || event.value === null) continue
    const { hash, ...entry } = parse(event)
    const number = Number(entry['number'])
    if (before && (number !== before.number + 1 || entry['previous'] !== before.hash)) {
      found.push(`V3: turn ${number} does not follow turn ${before.number}`)
    }
    if (createHash('sha256').update(JSON.stringify(entry)).digest('hex') !== hash)
      found.push(`V3: turn ${number} is altered`)
    before = { number, hash: String(hash) }
  }
  return found
}

/** V1 and V6. */
export function linearizable(history: readonly Operation[], events: readonly WatchEvent[]): string[] {
  const keys = new Set(history.map(each => each.key))
  const log = versionsOf(events, keys)
  const happened = requestsIn(events)
  const witnessed = history.map(each => {
    const revision = each.request === undefined ? undefined : happened.get(each.request)
    return revision === undefined || each.outcome === 'refused' ? each : { ...each, revision }
  })
  const lost = witnessed.filter(each => each.outcome === 'done' && each.request && !happened.has(each.request))
  const done = history.filter(each => each.outcome === 'refused' && each.request && happened.has(each.request))
  const { violations } = judgeByWitness(witnessed, log)
  return [
    ...lost.map(each => `V1: ${describe(each)} was acknowledged, and is not in the log`),
    ...done.map(each => `V6: ${describe(each)} was refused, and is in the log`),
    ...violations.map(each => `V6: ${each.rule}: ${each.detail}`),
    ...keysOutOfOrder(witnessed).map(key => `V6: no order fits what was told of ${key}`),
  ]
}

/** At which revision the answer to a request was written, in one transaction with what it changed (S8). */
function requestsIn(events: readonly WatchEvent[]): Map<string, number> {
  const found = new Map<string, number>()
  for (const { key, value, modified } of events) {
    if (!key.startsWith('request/') || value === null) continue
    if (key.startsWith('request/turn/')) for (const { id } of readAnswers(value)) found.set(id, modified)
    else found.set(Buffer.from(key.slice('request/'.length), 'hex').toString(), modified)
  }
  return found
}

/** Each time that a key's value became another one. Of an instance only whether it is there. */
function versionsOf(events: readonly WatchEvent[], keys: ReadonlySet<string>): Version[] {
  const last = new Map<string, string | null>()
  return events.flatMap((event): Version[] => {
    const key = event.key.slice('map/'.length)
    if (!event.key.startsWith('map/') || !keys.has(key)) return []
    const value = event.value === null ? null : shownValue(key, parse(event))
    if ((last.get(key) ?? null) === value) return []
    last.set(key, value)
    return [{ key, revision: event.modified, value }]
  })
}

const shownValue = (key: string, record: Json): string =>
  key.startsWith('instances/') ? 'there' : String((record['labels'] as Json)['value'])

const agreeWithinMs = 10_000

/** V7: what each replica shows is what etcd had at that revision. */
async function memories(cloud: FaultCloud): Promise<string[]> {
  const found: string[] = []
  for (const [index, { id, process }] of cloud.replicas.entries()) {
    if (!process.alive) continue
    let differences: string[] = ['nothing was read']
    // The watch may be a moment behind, never beside: a list is compared at the revision that it names itself.
    await waitUntil(
      `${id} shows a whole list at one revision`,
      async () => (differences = (await listDifferences(cloud, index)) ?? ['more']).at(0) !== 'more',
      agreeWithinMs,
    ).catch(error => (differences = [String(error)]))
    found.push(...differences.map(each => `V7: ${id}: ${each}`))
  }
  return [...found, ...(await countDifferences(cloud))]
}

interface Listed {
  readonly order: string
  readonly items: ReadonlyMap<string, number>
}

/** Undefined: the list is spread over revisions, ask again. */
async function listDifferences(cloud: FaultCloud, replica: number): Promise<string[] | undefined> {
  const list = await instancesAt(cloud, replica)
  if (!list) return undefined
  const revision = Number(list.order.split('.')[1])
  const events = await cloud.log.read()
  const state = stateAt(events, 'map/instances/', revision)
  const found: string[] = []
  for (const [id, event] of state) {
    const shown = list.items.get(id)
    if (shown !== event.modified) found.push(`instance ${id} is of ${event.modified} at ${revision}, shown of ${shown}`)
  }
  for (const id of list.items.keys()) if (!state.has(id)) found.push(`instance ${id} is not there at ${revision}`)
  return found
}

async function instancesAt(cloud: FaultCloud, replica: number): Promise<Listed | undefined> {
  const items = new Map<string, number>()
  let order: string | undefined
  for (let path = `/mothership/${cloud.mothership.id}/webcomponents?range=1000`; ; ) {
    const { status, body, text } = await cloud.rest(replica)('GET', path)
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
    const page = body as unknown as { items: { id: string; revision: number }[]; revision: string; next?: string }
    order ??= page.revision
    if (page.revision !== order) return undefined
    for (const each of page.items) items.set(each.id, each.revision)
    if (page.next === undefined) return { order, items }
    path = page.next
  }
}

/** Of all kinds of records, counted, once nothing is under way. */
async function countDifferences(cloud: FaultCloud): Promise<string[]> {
  let differences: string[] = []
  await waitUntil(
    'every memory has as many records as etcd',
    async () => {
      const events = await cloud.log.read()
      const counts = new Map<string, number>()
      for (const key of stateAt(events, 'map/', Number.POSITIVE_INFINITY).keys()) {
        const kind = key.split('/')[0]!
        counts.set(kind, (counts.get(kind) ?? 0) + 1)
      }
      const shown = await Promise.all(
        cloud.replicas.map((each, i) => (each.process.alive ? recordsAt(cloud, i) : undefined)),
      )
      differences = shown.flatMap((each, i) =>
        [...(each ?? [])].flatMap(([kind, count]) =>
          count === (counts.get(kind) ?? 0)
            ? []
            : [`V7: h${i + 1} holds ${count} ${kind}, etcd ${counts.get(kind) ?? 0}`],
        ),
      )
      return differences.length === 0
    },
    agreeWithinMs,
  ).catch(() => undefined)
  return differences
}

async function recordsAt(cloud: FaultCloud, replica: number): Promise<Map<string, number>> {
  const text = await cloud.metrics(replica)
  const lines = text.matchAll(/^rain_map_records\{(?=[^}]*kind="(\w+)")[^}]*\} (\d+)$/gm)
  return new Map([...lines].map(([, kind, count]) => [kind!, Number(count)]))
}
