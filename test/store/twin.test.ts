/** The faults that the twin can play. What it does when nothing fails is the contract's matter. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { TxnRequest, WatchEvent } from '../../src/store/etcd.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { ManualClock } from '../support/manual-clock.js'
import { testClock } from '../support/plain-store.js'

const put = (key: string): TxnRequest => ({ compare: [], success: [{ put: key, value: Buffer.from('x') }] })
const failureOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'no failure',
    (error: unknown) => error,
  )

describe('a client of the twin', () => {
  let twin: EtcdTwin
  let one: TwinClient
  let two: TwinClient
  const keys = async (): Promise<string[]> =>
    (await two.range({ key: 'a', end: 'z' }, 1_000)).items.map(each => each.key)

  beforeEach(() => {
    twin = new EtcdTwin(testClock)
    one = twin.client()
    two = twin.client()
  })

  it('shares the key space with the others', async () => {
    await one.txn(put('a'), 1_000)
    expect(await keys()).toEqual(['a'])
  })

  it('that is cut off sends nothing, knows that, and hears that its watches are over', async () => {
    const ended = new Promise<{ compacted?: number }>(onEnd => {
      one.watch({ key: 'a', end: 'z', start: 1 }, { onEvents() {}, onHeard() {}, onEnd })
    })
    one.cut()
    expect(await failureOf(one.txn(put('a'), 1_000))).toMatchObject({ kind: 'unavailable', sent: false })
    expect((await ended).compacted).toBeUndefined()
    expect(await keys()).toEqual([])

    one.heal()
    await one.txn(put('a'), 1_000)
    expect(await keys()).toEqual(['a'])
  })

  it('on a silent link fails at the deadline and cannot know more', async () => {
    one.cut('silent')
    expect(await failureOf(one.txn(put('a'), 10))).toMatchObject({ kind: 'unavailable', sent: true })
    expect(await keys()).toEqual([])
  })

  it('does not know the outcome of what was in flight when it was cut off', async () => {
    const release = one.holdNextTxn()
    const failure = failureOf(one.txn(put('a'), 1_000))
    one.cut()
    expect(await failure).toMatchObject({ kind: 'unavailable', sent: true })
    release()
  })

  it('does not learn of a transaction whose reply is lost, though it is applied', async () => {
    one.loseNextReply()
    expect(await failureOf(one.txn(put('a'), 1_000))).toMatchObject({ kind: 'unavailable', sent: true })
    expect(await keys()).toEqual(['a'])
    await one.txn(put('b'), 1_000)
    expect(await keys()).toEqual(['a', 'b'])
  })

  it('has a transaction arrive after its deadline when the network kept it so long', async () => {
    const release = one.holdNextTxn()
    expect(await failureOf(one.txn(put('a'), 10))).toMatchObject({ sent: true })
    await one.txn(put('b'), 1_000)
    expect(await keys()).toEqual(['b'])
    release()
    await expect.poll(keys).toEqual(['a', 'b'])
  })

  it('has transactions meet the fates that are planned for them, in order', async () => {
    one.plan('passes', 'refused', 'request-lost', 'passes')
    const outcomes = []
    for (const key of ['a', 'b', 'c', 'd']) outcomes.push(await failureOf(one.txn(put(key), 1_000)))
    expect(outcomes).toMatchObject(['no failure', { sent: false }, { sent: true }, 'no failure'])
    expect(await keys()).toEqual(['a', 'd'])
  })

  it('gets all events late when its watches were held, and is told when they are compacted by then', async () => {
    const seen: WatchEvent[] = []
    let compacted: number | undefined
    const handlers = {
      onEvents: (events: readonly WatchEvent[]) => void seen.push(...events),
      onHeard() {},
      onEnd: (end: { compacted?: number }) => void (compacted = end.compacted),
    }
    one.watch({ key: 'a', end: 'z', start: twin.revision + 1 }, handlers)
    one.holdWatches()
    for (const key of ['a', 'b']) await two.txn(put(key), 1_000)
    expect(seen).toEqual([])
    one.releaseWatches()
    await expect.poll(() => seen.map(each => each.key)).toEqual(['a', 'b'])

    one.holdWatches()
    for (const key of ['c', 'd']) await two.txn(put(key), 1_000)
    twin.compact(twin.revision)
    one.releaseWatches()
    await expect.poll(() => compacted).toBe(twin.revision)
    expect(seen).toHaveLength(2)
  })

  it('lets a transaction arrive twice, of which the second one counts for nothing where it is fenced', async () => {
    one.plan('twice')
    const { revision } = await one.txn({ ...put('a'), compare: [{ key: 'a', created: 0 }] }, 1_000)
    one.plan('twice')
    const then = await one.txn(put('b'), 1_000)
    await expect.poll(() => twin.revision).toBe(then.revision + 1)
    expect(twin.range({ key: 'a' }).items).toMatchObject([{ modified: revision }])
    expect(twin.range({ key: 'b' }).items).toMatchObject([{ modified: then.revision + 1 }])
  })

  it('breaks connections that can be opened again at once, and ends watches alone', async () => {
    const ends: string[] = []
    const watch = (): void => {
      const onEnd = ({ reason }: { reason: string }): void => void ends.push(reason)
      one.watch({ key: 'a', end: 'z', start: twin.revision + 1 }, { onEvents() {}, onHeard() {}, onEnd })
    }
    watch()
    const release = one.holdNextTxn()
    const lost = one.txn(put('a'), 1_000).catch((error: unknown) => error)
    one.reset()
    expect(await lost).toMatchObject({ kind: 'unavailable', sent: true })
    expect((await one.txn(put('b'), 1_000)).succeeded).toBe(true)
    release()
    await expect.poll(() => twin.range({ key: 'a' }).count).toBe(1)

    watch()
    one.endWatches('no reason')
    await expect.poll(() => ends).toEqual(['the connection was lost', 'no reason'])
    expect((await one.txn(put('c'), 1_000)).succeeded).toBe(true)
  })

  it('tells a client that vanished nothing, and applies what it sent', async () => {
    let told = false
    const onEnd = (): void => void (told = true)
    one.watch({ key: 'a', end: 'z', start: 1 }, { onEvents: onEnd, onHeard: onEnd, onEnd })
    const release = one.holdNextTxn()
    const answer = one.txn(put('a'), 50).finally(onEnd)
    answer.catch(() => undefined)
    one.vanish()
    release()
    await two.txn(put('b'), 1_000)
    expect(twin.range({ key: 'a' }).count).toBe(1)
    expect(told).toBe(false)
  })

  it('lets leases run anew when it is back after a while without a majority', async () => {
    const clock = new ManualClock()
    const away = new EtcdTwin(clock)
    const etcd = away.client()
    const { lease } = await etcd.grant(2, 1_000)
    await etcd.txn({ compare: [], success: [{ put: 'a', value: Buffer.from('1'), lease }] }, 1_000)
    expect([...away.leases.values()].map(each => [...each.keys])).toEqual([['a']])
    await clock.advance(1_500)
    away.stop()
    await clock.advance(60_000)
    away.resume()
    await clock.advance(1_900)
    expect(away.range({ key: 'a' }).count).toBe(1)
    await clock.advance(200)
    expect(away.range({ key: 'a' }).count).toBe(0)
  })
})
