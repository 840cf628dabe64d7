/** Answers that are kept for calls without a key: found by the turns after which they stand. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { RequestRecord } from '../../src/hypervisor/ports.js'
import type { Etcd, RangeRequest } from '../../src/store/etcd.js'
import { Keys } from '../../src/store/keys.js'
import { answersValue, EtcdRequests } from '../../src/store/requests.js'
import { EtcdTwin } from '../../src/store/twin.js'
import { testClock as clock } from '../support/plain-store.js'

const keys = new Keys('test')
const aRecord = (id: string, more: Partial<RequestRecord> = {}): RequestRecord => ({
  schema: 1,
  id,
  fingerprint: '',
  done: true,
  answer: { outcome: 'created', kind: 'instances', ids: [`shop.${id}`] },
  progress: 1,
  ...more,
})

describe('answers of a turn', () => {
  let etcd: Etcd
  let reads: RangeRequest[]
  let requests: EtcdRequests

  const write = (turn: number, ...records: RequestRecord[]): Promise<unknown> =>
    etcd.txn({ compare: [], success: [{ put: keys.answers(turn), value: answersValue(records) }] }, 1_000)

  beforeEach(() => {
    etcd = new EtcdTwin(clock).client()
    reads = []
    const noted: Etcd = Object.assign(Object.create(etcd) as Etcd, {
      range: (request: RangeRequest, deadlineMs: number) => {
        reads.push(request)
        return etcd.range(request, deadlineMs)
      },
    })
    requests = new EtcdRequests(noted, keys, clock)
  })

  it('are found whichever turn after the given one holds them, and in none before', async () => {
    for (let turn = 1; turn <= 450; turn += 3) await write(turn, aRecord(`a${turn}`), aRecord(`b${turn}`))
    expect(await requests.read('a1', 0)).toEqual(aRecord('a1'))
    expect(await requests.read('b448', 0)).toEqual(aRecord('b448'))
    expect(await requests.read('b448', 448)).toBeUndefined()
    expect(await requests.read('b448', 447)).toEqual(aRecord('b448'))
    expect(await requests.read('c', 0)).toBeUndefined()
  })

  it('are the last ones of a call that took several turns, in whatever order they are read', async () => {
    const part = (progress: number): RequestRecord => aRecord('bulk', { done: progress === 3, progress })
    for (const turn of [5, 6, 7]) await write(turn, part(turn - 4))
    expect(await requests.read('bulk', 6)).toEqual(part(3))
    expect(await requests.read('bulk', 2)).toEqual(part(3))
    await write(9, aRecord('bulk', { progress: 9 }))
    expect(await requests.read('bulk', 8)).toMatchObject({ progress: 9 })
  })

  it('are read once, however many ask, and what came since is read for who asks later', async () => {
    await write(1, aRecord('a'))
    const asked = Array.from({ length: 20 }, () => requests.read('a', 0))
    expect(new Set((await Promise.all(asked)).map(each => each?.id))).toEqual(new Set(['a']))
    expect(reads).toHaveLength(2)
    await write(2, aRecord('b'))
    expect(await requests.read('b', 0)).toEqual(aRecord('b'))
    expect(reads.at(-1)!.key).toBe(keys.answers(2))
  })

  it('are not taken from an etcd that was put back since', async () => {
    await write(1, aRecord('a'))
    await write(2, aRecord('b'))
    expect(await requests.read('b', 0)).toEqual(aRecord('b'))
    etcd = new EtcdTwin(clock).client()
    await write(1, aRecord('a'))
    expect(await requests.read('b', 0)).toBeUndefined()
    expect(await requests.read('a', 0)).toEqual(aRecord('a'))
  })

  it('say so when they cannot be read', async () => {
    await etcd.txn({ compare: [], success: [{ put: keys.answers(1), value: Buffer.from('{"schema":1}') }] }, 1_000)
    await expect(requests.read('a', 0)).rejects.toMatchObject({ code: 'unreadable-value' })
  })
})
