/**
 * What motherships report of their copies: coalesced per mothership, written directly (S7), one small transaction for
 * each, which compares that the session is still that one, that the instance exists, and that the record is the one it
 * replaces. What does not match any more is dropped: the mothership says it again in its next session.
 */
import type { CloudMap } from '../cloud/map.js'
import type { CopyReport, ObservedRecord } from '../cloud/records.js'
import type { Clock, Log, Observations, ObservedItem } from '../hypervisor/ports.js'
import { type Etcd, EtcdFailure, type KeyValue, type TxnRequest } from './etcd.js'
import { callMs, pause } from './failures.js'
import type { Keys } from './keys.js'
import { readValue, writeValue } from './values.js'

export interface ObservationPorts {
  readonly etcd: Etcd
  readonly keys: Keys
  readonly clock: Clock
  readonly log: Log
  readonly map: CloudMap
}

interface Report {
  readonly mothership: string
  readonly session: number
  readonly item: ObservedItem
}

/** The record that a report is to replace, as far as that is known. */
interface Known {
  readonly modified: number
  readonly value?: ObservedRecord
}

const nothing: Known = { modified: 0 }
const gatherMs = 10
const atOnce = 8
const waitingMax = 100_000
const attempts = 20

export class EtcdObservations implements Observations {
  /** The newest word on each copy. */
  readonly #waiting = new Map<string, Report>()
  readonly #inFlight = new Set<string>()
  #running = false
  #closed = false

  constructor(private readonly ports: ObservationPorts) {}

  report(mothership: string, session: number, items: readonly ObservedItem[]): void {
    for (const item of items) {
      const id = `${mothership}/${item.instance}`
      this.#waiting.delete(id)
      if (this.#waiting.size >= waitingMax) {
        this.ports.log.error({ mothership }, 'too many reports wait: one is dropped')
        return
      }
      this.#waiting.set(id, { mothership, session, item })
    }
    if (!this.#running) void this.#drain()
  }

  close(): void {
    this.#closed = true
  }

  async #drain(): Promise<void> {
    this.#running = true
    await pause(this.ports.clock, gatherMs)
    const worker = async (): Promise<void> => {
      for (let next = this.#take(); next && !this.#closed; next = this.#take()) {
        await this.#write(...next)
        this.#inFlight.delete(next[0])
      }
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    this.#running = false
    if (this.#waiting.size > 0 && !this.#closed) void this.#drain()
  }

  /** None of a copy of which another is in flight: whoever writes that takes the next one after it. */
  #take(): [id: string, report: Report] | undefined {
    for (const next of this.#waiting) {
      const [id] = next
      if (this.#inFlight.has(id)) continue
      this.#waiting.delete(id)
      this.#inFlight.add(id)
      return next
    }
    return undefined
  }

  async #write(id: string, report: Report): Promise<void> {
    const { etcd, clock, map, log } = this.ports
    let known: Known = map.get('observed', id) ?? nothing
    for (let attempt = 0, away = 0; attempt < attempts && !this.#closed; ) {
      if (this.#waiting.has(id)) return // a newer word
      try {
        const result = await etcd.txn(this.#requestOf(id, report, known), callMs)
        if (result.succeeded) return
        const now = knownOf(result.found[0])
        if (now.modified === known.modified) return // the session or the instance is gone
        known = now
        attempt++
      } catch (error) {
        // While etcd is away nothing is given up: the mothership does not say it again in this session.
        if (error instanceof EtcdFailure && error.kind === 'unavailable') away++
        else {
          attempt++
          log.warn({ err: error, id }, 'a report could not be written')
        }
        await pause(clock, 50 * Math.min(attempt + away, 10))
      }
    }
  }

  /** What says nothing new is not written, but compared all the same: the memory may be behind. */
  #requestOf(id: string, { mothership, session, item }: Report, known: Known): TxnRequest {
    const { keys } = this.ports
    const key = keys.record('observed', id)
    const compare = [
      { key: keys.record('sessions', `mothership/${mothership}`), modified: session },
      { key: keys.record('instances', item.instance), exists: true as const },
      { key, modified: known.modified },
    ]
    const same = known.value && sameReport(known.value, session, item)
    const value = writeValue('observed', this.#recordOf(known.value, session, item))
    return { compare, success: same ? [] : [{ put: key, value }], failure: [{ get: key }] }
  }

  #recordOf(before: ObservedRecord | undefined, session: number, item: ObservedItem): ObservedRecord {
    const since = before?.phase === item.phase ? before.since : new Date(this.ports.clock.wallMs()).toISOString()
    const { epoch, generation, phase, reason, tried, ended, copy } = item
    const more = {
      ...(reason === undefined ? {} : { reason }),
      ...(tried === undefined ? {} : { tried }),
      ...(ended === undefined ? {} : { ended }),
      ...(copy === undefined ? {} : { copy }),
    }
    return { schema: 1, session, epoch, generation, phase, since, ...more }
  }
}

function knownOf(item: KeyValue | undefined): Known {
  if (!item) return nothing
  const read = readValue('observed', item.value)
  return { modified: item.modified, ...(read.kind === 'good' ? { value: read.value } : {}) }
}

const sameReport = (a: ObservedRecord, session: number, b: ObservedItem): boolean =>
  a.session === session &&
  a.epoch === b.epoch &&
  a.generation === b.generation &&
  a.phase === b.phase &&
  a.reason === b.reason &&
  a.tried === b.tried &&
  a.ended === b.ended &&
  sameCopy(a.copy, b.copy)

const sameCopy = (a: CopyReport | undefined, b: CopyReport | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify(inOrder(a)) === JSON.stringify(inOrder(b)))

/** Fields in one order, whoever wrote them. */
const inOrder = ({ journal, seq, wants, sound, drop, admit }: CopyReport): unknown[] => [
  journal,
  seq,
  wants,
  sound,
  drop,
  Object.entries(admit ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)),
]
