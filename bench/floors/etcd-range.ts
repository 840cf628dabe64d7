/** The same keys read by the bare client library, page by page at one revision, and thrown away: a floor for a snapshot. */
import { Etcd3 } from 'etcd3'
import { prefixEnd } from '../../src/store/etcd.js'

export interface RangeFloor {
  readonly ms: number
  readonly keys: number
  readonly bytes: number
}

export async function rangeFloor(url: string, prefix: string, limit: number): Promise<RangeFloor> {
  const client = new Etcd3({ hosts: url, grpcOptions: { 'grpc.max_receive_message_length': 256 * 2 ** 20 } })
  const fromMs = performance.now()
  const end = Buffer.from(prefixEnd(prefix))
  let [keys, bytes, revision] = [0, 0, undefined as string | undefined]
  for (let key = Buffer.from(prefix); ; ) {
    const page = await client.kv.range({ key, range_end: end, limit, ...(revision ? { revision } : {}) })
    revision ??= page.header.revision
    keys += page.kvs.length
    for (const each of page.kvs) bytes += each.value.length
    if (!page.more) break
    key = Buffer.concat([page.kvs.at(-1)!.key, Buffer.from([0])])
  }
  const ms = performance.now() - fromMs
  client.close()
  return { ms, keys, bytes }
}

const [url, prefix, limit] = process.argv.slice(2)
if (process.send && url && prefix) process.send(await rangeFloor(url, prefix, Number(limit)), () => process.exit(0))
