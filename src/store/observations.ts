/**
 * What motherships report of their copies: coalesced per mothership, written directly (S7), one small transaction for
 * each, which compares that the session is still that one, that the instance exists, and that the record is the one it
 * replaces. What does not match any more is dropped: the mothership says it again in its next session.
 */
import type { CloudMap } from '../cloud/map.js'
import type { ObservedRecord } from '../cloud/records.js'
import type { Clock, Log, Observations, ObservedItem } from '../hypervisor/ports.js'
import { type Etcd, EtcdFailure } from './etcd.js'
import { callMs, pause } from './failures.js'
import type { Keys } from './keys.js'
import { writeValue } from './values.js'

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

const gatherMs = 10
const atOnce = 8
const waitingMax = 100_000
const attempts = 20

export class EtcdObservations implements Observations {
  /** The newest word on each copy. */
  readonly #waiting = new Map<string, Report>()
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
      for (let next = this.#take(); next && !this.#closed; next = this.#take()) await this.#write(next)
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    this.#running = false
    if (this.#waiting.size > 0 && !this.#closed) void this.#drain()
  }

  #take(): Report | undefined {
    const next = this.#waiting.entries().next().value
    if (!next) return undefined
    this.#waiting.delete(next[0])
    return next[1]
  }

  async #write(report: Report): Promise<void> {
    const { keys, etcd, clock, map, log } = this.ports
    const { mothership, session, item } = report
    const id = `${mothership}/${item.instance}`
    const key = keys.record('observed', id)
    let modified = map.get('observed', id)?.modified ?? 0
    for (let attempt = 0; attempt < attempts && !this.#closed; attempt++) {
      const before = map.get('observed', id)?.value
      if (before && sameReport(before, session, item)) return
      try {
        const result = await etcd.txn(
          {
            compare: [
              { key: keys.record('sessions', `mothership/${mothership}`), modified: session },
              { key: keys.record('instances', item.instance), exists: true },
              { key, modified },
            ],
            success: [{ put: key, value: writeValue('observed', this.#recordOf(before, session, item)) }],
            failure: [{ get: key }],
          },
          callMs,
        )
        if (result.succeeded) return
        const now = result.found[0]?.modified ?? 0
        if (now === modified) return // the session or the instance is gone
        modified = now
      } catch (error) {
        if (!(error instanceof EtcdFailure) || error.kind !== 'unavailable') {
          log.warn({ err: error, id }, 'a report could not be written')
        }
        await pause(clock, 50 * Math.min(attempt + 1, 10))
      }
    }
  }

  #recordOf(before: ObservedRecord | undefined, session: number, item: ObservedItem): ObservedRecord {
    const since = before?.phase === item.phase ? before.since : new Date(this.ports.clock.wallMs()).toISOString()
    const { epoch, generation, phase, reason } = item
    return { schema: 1, session, epoch, generation, phase, since, ...(reason === undefined ? {} : { reason }) }
  }
}

const sameReport = (a: ObservedRecord, session: number, b: ObservedItem): boolean =>
  a.session === session &&
  a.epoch === b.epoch &&
  a.generation === b.generation &&
  a.phase === b.phase &&
  a.reason === b.reason
