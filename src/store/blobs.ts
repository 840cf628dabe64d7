/** Package chunks by digest: written when absent, never changed, verified when read. */
import { createHash } from 'node:crypto'
import { CloudError } from '../cloud/errors.js'
import type { Blobs, Clock } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import { cloudErrorOf, pageMs, retryRead } from './failures.js'
import type { Keys } from './keys.js'

export const chunkBytes = 512 * 1024

export class EtcdBlobs implements Blobs {
  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {}

  /** Writing the same bytes twice is no harm, so these writes may be sent again. */
  async put(digest: string, bytes: Uint8Array): Promise<number> {
    const chunks = Math.max(1, Math.ceil(bytes.byteLength / chunkBytes))
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
