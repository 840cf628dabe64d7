/**
 * S1, V6 and V7 of what was read: a memory is what etcd had at its revision, whenever one looks; a current read misses
 * nothing that was there when it was asked for; and once all is healed, every memory has seen everything.
 */
import { heldIn } from '../clients.js'
import type { History, Read } from '../history.js'
import type { SimReplica } from '../replica.js'
import { keys, type Ledger, leaderKinds } from './ledger.js'

export function* readViolations(ledger: Ledger, { reads }: History): Iterable<string> {
  for (const read of reads) {
    const name = `a ${read.kind} read at ${read.replica}, at revision ${read.order.revision}`
    for (const text of differences(ledger.stateAt(read.order.revision), read.held)) yield `S1: ${name}: ${text}`
    if (read.order.revision > read.endedAt) yield `V6: ${name}: it shows what is still to come`
    if (read.kind === 'current')
      yield* missed(read, ledger).map(text => `V6: ${name}, asked for at ${read.begunAt}: ${text}`)
  }
}

/** Changes that were there when the read was asked for, and that it does not show. */
function missed({ order, begunAt }: Read, ledger: Ledger): string[] {
  const found: string[] = []
  for (const [key, versions] of ledger.mapKeys) {
    if (!leaderKinds.has(keys.parse(key)!.kind)) continue
    const newest = versions.findLast(each => each.revision <= begunAt)
    if (newest && newest.revision > order.revision) found.push(`${key} of ${newest.revision} is missing`)
  }
  return found
}

export function* memoryViolations(ledger: Ledger, replicas: readonly SimReplica[]): Iterable<string> {
  let last = 0
  for (const [, versions] of ledger.mapKeys) last = Math.max(last, versions.at(-1)?.revision ?? 0)
  for (const { id, replica } of replicas) {
    if (!replica) {
      yield `V7: ${id} is not there in the end`
      continue
    }
    const { map } = replica.maps
    if (map.order.revision < last) yield `V7: ${id} is at revision ${map.order.revision} in the end, etcd at ${last}`
    for (const text of differences(ledger.stateAt(map.order.revision), heldIn(map))) yield `V7: ${id}: ${text}`
  }
}

function differences(etcd: ReadonlyMap<string, number>, memory: ReadonlyMap<string, number>): string[] {
  const found: string[] = []
  for (const [key, modified] of etcd) {
    if (memory.get(key) !== modified)
      found.push(`${key} is of ${modified} in etcd, of ${memory.get(key) ?? 'nothing'} here`)
  }
  for (const key of memory.keys()) if (!etcd.has(key)) found.push(`${key} is not in etcd`)
  return found
}
