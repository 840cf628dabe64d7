/** A replica's memory, on the twin and a clock that the test drives. */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Applied, MemoryMap } from '../../src/cloud/map.js'
import { put } from '../../src/cloud/records.js'
import { type Etcd, EtcdFailure, type Op } from '../../src/store/etcd.js'
import type { StoreEvents } from '../../src/store/events.js'
import { Keys } from '../../src/store/keys.js'
import { ReplicaMap } from '../../src/store/replica-map.js'
import { pageItems } from '../../src/store/snapshot.js'
import { EtcdTwin, type TwinOptions } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { writeValue } from '../../src/store/values.js'
import { ManualClock, settled } from '../support/manual-clock.js'
import { aComponent, aMothership, anInstance, running } from '../support/records.js'
import { aBatch, aTerm, memoryOf, quiet, rangeOf } from '../support/stores.js'

const keys = new Keys('test')
const key = (id: string): string => keys.record('motherships', id)

describe("a replica's memory", () => {
  let clock: ManualClock
  let twin: EtcdTwin
  let writer: TwinClient
  let etcd: TwinClient
  let told: string[]
  let seen: Applied[]
  const events: StoreEvents = {
    onReopen: reason => void told.push(`reopen: ${reason}`),
    onResync: reason => void told.push(`resync: ${reason}`),
    onUnreadable: at => void told.push(`unreadable: ${at}`),
  }

  const start = (options: TwinOptions = {}): void => {
    clock = new ManualClock()
    twin = new EtcdTwin(clock, options)
    writer = twin.client()
    etcd = twin.client()
    told = []
    seen = []
  }
  beforeEach(() => start())

  const openOn = async (on: Etcd): Promise<ReplicaMap> => {
    const map = new ReplicaMap({ etcd: on, keys, clock, chance: { next: () => 0.5, id: () => '' }, log: quiet, events })
    map.onChange(changes => void seen.push(...changes))
    await clock.during(map.open())
    seen = []
    return map
  }
  const txn = async (...success: Op[]): Promise<number> => {
    return (await clock.during(writer.txn({ compare: [], success }, 60_000))).revision
  }
  const write = (...ids: string[]): Promise<number> =>
    txn(...ids.map(id => ({ put: key(id), value: writeValue('motherships', aMothership(id)) })))
  const expectCurrent = async (map: ReplicaMap): Promise<void> => {
    expect(memoryOf(map.map)).toEqual(await rangeOf(writer, map.map.order.revision))
  }

  it('does not blame its watch for a time in which it stood still itself', async () => {
    const map = await openOn(etcd)
    await clock.advance(1_000)
    clock.standStill(4_000)
    expect(map.staleForMs()).toBeGreaterThanOrEqual(4_000) // what is in memory may be as old as that, and says so
    await clock.advance(600)
    expect(told).toEqual([])
    expect(map.staleForMs()).toBe(0)
  })

  it('tells each change once, with those of a revision together', async () => {
    await write('a', 'b')
    const map = await openOn(etcd)
    const revision = await write('b', 'c')
    await txn({ delete: key('a') })

    expect(seen.map(each => [each.id, each.value === null, each.modified])).toEqual([
      ['b', false, revision],
      ['c', false, revision],
      ['a', true, revision + 1],
    ])
    await expectCurrent(map)
  })

  it('starts over when history is compacted between its pages', async () => {
    const ids = Array.from({ length: pageItems + 100 }, (_, i) => `m${i}`)
    while (ids.length > 0) await write(...ids.splice(0, 100))
    await txn({ put: key('bad'), value: Buffer.from('not JSON') })
    let starts = 0
    const compacting = over(etcd, {
      range: async (request, deadlineMs) => {
        const page = await etcd.range(request, deadlineMs)
        if (request.revision === undefined) starts++
        else if (starts === 1 && page.more) twin.compact(await txn({ delete: key('m7') }))
        return page
      },
    })
    const map = await openOn(compacting)
    expect(starts).toBe(2)
    expect(map.map.count('motherships')).toBe(pageItems + 99)
    expect(map.unreadable).toBe(1)
    expect(memoryOf(map.map)).toEqual(await rangeOf(writer, map.map.order.revision, 'test', [key('bad')]))
  })

  it('tells real differences alone, and all of them, when a later reading has to start over', async () => {
    const ids = Array.from({ length: pageItems + 100 }, (_, i) => `m${i}`)
    while (ids.length > 0) await write(...ids.splice(0, 100))
    let compacts = 0
    const map = await openOn(
      over(etcd, {
        range: async (request, deadlineMs) => {
          const page = await etcd.range(request, deadlineMs)
          if (compacts > 0 && request.revision !== undefined && page.more && !request.countOnly) {
            compacts--
            twin.compact(await write('between'))
          }
          return page
        },
      }),
    )
    etcd.cut()
    await txn({ put: key('m3'), value: Buffer.from('not JSON') }, { delete: key('m4') })
    twin.compact(await write('m5'))
    compacts = 2
    etcd.heal()
    await clock.advanceUntil('it is read anew', () => map.map.get('motherships', 'between') !== undefined)
    expect(compacts).toBe(0)
    expect(seen.map(each => `${each.id}${each.value === null ? ' gone' : ''}`).sort()).toEqual([
      'between',
      'm3 gone',
      'm4 gone',
      'm5',
    ])
    expect(map.unreadable).toBe(1)
    expect(memoryOf(map.map)).toEqual(await rangeOf(writer, map.map.order.revision, 'test', [key('m3')]))
  })

  it('reads everything once in its ranges, at one revision, whatever is written meanwhile and wherever keys lie', async () => {
    const component = (id: string): Op => ({
      put: keys.record('components', `${id}/1.0.0`),
      value: writeValue('components', aComponent(id)),
    })
    const instance = (id: string): Op => ({
      put: keys.record('instances', id),
      value: writeValue('instances', anInstance(id, ['a'])),
    })
    const observed = (id: string): Op => {
      const { value } = running('a', id)
      return { put: keys.record('observed', id), value: writeValue('observed', value as never) }
    }
    const id = fc.constantFrom('a', 'b', 'shop', 'shop-2', 'z')
    const instanceId = fc.tuple(fc.constantFrom('a', 'gone', 'shop', 'zz'), fc.constantFrom('0', '0a', 'f', 'x', '9-1'))
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(id), fc.array(instanceId), fc.boolean(), async (ids, instances, writes) => {
        start()
        const ops = [
          ...ids.map(component),
          ...instances.flatMap(each => [instance(each.join('.')), observed(`${each[0]}/x.1`)]),
        ]
        for (const op of [...new Map(ops.map(op => [(op as { put: string }).put, op])).values()]) await txn(op)
        await write('a', 'shop')
        const map = await openOn(
          over(etcd, {
            range: async (request, deadlineMs) => {
              const page = await etcd.range({ ...request, limit: Math.min(request.limit ?? 2, 2) }, deadlineMs)
              if (writes) await txn(instance('shop.late'), { delete: key('a') })
              return page
            },
          }),
        )
        await expectCurrent(map)
        map.close()
      }),
      { numRuns: 60 },
    )
  })

  it('asks for less at a time when a page is more than an answer may hold', async () => {
    await write(...Array.from({ length: 100 }, (_, i) => `m${i}`))
    const limits: number[] = []
    const map = await openOn(
      over(etcd, {
        range: async (request, deadlineMs) => {
          const page = await etcd.range(request, deadlineMs)
          if (page.items.length > 30) throw new EtcdFailure('too-large', false, 'larger than max')
          limits.push(request.limit!)
          return page
        },
      }),
    )
    expect(Math.min(...limits)).toBeLessThanOrEqual(30)
    await expectCurrent(map)
  })

  it('keeps what it has while etcd is away, says how old that is, and catches up', async () => {
    await write('a')
    const map = await openOn(etcd)
    expect(map.staleForMs()).toBe(0)
    etcd.cut('silent')
    await write('b')
    await clock.advance(10_000)
    expect(map.staleForMs()).toBeGreaterThan(9_000)
    expect(map.map.get('motherships', 'a')).toBeDefined()

    etcd.heal()
    await clock.advanceUntil('b is known', () => map.map.get('motherships', 'b') !== undefined)
    await clock.advanceUntil('the memory is current', () => map.staleForMs() === 0)
    expect(seen.map(each => each.id)).toEqual(['b'])
    await expectCurrent(map)
  })

  it('gives a new watch time to answer', async () => {
    start({ delayMs: () => 450 })
    const map = await openOn(etcd)
    etcd.cut('silent')
    await clock.advanceUntil('the silence is noticed', () => told.length > 0)
    etcd.heal()
    await write('a')
    await clock.advance(30_000)
    expect(map.map.get('motherships', 'a')).toBeDefined()
    expect(map.staleForMs()).toBe(0)
  })

  it('leaves out what cannot be read, until it can be', async () => {
    await txn({ put: key('a'), value: Buffer.from('{"schema":1}') })
    const map = await openOn(etcd)
    expect([map.unreadable, map.map.count('motherships')]).toEqual([1, 0])
    await write('b')
    await txn({ put: key('b'), value: Buffer.from('not JSON') })
    expect([map.unreadable, map.map.count('motherships')]).toEqual([2, 0])
    await write('a')
    await txn({ delete: key('b') })
    expect([map.unreadable, map.map.count('motherships')]).toEqual([0, 1])
    expect(told).toEqual([`unreadable: ${key('a')}`, `unreadable: ${key('b')}`])
  })

  it('forgets an unreadable value that was deleted while it was away, and tells no change then', async () => {
    await write('b')
    await txn({ put: key('a'), value: Buffer.from('not JSON') }, { put: key('c'), value: Buffer.from('nor this') })
    const map = await openOn(etcd)
    etcd.cut()
    await txn({ delete: key('a') })
    twin.compact(await write('d'))
    etcd.heal()
    await clock.advanceUntil('d is known', () => map.map.get('motherships', 'd') !== undefined)

    expect(told).toContain('resync: the history was compacted')
    expect(map.unreadable).toBe(1)
    expect(seen.map(each => each.id)).toEqual(['d'])
  })

  it('finds out after a while that an event never came', async () => {
    const map = await openOn(forgetful(etcd))
    const lost = await write('lost')
    await write('a')
    expect(map.map.get('motherships', 'lost')).toBeUndefined()
    await clock.advance(200_000)
    expect(told.filter(each => each.startsWith('resync'))).toHaveLength(1)
    expect(seen.map(each => [each.id, each.modified])).toEqual([
      ['a', lost + 1],
      ['lost', lost],
    ])
    await expectCurrent(map)
  })

  it('minds no kinds that only newer replicas know', async () => {
    await txn({ put: `${keys.map}gadgets/a`, value: Buffer.from('{}') })
    const map = await openOn(etcd)
    await txn({ put: `${keys.map}gadgets/b`, value: Buffer.from('{}') }, { delete: `${keys.map}gadgets/a` })
    await write('a')
    await clock.advance(1_000_000)
    expect(told).toEqual([])
    expect(map.map.count('motherships')).toBe(1)
    expect(seen.map(each => each.id)).toEqual(['a'])
  })

  it('takes the newest of two snapshots, whichever answer comes last', async () => {
    const lossy = forgetful(etcd)
    let release: (() => void) | undefined
    let end: ((reason: { reason: string; compacted: number }) => void) | undefined
    const held = over(lossy, {
      range: async (request, deadlineMs) => {
        const answer = await lossy.range(request, deadlineMs)
        if (request.countOnly || request.limit === undefined || end === undefined || release) return answer
        await new Promise<void>(resolve => (release = resolve))
        return answer
      },
      watch: (request, handlers) => {
        end = handlers.onEnd
        return lossy.watch(request, handlers)
      },
    })
    const map = await openOn(held)
    await write('lost')
    await write('a')
    await clock.advance(170_000)
    end!({ reason: 'compacted', compacted: 1 })
    await clock.advanceUntil('the first snapshot is on its way', () => release !== undefined)
    await write('late')
    await clock.advanceUntil('the second one is in', () => map.map.get('motherships', 'late') !== undefined)
    release!()
    await settled()
    await write('later')
    expect(map.map.get('motherships', 'late')).toBeDefined()
    await expectCurrent(map)
  })

  it('notices that etcd was put back to an earlier state', async () => {
    await write('a')
    let now: Etcd = etcd
    const map = await openOn(
      over(etcd, {
        range: (request, deadlineMs) => now.range(request, deadlineMs),
        watch: (request, handlers) => now.watch(request, handlers),
      }),
    )
    for (const id of ['b', 'c', 'd']) await write(id)
    const backup = new EtcdTwin(clock, { cluster: 'backup' })
    writer = now = backup.client()
    await write('a', 'z')
    etcd.cut()
    await clock.advanceUntil('z is known', () => map.map.get('motherships', 'z') !== undefined)
    expect(map.map.order.revision).toBe(backup.revision)
    await expectCurrent(map)
    await write('y')
    await expectCurrent(map)
  })

  it('is what etcd has, told change by change, whatever the network and compaction do', async () => {
    const step = fc.record({
      what: fc.constantFrom('write', 'write', 'delete', 'cut', 'silence', 'heal', 'hold', 'release', 'compact', 'gap'),
      id: fc.constantFrom('a', 'b', 'c', 'd'),
      forMs: fc.constantFrom(0, 0, 10, 700, 4_000),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
        start()
        const map = await openOn(etcd)
        const orders: number[] = []
        const copy = new MemoryMap()
        map.onChange((changes, order) => {
          copy.apply(changes, order.revision)
          orders.push(order.revision)
        })
        for (const { what, id, forMs } of steps) {
          if (what === 'write') await write(id, `${id}2`)
          else if (what === 'delete') await txn({ delete: key(id) })
          else if (what === 'cut') etcd.cut()
          else if (what === 'silence') etcd.cut('silent')
          else if (what === 'heal') etcd.heal()
          else if (what === 'hold') etcd.holdWatches()
          else if (what === 'release') etcd.releaseWatches()
          else if (what === 'compact') twin.compact(twin.revision)
          if (what === 'gap') {
            etcd.cut()
            await txn({ delete: key(id) })
            await write('e')
            twin.compact(twin.revision)
            etcd.heal()
          }
          await clock.advance(forMs)
        }
        etcd.heal()
        etcd.releaseWatches()
        const last = await write('z')
        await clock.advanceUntil('all of it is known', () => map.map.order.revision >= last)

        await expectCurrent(map)
        expect(memoryOf(copy)).toEqual(memoryOf(map.map))
        expect(orders).toEqual([...orders].sort((a, b) => a - b))
        map.close()
      }),
      { numRuns: 150 },
    )
  })

  it('lets wait for a revision, and says when that did not come', async () => {
    const map = await openOn(etcd)
    const waiting = map.waitFor({ era: 1, revision: twin.revision + 1 }, 1_000)
    await write('a')
    await waiting
    const late = map.waitFor({ era: 1, revision: twin.revision + 1 }, 1_000)
    await expect(clock.during(late)).rejects.toMatchObject({ code: 'timeout' })
  })

  it('catches up with what leaders have written, not with what is written outside the map', async () => {
    const map = await openOn(etcd)
    const term = await aTerm(writer, { clock })
    await clock.during(term.commit(aBatch('a')))
    await txn({ put: keys.request('x'), value: Buffer.from('{}') })
    expect(await clock.during(map.catchUp(1_000))).toEqual({ era: 1, revision: twin.revision - 1 })

    etcd.holdWatches()
    await clock.during(term.commit(aBatch('b')))
    await expect(clock.during(map.catchUp(1_000))).rejects.toMatchObject({ code: 'timeout' })
    etcd.releaseWatches()
    await clock.during(map.catchUp(1_000))
    expect(map.map.get('motherships', 'b')?.value).toEqual(aMothership('b'))
    expect(seen).toContainEqual(expect.objectContaining(put('motherships', 'b', aMothership('b'))))
  })
})

/** The etcd with some of it done otherwise. */
function over(etcd: Etcd, other: Partial<Etcd>): Etcd {
  return {
    range: (request, deadlineMs) => etcd.range(request, deadlineMs),
    txn: (request, deadlineMs) => etcd.txn(request, deadlineMs),
    watch: (request, handlers) => etcd.watch(request, handlers),
    grant: (ttlS, deadlineMs) => etcd.grant(ttlS, deadlineMs),
    keepAlive: (lease, deadlineMs) => etcd.keepAlive(lease, deadlineMs),
    revoke: (lease, deadlineMs) => etcd.revoke(lease, deadlineMs),
    close: () => etcd.close(),
    ...other,
  }
}

/** An etcd that never tells of the mothership `lost`. */
function forgetful(etcd: Etcd): Etcd {
  return over(etcd, {
    watch: (request, handlers) =>
      etcd.watch(request, {
        ...handlers,
        onEvents: events => {
          const kept = events.filter(each => each.key !== key('lost'))
          if (kept.length > 0) handlers.onEvents(kept)
        },
      }),
  })
}
