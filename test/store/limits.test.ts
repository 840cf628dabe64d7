/** What is too much for etcd fails by its name, at once, and touches no other call. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { prefixEnd } from '../../src/store/etcd.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { startEtcd, type TestEtcd } from '../support/etcd.js'

let members: TestEtcd
let etcd: EtcdTransport

beforeAll(async () => {
  members = await startEtcd(1)
  etcd = new EtcdTransport(members.urls, 0)
})
afterAll(async () => {
  await etcd.close()
  await members.stop()
})

const put = (bytes: number, key = '/limits/big') =>
  etcd.txn({ compare: [], success: [{ put: key, value: Buffer.alloc(bytes, 'x') }] }, 10_000)
const many = (count: number) =>
  etcd.txn(
    {
      compare: [],
      success: Array.from({ length: count }, (_, i) => ({ put: `/limits/${i}`, value: Buffer.from('x') })),
    },
    10_000,
  )

it('refuses what no transaction may hold, while other calls go on', async () => {
  const refused: [string, () => Promise<unknown>][] = [
    ['too-large', () => put(1_600_000)],
    ['too-large', () => put(2_100_000)],
    ['invalid', () => many(129)],
  ]
  for (const [kind, run] of refused) {
    const beside = Array.from({ length: 5 }, (_, i) => put(10, `/limits/beside/${i}`))
    await expect(run()).rejects.toMatchObject({ kind, sent: false })
    for (const each of await Promise.all(beside)) expect(each.succeeded).toBe(true)
    expect((await put(10, '/limits/after')).succeeded).toBe(true)
  }
  expect((await etcd.range({ key: '/limits/big' }, 5_000)).items).toEqual([])
  expect((await many(128)).succeeded).toBe(true)
})

it('reads more at once than the library takes by itself, and says when it is too much, while other calls go on', async () => {
  const prefix = '/limits/values/'
  for (let i = 0; i < 6; i++) await put(1_000_000, `${prefix}${i}`)
  const { items } = await etcd.range({ key: prefix, end: prefixEnd(prefix) }, 10_000)
  expect(items.map(each => each.value.byteLength)).toEqual(Array(6).fill(1_000_000))

  for (let i = 6; i < 70; i++) await put(1_000_000, `${prefix}${i}`)
  const beside = etcd.range({ key: `${prefix}0` }, 20_000)
  await expect(etcd.range({ key: prefix, end: prefixEnd(prefix) }, 20_000)).rejects.toMatchObject({ kind: 'too-large' })
  expect((await beside).items).toHaveLength(1)
  expect((await etcd.range({ key: `${prefix}0` }, 20_000)).items).toHaveLength(1)
})
