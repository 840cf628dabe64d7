/** When a leader is called gone, and by whom: on links and a clock that the test drives. */
import { describe, expect, it } from 'vitest'
import type { LeaderRecord } from '../../src/cloud/records.js'
import { put, remove } from '../../src/cloud/records.js'
import type { Peers } from '../../src/hypervisor/ports.js'
import { Takeover } from '../../src/hypervisor/takeover.js'
import { FakeClock } from '../support/fake-clock.js'
import { FakeLog } from '../support/fake-hypervisor.js'
import { noPeers } from '../support/no-peers.js'
import { PlainStore } from '../support/plain-store.js'

const replica = (id: string) => put('replicas', id, { schema: 1, id, url: `http://${id}.example:1`, incarnation: '1' })
const leads = (id: string, incarnation = '1') =>
  put('leader', '', { schema: 1, replica: id, incarnation, url: `http://${id}.example:1` })

/** Links as a test makes and cuts them; the others vote as it says. */
class TestPeers implements Peers {
  readonly forward = noPeers.forward
  readonly yield = noPeers.yield
  readonly lostForMs = noPeers.lostForMs
  readonly up = new Map<string, string>()
  readonly votes = new Map<string, boolean | Promise<boolean>>()
  readonly asked: { peer: string; leader: string; term: number }[] = []
  #listener: () => void = () => undefined

  linked(): readonly string[] {
    return [...this.up.keys()].sort()
  }

  hears({ replica, incarnation }: Pick<LeaderRecord, 'replica' | 'incarnation'>): boolean {
    return this.up.get(replica) === incarnation
  }

  onLinks(listener: () => void): () => void {
    this.#listener = listener
    return () => undefined
  }

  async agrees(peer: string, leader: LeaderRecord, term: number): Promise<boolean> {
    this.asked.push({ peer, leader: leader.replica, term })
    return this.votes.get(peer) ?? false
  }

  link(id: string, incarnation = '1'): void {
    this.up.set(id, incarnation)
    this.#listener()
  }

  cut(id: string): void {
    this.up.delete(id)
    this.#listener()
  }
}

/** h1, which looks at its leader h3; h2 is the third. */
function aTakeover({ linked = ['h2', 'h3'], replicas = ['h1', 'h2', 'h3'] } = {}) {
  const store = new PlainStore()
  const clock = new FakeClock()
  const peers = new TestPeers()
  const ended: number[] = []
  store.apply(replicas.map(replica))
  for (const id of linked) peers.link(id)
  const endTermOf = async (term: number): Promise<boolean> => {
    ended.push(term)
    if (store.map.get('leader')?.created === term) store.apply([remove('leader', '')])
    return true
  }
  const takeover = new Takeover({
    self: 'h1',
    maps: store,
    election: { endTermOf },
    peers,
    clock,
    log: new FakeLog(),
  })
  const term = store.apply([leads('h3')])
  const passes = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 10) {
      clock.advance(10)
      await new Promise(setImmediate)
    }
  }
  return { takeover, store, clock, peers, ended, term, passes }
}

describe('a leader out of sight', () => {
  it('loses its term when the other replica says the same', async () => {
    const { peers, ended, term, passes } = aTakeover()
    peers.votes.set('h2', true)
    peers.cut('h3')
    await passes(10)
    expect(peers.asked).toEqual([{ peer: 'h2', leader: 'h3', term }])
    expect(ended).toEqual([term])
  })

  it('keeps it while the other still sees it, which is asked again and again', async () => {
    const { peers, ended, passes } = aTakeover()
    peers.cut('h3')
    await passes(1_000)
    expect(ended).toEqual([])
    expect(peers.asked.length).toBeGreaterThan(5)
    peers.votes.set('h2', true)
    await passes(200)
    expect(ended).toHaveLength(1)
  })

  it('is asked after no more once it is back', async () => {
    const { peers, ended, passes } = aTakeover()
    peers.cut('h3')
    await passes(300)
    peers.link('h3')
    peers.votes.set('h2', true)
    const asked = peers.asked.length
    await passes(1_000)
    expect([ended, peers.asked.length]).toEqual([[], asked])
  })

  it('keeps its term when it comes back before the votes do', async () => {
    const { peers, ended, passes } = aTakeover()
    let vote!: (agrees: boolean) => void
    peers.votes.set('h2', new Promise(resolve => (vote = resolve)))
    peers.cut('h3')
    await passes(10)
    peers.link('h3')
    vote(true)
    await passes(100)
    expect(ended).toEqual([])
  })

  it('is another process than the one that came back under its name', async () => {
    const { peers, ended, term, passes } = aTakeover()
    peers.votes.set('h2', true)
    peers.cut('h3')
    peers.link('h3', '2')
    await passes(10)
    expect(ended).toEqual([term])
  })

  it('is given a second to come in sight', async () => {
    const { peers, ended, term, passes } = aTakeover({ linked: ['h2'] })
    peers.votes.set('h2', true)
    await passes(900)
    expect(ended).toEqual([])
    await passes(200)
    expect(ended).toEqual([term])
  })

  it('keeps its term where no majority can be asked', async () => {
    const { peers, ended, passes } = aTakeover({ linked: ['h3'] })
    peers.cut('h3')
    await passes(5_000)
    expect(ended).toEqual([])
  })

  it('is not ended by the other one of two, not even when its record is gone', async () => {
    const { peers, store, ended, passes } = aTakeover({ linked: ['h3'], replicas: ['h1', 'h3'] })
    peers.cut('h3')
    store.apply([remove('replicas', 'h3')])
    await passes(5_000)
    expect(ended).toEqual([])
  })

  it('needs three of five', async () => {
    const five = ['h1', 'h2', 'h3', 'h4', 'h5']
    const { peers, ended, passes } = aTakeover({ linked: five.slice(1), replicas: five })
    peers.votes.set('h2', true)
    peers.cut('h3')
    await passes(500)
    expect(ended).toEqual([])
    peers.votes.set('h5', true)
    await passes(200)
    expect(ended).toHaveLength(1)
  })

  it('is ended as soon as the majority has spoken, whoever is silent', async () => {
    const five = ['h1', 'h2', 'h3', 'h4', 'h5']
    const { peers, ended, passes } = aTakeover({ linked: five.slice(1), replicas: five })
    peers.votes
      .set('h2', new Promise(() => undefined))
      .set('h4', true)
      .set('h5', true)
    peers.cut('h3')
    await passes(10)
    expect(ended).toHaveLength(1)
  })

  it('is agreed upon for that term only, and by those who lost sight of it themselves', () => {
    const { takeover, peers, term } = aTakeover()
    const about = (of: number) => ({ replica: 'h3', incarnation: '1', term: of })
    expect(takeover.agrees(about(term))).toBe(false)
    peers.cut('h3')
    expect(takeover.agrees(about(term))).toBe(true)
    expect(takeover.agrees(about(term - 1))).toBe(false)
    expect(takeover.agrees(about(term + 1))).toBe(false)
  })

  it('is never this replica itself', async () => {
    const { takeover, peers, store, ended, passes } = aTakeover()
    store.apply([remove('leader', '')])
    const term = store.apply([leads('h1')])
    peers.votes.set('h2', true)
    await passes(2_000)
    expect(takeover.agrees({ replica: 'h1', incarnation: '1', term })).toBe(false)
    expect(ended).toEqual([])
  })

  it('is looked for no more once this replica stops', async () => {
    const { takeover, peers, ended, passes } = aTakeover()
    peers.votes.set('h2', true)
    takeover.close()
    peers.cut('h3')
    await passes(2_000)
    expect(ended).toEqual([])
  })
})

describe('a majority', () => {
  it.each<[boolean, string[], string[]]>([
    [true, ['h1'], []],
    [false, ['h1', 'h2'], []],
    [true, ['h1', 'h2'], ['h2']],
    [true, ['h1', 'h2', 'h4'], ['h2']],
    [false, ['h1', 'h2', 'h4'], ['h9']],
    [false, ['h1', 'h2', 'h4', 'h5'], ['h2']],
  ])('is heard: %s, of the replicas %j with links to %j', (heard, replicas, linked) => {
    const { takeover, store } = aTakeover({ linked, replicas })
    store.apply([remove('leader', '')])
    expect(takeover.hearsMajority()).toBe(heard)
  })
})
