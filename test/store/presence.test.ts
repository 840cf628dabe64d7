/** What is in etcd only while its replica is, on the twin and a clock that the test drives. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SessionRecord } from '../../src/cloud/records.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdPresence } from '../../src/store/presence.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { ManualClock } from '../support/manual-clock.js'
import { aReplica, aStore, quiet } from '../support/stores.js'

const keys = new Keys('test')
const ttlMs = 10_000
const node = (id: string): Omit<SessionRecord, 'schema' | 'replica'> => ({
  kind: 'mothership',
  id,
  address: `ws://${id}.example:1`,
})

describe('the presence of a replica', () => {
  let clock: ManualClock
  let twin: EtcdTwin
  let etcd: TwinClient
  let raw: TwinClient
  let presence: EtcdPresence
  let renumbered: [string, number][]

  const open = async (id: string, on: TwinClient): Promise<EtcdPresence> => {
    const opened = new EtcdPresence({ etcd: on, keys, clock, log: quiet, ttlMs }, aReplica(id))
    await clock.during(opened.open())
    return opened
  }
  beforeEach(async () => {
    clock = new ManualClock()
    twin = new EtcdTwin(clock)
    etcd = twin.client()
    raw = twin.client()
    renumbered = []
    presence = await open('h1', etcd)
    presence.onRenumbered = (ref, number) => void renumbered.push([ref.id, number])
  })
  afterEach(async () => {
    etcd.heal()
    await clock.during(presence.close())
  })

  const item = async (key: string) => (await raw.range({ key }, 1_000)).items[0]
  const session = (id: string) => item(keys.record('sessions', `mothership/${id}`))
  const replicaOf = async (id: string): Promise<string | undefined> => {
    const found = await session(id)
    return found && JSON.parse(Buffer.from(found.value).toString()).replica
  }
  const openSession = (id: string, of = presence): Promise<number> => clock.during(of.openSession(node(id)))
  const loseLease = async (): Promise<void> => {
    await raw.revoke((await item(keys.record('replicas', 'h1')))!.lease, 1_000)
  }

  it('lasts while it is kept, on one lease, and goes when nobody keeps it', async () => {
    const number = await openSession('m1')
    await clock.advance(ttlMs * 3)
    const [own, held] = [await item(keys.record('replicas', 'h1')), await session('m1')]
    expect(held).toMatchObject({ modified: number, lease: own!.lease })

    etcd.cut('silent')
    await clock.advance(ttlMs * 2)
    expect([await item(keys.record('replicas', 'h1')), await session('m1')]).toEqual([undefined, undefined])
  })

  it('gives the session to whoever opened it last, and does not let the one before close it', async () => {
    const other = await open('h2', twin.client())
    const before = await openSession('m1')
    const after = await openSession('m1', other)
    expect(after).toBeGreaterThan(before)
    await presence.closeSession(node('m1'), before)
    expect(await replicaOf('m1')).toBe('h2')
    await other.closeSession(node('m1'), after)
    expect(await session('m1')).toBeUndefined()
  })

  it('opens a session whose reply was lost, with the number that it has', async () => {
    etcd.loseNextReply()
    const number = await openSession('m1')
    expect((await session('m1'))!.modified).toBe(number)
  })

  it('puts everything again when its lease is lost, and says under which number', async () => {
    await openSession('m1')
    await loseLease()
    expect(await session('m1')).toBeUndefined()
    await clock.advance(ttlMs)
    expect(await item(keys.record('replicas', 'h1'))).toBeDefined()
    expect(renumbered).toEqual([['m1', (await session('m1'))!.modified]])
  })

  it('leaves a node that moved on while the lease was lost where it is', async () => {
    const other = await open('h2', twin.client())
    await openSession('m1')
    await loseLease()
    const number = await openSession('m1', other)
    await clock.advance(ttlMs)
    expect(await session('m1')).toMatchObject({ modified: number })
    expect(await replicaOf('m1')).toBe('h2')
    expect(renumbered).toEqual([])

    await other.closeSession(node('m1'), number)
    await loseLease()
    await clock.advance(ttlMs)
    expect(await session('m1')).toBeUndefined()
  })

  it('puts again what it could not at once, when etcd fails in the midst of it', async () => {
    for (const id of ['m1', 'm2', 'm3']) await openSession(id)
    await loseLease()
    etcd.plan('passes', 'passes', 'refused', 'request-lost', 'reply-lost')
    await clock.advance(ttlMs * 3)
    expect([await replicaOf('m1'), await replicaOf('m2'), await replicaOf('m3')]).toEqual(['h1', 'h1', 'h1'])
    for (const id of ['m1', 'm2', 'm3']) {
      expect(renumbered.findLast(each => each[0] === id)?.[1]).toBe((await session(id))!.modified)
    }
  })

  it('forgets a session that was closed, also while its lease was lost', async () => {
    const number = await openSession('m1')
    await loseLease()
    await presence.closeSession(node('m1'), number)
    await clock.advance(ttlMs)
    expect(await session('m1')).toBeUndefined()
  })

  it('forgets a session that was closed while it was put again', async () => {
    const number = await openSession('m1')
    await loseLease()
    etcd.plan('passes')
    const release = etcd.holdNextTxn()
    await clock.advance(ttlMs / 3)
    await presence.closeSession(node('m1'), number)
    release()
    await clock.advance(ttlMs)
    expect(await session('m1')).toBeUndefined()
  })

  it('closes a session that was put again by the number that it had before, and not a newer one', async () => {
    const number = await openSession('m1')
    await loseLease()
    await clock.advance(ttlMs)
    await presence.closeSession(node('m1'), number)
    expect(await session('m1')).toBeUndefined()

    const again = await openSession('m1')
    await presence.closeSession(node('m1'), number)
    expect((await session('m1'))!.modified).toBe(again)
    await loseLease()
    await clock.advance(ttlMs)
    expect(await session('m1')).toBeDefined()
  })

  it('opens a session at once after its lease was lost, not when the next time to keep it comes', async () => {
    await loseLease()
    const startMs = clock.nowMs()
    await openSession('m1')
    expect(clock.nowMs() - startMs).toBeLessThan(ttlMs / 10)
    expect((await session('m1'))!.lease).toBe((await item(keys.record('replicas', 'h1')))!.lease)
  })

  it('is there again soon after etcd is, when its lease ran out meanwhile', async () => {
    await openSession('m1')
    etcd.cut('refused')
    await clock.advance(ttlMs * 2)
    etcd.heal()
    await clock.advance(ttlMs / 10)
    expect(await item(keys.record('replicas', 'h1'))).toBeDefined()
    expect(await replicaOf('m1')).toBe('h1')
  })

  it('is there again as soon as the watch of its store says that it is gone', async () => {
    const store = await clock.during(aStore('h3', etcd, { clock }))
    const own = () => item(keys.record('replicas', 'h3'))
    const { lease } = (await own())!
    await raw.revoke(lease, 1_000)
    await clock.advance(ttlMs / 10)
    expect((await own())?.lease).toMatch(/./)
    expect((await own())?.lease).not.toBe(lease)
    await clock.during(store.close())
    await clock.advance(ttlMs)
    expect(await own()).toBeUndefined()
  })

  it('looks again when word of the loss comes after etcd said that the lease is there', async () => {
    const keepAlive = etcd.keepAlive.bind(etcd)
    vi.spyOn(etcd, 'keepAlive').mockImplementationOnce(async (...args) => {
      const left = await keepAlive(...args)
      await loseLease()
      presence.look()
      return left
    })
    await clock.advance(ttlMs / 3)
    expect(await item(keys.record('replicas', 'h1'))).toBeUndefined()
    await clock.advance(ttlMs / 10)
    expect(await item(keys.record('replicas', 'h1'))).toBeDefined()
  })

  it('takes its own record away when it closes, and leaves the sessions to their nodes', async () => {
    await openSession('m1')
    await clock.during(presence.close())
    expect(await item(keys.record('replicas', 'h1'))).toBeUndefined()
    expect(await session('m1')).toBeDefined()
    await clock.advance(ttlMs * 2)
    expect(await session('m1')).toBeUndefined()
  })
})
