/** Package chunks by digest: written when absent, never changed, verified when read. */
import { createHash } from 'node:crypto'
import { CloudError } from '../cloud/errors.js'
import type { Blobs, Clock } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import { cloudErrorOf, pageMs, retryRead } from './failures.js'
import type { Keys } from './keys.js'

export const chunkBytes = 512 * 1024
const listedAtOnce = 1_000

export class EtcdBlobs implements Blobs {
  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {}

  /** Writing the same bytes twice is no harm, so these writes may be sent again. */
  async put(digest: string, bytes: Uint8Array): Promise<number> {
    const chunks = Math.max(1, Math.ceil(bytes.byteLength / chunkBytes))
    if ((await this.#count(digest)) === chunks) return chunks
    for (let index = 0; index < chunks; index++) {
      const key = this.keys.chunk(digest, index)
      const value = bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes)
      const request = { compare: [{ key, created: 0 }], success: [{ put: key, value }] }
      try {
        await retryRead(this.clock, pageMs, deadlineMs => this.etcd.txn(request, deadlineMs))
      } catch (error) {
        throw cloudErrorOf(error)
      }
    }
    return chunks
  }

  /** The same bytes often come again: then they need not go to etcd once more. */
  async #count(digest: string): Promise<number> {
    const request = { ...this.keys.chunks(digest), countOnly: true }
    try {
      return (await retryRead(this.clock, pageMs, deadlineMs => this.etcd.range(request, deadlineMs))).count
    } catch (error) {
      throw cloudErrorOf(error)
    }
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>()
    const { key, end } = this.keys.allChunks
    for (let from = key; ; ) {
      const request = { key: from, end, limit: listedAtOnce, keysOnly: true }
      const { items, more } = await retryRead(this.clock, pageMs, deadlineMs => this.etcd.range(request, deadlineMs))
      for (const item of items) {
        const digest = this.keys.digestOf(item.key)
        counts.set(digest, (counts.get(digest) ?? 0) + 1)
      }
      if (!more) return counts
      from = `${items.at(-1)!.key}\0`
    }
  }

  async get(digest: string, chunks: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = []
    for (let index = 0; index < chunks; index++) {
      const key = this.keys.chunk(digest, index)
      const answer = await retryRead(this.clock, pageMs, deadlineMs => this.etcd.range({ key }, deadlineMs))
      const item = answer.items[0]
      if (!item) return undefined
      parts.push(item.value)
    }
    const bytes = Buffer.concat(parts)
    if (`sha256:${createHash('sha256').update(bytes).digest('hex')}` !== digest) {
      throw new CloudError('unreadable-value', `the stored package ${digest} does not match its digest`)
    }
    return bytes
  }
}
