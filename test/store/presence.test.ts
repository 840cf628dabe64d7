/** What is in etcd only while its replica is, on the twin and a clock that the test drives. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SessionRecord } from '../../src/cloud/records.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdPresence } from '../../src/store/presence.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { ManualClock } from '../support/manual-clock.js'
import { aReplica, quiet } from '../support/stores.js'

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

  it('forgets a session that was closed, also while its lease was lost', async () => {
    const number = await openSession('m1')
    await loseLease()
    await presence.closeSession(node('m1'), number)
    await clock.advance(ttlMs)
    expect(await session('m1')).toBeUndefined()
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
