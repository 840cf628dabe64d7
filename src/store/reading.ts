/**
 * From keys and values of etcd to changes of the map. What this release cannot read is kept apart: a value that does
 * not match its schema is reported and left out, a kind that only newer replicas know is counted.
 */
import type { Applied } from '../cloud/map.js'
import type { Log } from '../hypervisor/ports.js'
import type { StoreEvents } from './events.js'
import type { Keys } from './keys.js'
import { readValue } from './values.js'

export interface ReadingPorts {
  readonly keys: Keys
  readonly log: Log
  readonly events: StoreEvents
}

export class Apart {
  /** Keys with values that could not be read, at the revision at which they were so. */
  readonly unreadable = new Map<string, number>()
  /** Keys of kinds that this release does not know: etcd counts them. */
  readonly unknown = new Set<string>()

  get count(): number {
    return this.unreadable.size + this.unknown.size
  }
}

export interface Item {
  readonly key: string
  readonly value: Uint8Array | null
  readonly created: number
  readonly modified: number
}

/** Undefined for a kind that this release does not know. What cannot be read is a deletion, as far as the map goes. */
export function readChange(item: Item, apart: Apart, { keys, log, events }: ReadingPorts): Applied | undefined {
  const { key, value, created, modified } = item
  const place = keys.parse(key)
  if (!place) {
    if (value === null) apart.unknown.delete(key)
    else apart.unknown.add(key)
    return undefined
  }
  const { kind, id } = place
  const gone = { kind, id, value: null, created, modified } as Applied
  if (value === null) {
    apart.unreadable.delete(key)
    return gone
  }
  const read = readValue(kind, value)
  if (read.kind === 'good') {
    apart.unreadable.delete(key)
    return { kind, id: sameText(id, read.value), value: read.value, created, modified } as Applied
  }
  apart.unreadable.set(key, modified)
  events.onUnreadable?.(key, read.reason)
  log.error({ key, reason: read.reason }, 'a value in etcd cannot be read and is left out')
  return gone
}

/** One text for both rather than two: the id cut from the key would keep the whole key in memory besides. */
const sameText = (id: string, value: object): string => ('id' in value && value.id === id ? (value.id as string) : id)
