import { afterEach, describe, expect, it } from 'vitest'
import type { Etcd } from '../../src/store/etcd.js'
import { EtcdRoom } from '../../src/store/room.js'
import { waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { quiet } from '../support/stores.js'

let room: EtcdRoom | undefined
afterEach(() => room?.close())

const roomOver = (isFull: () => Promise<boolean>): EtcdRoom => {
  room = new EtcdRoom({ etcd: { isFull } as unknown as Etcd, clock: testClock, log: quiet })
  room.open()
  return room
}

describe('room in etcd', () => {
  it('is said to be gone while the alarm lasts', async () => {
    let full = true
    const watched = roomOver(() => Promise.resolve(full))
    await waitUntil('it is full', () => watched.full)
    full = false
    await waitUntil('it has room', () => !watched.full)
  })

  it('is what it last was when nobody answers', async () => {
    let asked = 0
    const watched = roomOver(() => (++asked === 1 ? Promise.resolve(true) : Promise.reject(new Error('away'))))
    await waitUntil('it asked again', () => asked > 1)
    expect(watched.full).toBe(true)
  })
})
