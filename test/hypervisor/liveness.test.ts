import { describe, expect, it } from 'vitest'
import type { NodeRef } from '../../src/cloud/ids.js'
import { put, remove } from '../../src/cloud/records.js'
import { Liveness } from '../../src/hypervisor/liveness.js'
import { FakeClock } from '../support/fake-clock.js'
import { PlainStore } from '../support/plain-store.js'
import { aMothership, aRainServer, session } from '../support/records.js'

const m1: NodeRef = { kind: 'mothership', id: 'm1' }
const r1: NodeRef = { kind: 'rainserver', id: 'r1' }

function over(...changes: Parameters<PlainStore['apply']>[0]): {
  store: PlainStore
  clock: FakeClock
  liveness: Liveness
  dies(replica: string): void
} {
  const store = new PlainStore()
  store.apply(changes)
  const clock = new FakeClock()
  const dead = new Map<string, number>()
  const deadForMs = (replica: string): number | undefined => {
    const atMs = dead.get(replica)
    return atMs === undefined ? undefined : clock.nowMs() - atMs
  }
  const liveness = new Liveness(store, () => clock.nowMs(), deadForMs)
  return { store, clock, liveness, dies: (replica: string) => void dead.set(replica, clock.nowMs()) }
}

const registered = put('motherships', 'm1', aMothership('m1'))
const connected = session('mothership', 'm1')
const left = remove('sessions', 'mothership/m1')

describe('liveness', () => {
  it('counts from the moment at which this replica saw the session go (N3)', () => {
    const { store, clock, liveness } = over(registered, connected)
    clock.advance(5_000)
    expect(liveness.goneForMs(m1)).toBeUndefined()
    store.apply([left])
    expect(liveness.goneForMs(m1)).toBe(0)
    clock.advance(700)
    expect(liveness.goneForMs(m1)).toBe(700)
  })

  it('forgets when the node is back, here or elsewhere, and counts anew when it goes again', () => {
    const { store, clock, liveness } = over(registered, connected)
    store.apply([left])
    clock.advance(700)
    store.apply([connected])
    expect(liveness.goneForMs(m1)).toBeUndefined()
    clock.advance(10_000)
    store.apply([left])
    clock.advance(1)
    expect(liveness.goneForMs(m1)).toBe(1)
  })

  it('is not moved by a session that is put again', () => {
    const { store, clock, liveness } = over(registered, connected)
    store.apply([connected])
    clock.advance(100)
    expect(liveness.goneForMs(m1)).toBeUndefined()
  })

  it('counts a node that has no session when this replica starts from then on', () => {
    const { clock, liveness } = over(registered, put('rainservers', 'r1', aRainServer('r1')))
    clock.advance(300)
    expect(liveness.goneForMs(m1)).toBe(300)
    expect(liveness.goneForMs(r1)).toBe(300)
  })

  it('counts a node that is registered before it connects from its registration on', () => {
    const { store, clock, liveness } = over()
    clock.advance(10_000)
    store.apply([registered])
    clock.advance(200)
    expect(liveness.goneForMs(m1)).toBe(200)
    store.apply([put('motherships', 'm1', aMothership('m1', { cordoned: true }))])
    clock.advance(100)
    expect(liveness.goneForMs(m1)).toBe(300)
  })

  it('does not take a node that registers and connects at one revision for gone', () => {
    const { store, liveness } = over()
    store.apply([registered, connected])
    expect(liveness.goneForMs(m1)).toBeUndefined()
    store.apply([session('rainserver', 'r1'), put('rainservers', 'r1', aRainServer('r1'))])
    expect(liveness.goneForMs(r1)).toBeUndefined()
  })

  it('knows nothing of a node that was unregistered, nor of its earlier life when it comes again', () => {
    const { store, clock, liveness } = over(registered, connected)
    store.apply([remove('motherships', 'm1')])
    store.apply([left])
    clock.advance(3_600_000)
    expect(liveness.goneForMs(m1)).toBeUndefined()
    store.apply([registered])
    clock.advance(100)
    expect(liveness.goneForMs(m1)).toBe(100)
  })

  it('counts balancers too, which are not registered', () => {
    const b1: NodeRef = { kind: 'balancer', id: 'b1' }
    const { store, clock, liveness } = over(session('balancer', 'b1'))
    store.apply([remove('sessions', 'balancer/b1')])
    clock.advance(50)
    expect(liveness.goneForMs(b1)).toBe(50)
  })

  it('hears nothing any more once it is closed', () => {
    const { store, liveness } = over(registered, connected)
    liveness.close()
    store.apply([left])
    expect(liveness.goneForMs(m1)).toBeUndefined()
  })
})

describe('a node whose replica went', () => {
  const replica = (incarnation: string) =>
    put('replicas', 'h1', { schema: 1, id: 'h1', url: 'http://h1.example:1', incarnation })

  it.each<[string, (cloud: ReturnType<typeof over>) => void]>([
    ['stopped, or lost its lease', ({ store }) => store.apply([remove('replicas', 'h1')])],
    ['was started anew', ({ store }) => store.apply([replica('2')])],
    ['is dead to a majority', ({ dies }) => dies('h1')],
  ])('is gone 2.5 s after that one %s, if it is not back by then', (_how, goes) => {
    const cloud = over(replica('1'), registered)
    cloud.store.apply([connected])
    goes(cloud)
    cloud.clock.advance(2_400)
    expect(cloud.liveness.goneForMs(m1)).toBeUndefined()
    cloud.clock.advance(200)
    expect(cloud.liveness.goneForMs(m1)).toBe(100)
  })

  it('is there when it is back at that replica, or at another', () => {
    const { store, clock, liveness } = over(replica('1'), registered)
    store.apply([connected])
    store.apply([replica('2')])
    store.apply([connected])
    clock.advance(10_000)
    expect(liveness.goneForMs(m1)).toBeUndefined()
    store.apply([remove('replicas', 'h1')])
    store.apply([session('mothership', 'm1', 'h2')])
    clock.advance(10_000)
    expect(liveness.goneForMs(m1)).toBeUndefined()
  })
})
