/** The same history watched by the bare client library, and thrown away: a floor for the watch of a replica. */
import { Etcd3 } from 'etcd3'
import { prefixEnd } from '../../src/store/etcd.js'

/** Resolves with the milliseconds from the request until so many events have come. */
export async function watchFloor(url: string, prefix: string, start: number, events: number): Promise<number> {
  const client = new Etcd3({ hosts: url, grpcOptions: { 'grpc.max_receive_message_length': 64 * 2 ** 20 } })
  const stream = await client.watchClient.watch()
  const fromMs = performance.now()
  let seen = 0
  await new Promise<void>((resolve, reject) => {
    stream.on('error', reject)
    stream.on('data', answer => {
      seen += answer.events.length
      if (seen >= events) resolve()
    })
    const range = { key: Buffer.from(prefix), range_end: Buffer.from(prefixEnd(prefix)) }
    stream.write({ create_request: { ...range, start_revision: String(start), fragment: true } })
  })
  const ms = performance.now() - fromMs
  stream.on('error', () => undefined)
  stream.cancel()
  client.close()
  if (seen !== events) throw new Error(`${seen} events came, ${events} were written`)
  return ms
}
