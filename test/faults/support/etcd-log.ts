/**
 * What etcd says that happened: all events of the cloud's keys, in order of revisions, read by a watch from the first
 * one. Histories and replicas are judged by it. Read before a compaction, it goes on after it.
 */

import { type KeyValue, prefixEnd, type WatchEvent } from '../../../src/store/etcd.js'
import { EtcdTransport } from '../../../src/store/transport.js'
import { waitUntil } from '../../support/etcd.js'

const root = '/rain/main/v1/'
const readWithinMs = 20_000
const watchMs = 5_000

export class EtcdLog {
  readonly #etcd: EtcdTransport
  readonly #events: WatchEvent[] = []
  #next = 1

  constructor(urls: readonly string[]) {
    this.#etcd = new EtcdTransport(urls, 0)
  }

  get client(): EtcdTransport {
    return this.#etcd
  }

  /** Everything up to now; keys without the cloud's prefix. */
  async read(): Promise<readonly WatchEvent[]> {
    const revision = await this.revision()
    await waitUntil(`the log is read up to ${revision}`, () => this.#readTo(revision), readWithinMs)
    return this.#events
  }

  /** Up to where a compaction takes nothing away that this log has not read. */
  async catchUp(): Promise<number> {
    const revision = await this.revision()
    // What is older is told in a moment; the last event of ours may be older than the revision.
    await this.#watchTo(revision, 2_000)
    this.#next = Math.max(this.#next, revision + 1)
    return revision
  }

  async revision(): Promise<number> {
    let revision = 0
    await waitUntil('etcd answers', async () => {
      const answer = await this.#etcd.range({ key: root, countOnly: true }, 1_000).catch(() => undefined)
      revision = answer?.revision ?? 0
      return answer !== undefined
    })
    return revision
  }

  /** One watch, until it has told everything up to the revision or ended. */
  async #readTo(revision: number): Promise<boolean> {
    if (this.#next > revision) return true
    // The last event of ours may be older than the revision: this one ends the watch.
    const { revision: last } = await this.#mark()
    return this.#watchTo(last)
  }

  #watchTo(last: number, withinMs = watchMs): Promise<boolean> {
    return new Promise(resolve => {
      const finish = (whole: boolean): void => {
        watching.cancel()
        clearTimeout(timer)
        resolve(whole)
      }
      const timer = setTimeout(() => finish(false), withinMs)
      const watching = this.#etcd.watch(
        { key: root, end: prefixEnd(root), start: this.#next },
        {
          onEvents: events => {
            for (const each of events) this.#events.push({ ...each, key: each.key.slice(root.length) })
            this.#next = events.at(-1)!.modified + 1
            if (this.#next > last) finish(true)
          },
          onHeard: () => undefined,
          onEnd: () => finish(false),
        },
      )
    })
  }

  /** Outside of everything that replicas read. */
  async #mark(): Promise<{ readonly revision: number }> {
    const put = { put: `${root}log/test-mark`, value: Buffer.from(String(this.#next)) }
    return this.#etcd.txn({ compare: [], success: [put] }, 2_000).catch(() => ({ revision: Number.POSITIVE_INFINITY }))
  }

  async leaderKey(): Promise<KeyValue | undefined> {
    return (await this.#etcd.range({ key: `${root}map/leader` }, 2_000)).items[0]
  }

  async close(): Promise<void> {
    await this.#etcd.close()
  }
}

/** The value of each key below a prefix at a revision; `key` without the prefix. */
export function stateAt(events: readonly WatchEvent[], prefix: string, revision: number): Map<string, WatchEvent> {
  const state = new Map<string, WatchEvent>()
  for (const event of events) {
    if (event.modified > revision) break
    if (!event.key.startsWith(prefix)) continue
    if (event.value === null) state.delete(event.key.slice(prefix.length))
    else state.set(event.key.slice(prefix.length), event)
  }
  return state
}
