/**
 * What the same client library does bare: raw puts, and raw transactions of 127 puts that compare one key, on one
 * member, without watch, lease, record or check. A process of its own, as replicas are.
 *
 * Asked by messages, one at a time; every put makes a new key, as an instance does.
 */
import { Etcd3, type IOptions } from 'etcd3'
import type { Measured } from '../harness.js'
import { type EtcdQuestion, putsEach } from './questions.js'

const prefix = '/floor/instances/bare.0123456789abcdef'
const fence = Buffer.from('/floor/leader')

/** The library's own repetition of failed calls is switched off, as in the product. */
const once = {
  execute: (run: (context: { signal: AbortSignal }) => unknown) => run({ signal: new AbortController().signal }),
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
}
const policy = once as unknown as NonNullable<NonNullable<IOptions['faultHandling']>['global']>
const client = new Etcd3({ hosts: process.argv[2]!, faultHandling: { host: () => policy, global: policy } })

let number = 0
const put = (value: Buffer): { key: Buffer; value: Buffer } => ({
  key: Buffer.from(`${prefix}${String(number++).padStart(10, '0')}`),
  value,
})

async function onePut(value: Buffer): Promise<void> {
  await client.kv.put(put(value))
}

async function oneTransaction(value: Buffer, token: string): Promise<void> {
  const success = Array.from({ length: putsEach }, () => ({ request_put: put(value) }))
  const compare = [{ key: fence, target: 'Create' as const, result: 'Equal' as const, create_revision: token }]
  const answer = await client.kv.txn({ compare, success })
  if (!answer.succeeded) throw new Error('the fence of the floor is gone')
}

async function token(): Promise<string> {
  await client.kv.put({ key: fence, value: Buffer.from('floor') })
  return (await client.kv.range({ key: fence })).kvs[0]!.create_revision
}

async function measure({ kind, concurrency, ms, bytes }: EtcdQuestion): Promise<Measured> {
  const value = Buffer.alloc(bytes, 'v')
  const fenced = await token()
  const one = kind === 'puts' ? () => onePut(value) : () => oneTransaction(value, fenced)
  const times: number[] = []
  const fromMs = performance.now()
  const lane = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < fromMs + ms; ) {
      const sentMs = nowMs
      await one()
      nowMs = performance.now()
      times.push(nowMs - sentMs)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  const seconds = (performance.now() - fromMs) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]!
  return { rate: times.length / seconds, answers: times.length, p50Ms: at(0.5), p99Ms: at(0.99) }
}

process.on('message', (question: EtcdQuestion) => {
  measure(question).then(
    measured => process.send?.(measured),
    (error: unknown) => {
      process.stderr.write(`${error}\n`)
      process.exit(1)
    },
  )
})
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
