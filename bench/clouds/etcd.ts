/** An etcd on loopback for benchmarks of large maps, filled through the product's own keys and values. */
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { type Change, put } from '../../src/cloud/records.js'
import { type Etcd, type Op, prefixEnd } from '../../src/store/etcd.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { writeValue } from '../../src/store/values.js'

export const say = (text: string): void => void process.stderr.write(`${text}\n`)
/** As many as the product puts into one. */
export const opsPerTxn = 125

export interface BenchEtcd {
  readonly url: string
  readonly etcd: Etcd
  stop(): Promise<void>
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

export async function startEtcd(dataDir: string): Promise<BenchEtcd> {
  const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`]
  const child = spawn(
    'etcd',
    [
      ...['--name', 'bench', '--data-dir', dataDir, '--initial-cluster', `bench=${peer}`],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--quota-backend-bytes', String(8 * 2 ** 30)],
      ...['--log-level', 'error', '--logger', 'zap'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  process.once('exit', () => child.kill('SIGKILL'))
  await healthy(client)
  const etcd = new EtcdTransport([client], 0)
  return {
    url: client,
    etcd,
    stop: async () => {
      await etcd.close()
      child.kill('SIGTERM')
      await gone
    },
  }
}

async function healthy(url: string): Promise<void> {
  const untilMs = performance.now() + 60_000
  for (;;) {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    if (answer?.ok) return
    if (performance.now() > untilMs) throw new Error('etcd is not healthy after a minute')
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** Resolves with how many records were put. Several transactions are under way together: their order does not matter. */
export async function fill(etcd: Etcd, cluster: string, changes: Iterable<Change>): Promise<number> {
  const keys = new Keys(cluster)
  const batches = inBatches(changes, keys)
  let count = 0
  const lane = async (): Promise<void> => {
    for (let next = batches.next(); !next.done; next = batches.next()) {
      await etcd.txn({ compare: [], success: next.value }, 60_000)
      count += next.value.length
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  return count
}

function* inBatches(changes: Iterable<Change>, keys: Keys): Generator<Op[]> {
  let batch: Op[] = []
  for (const { kind, id, value } of changes) {
    batch.push({ put: keys.record(kind, id), value: writeValue(kind, value as never) })
    if (batch.length < opsPerTxn) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

export async function instancesIn(etcd: Etcd, cluster: string): Promise<number> {
  const key = `${new Keys(cluster).map}instances/`
  return (await etcd.range({ key, end: prefixEnd(key), countOnly: true }, 60_000)).count
}

export async function countOf(etcd: Etcd, cluster: string): Promise<number> {
  const keys = new Keys(cluster)
  return (await etcd.range({ key: keys.map, end: keys.mapEnd, countOnly: true }, 60_000)).count
}

export function* putInstances(instances: Iterable<Parameters<typeof put<'instances'>>[2]>): Iterable<Change> {
  for (const instance of instances) yield put('instances', instance.id, instance)
}
