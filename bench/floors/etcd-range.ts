/**
 * The same keys read by the bare client library at one revision, and thrown away: a floor for a snapshot. In ranges and
 * pages as a replica reads them, two at once, because etcd counts a range to its end for each page of it.
 */
import { Etcd3 } from 'etcd3'
import { prefixEnd } from '../../src/store/etcd.js'
import { cut, pageItems } from '../../src/store/snapshot.js'

export interface RangeFloor {
  readonly ms: number
  readonly keys: number
  readonly bytes: number
}

interface Span {
  readonly key: string
  readonly end: string
}

class Floor {
  keys = 0
  bytes = 0
  #revision: string | undefined

  constructor(private readonly client: Etcd3) {}

  async read({ key, end }: Span): Promise<void> {
    const range_end = Buffer.from(end)
    for (let from = Buffer.from(key); ; ) {
      const at = this.#revision === undefined ? {} : { revision: this.#revision }
      const page = await this.client.kv.range({ key: from, range_end, limit: pageItems, ...at })
      this.#revision ??= page.header.revision
      this.keys += page.kvs.length
      for (const each of page.kvs) this.bytes += each.value.length
      if (!page.more) return
      from = Buffer.concat([page.kvs.at(-1)!.key, Buffer.from([0])])
    }
  }

  async readAll(spans: Span[]): Promise<void> {
    const lane = async (): Promise<void> => {
      for (let span = spans.shift(); span; span = spans.shift()) await this.read(span)
    }
    await Promise.all([lane(), lane()])
  }

  async componentsIn(prefix: string): Promise<string[]> {
    const found = await this.client.getAll().prefix(prefix).keys()
    return [...new Set(found.map(each => each.slice(prefix.length).split('/')[0]!))]
  }
}

export async function rangeFloor(url: string, prefix: string): Promise<RangeFloor> {
  const client = new Etcd3({ hosts: url, grpcOptions: { 'grpc.max_receive_message_length': 64 * 2 ** 20 } })
  const floor = new Floor(client)
  const fromMs = performance.now()
  const instances = `${prefix}instances/`
  const points = (await floor.componentsIn(`${prefix}components/`)).map(id => `${instances}${id}.`)
  await floor.read({ key: prefix, end: instances })
  await floor.readAll(cut({ key: instances, end: prefixEnd(instances) }, points))
  await floor.read({ key: prefixEnd(instances), end: prefixEnd(prefix) })
  const ms = performance.now() - fromMs
  client.close()
  return { ms, keys: floor.keys, bytes: floor.bytes }
}

const [url, prefix] = process.argv.slice(2)
if (process.send && url && prefix) process.send(await rangeFloor(url, prefix), () => process.exit(0))
