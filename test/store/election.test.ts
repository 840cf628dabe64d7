/** Who leads, on the twin and a clock that the test drives. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Standing, Term } from '../../src/hypervisor/ports.js'
import type { StoreEvents } from '../../src/store/events.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { writeValue } from '../../src/store/values.js'
import { ManualClock } from '../support/manual-clock.js'
import { aBatch, aStore, auditOf, type TestStore } from '../support/stores.js'

const key = new Keys('test').record('leader', '')
const leaseMs = 2_000

interface Candidate {
  readonly etcd: TwinClient
  readonly store: TestStore
}

describe('an election', () => {
  let clock: ManualClock
  let twin: EtcdTwin
  let raw: TwinClient
  let candidates: Candidate[]

  const start = (): void => {
    clock = new ManualClock()
    twin = new EtcdTwin(clock)
    raw = twin.client()
    candidates = []
  }
  const stop = async (): Promise<void> => {
    for (const { etcd } of candidates) etcd.heal()
    await clock.during(Promise.all(candidates.map(each => each.store.close())))
  }
  beforeEach(start)
  afterEach(stop)

  async function join(
    id: string,
    more: { events?: StoreEvents; incarnation?: string; standing?: Partial<Standing> } = {},
  ): Promise<Candidate> {
    const etcd = twin.client()
    const candidate = { etcd, store: await clock.during(aStore(id, etcd, { clock, ...more })) }
    candidates.push(candidate)
    return candidate
  }
  const leads = ({ store }: Candidate) =>
    clock.advanceUntil('it leads', () => store.term() !== undefined).then(() => store.term()!)
  const holder = async (): Promise<string | undefined> => {
    const { items } = await raw.range({ key }, 1_000)
    return items[0] && JSON.parse(Buffer.from(items[0].value).toString()).replica
  }
  const leader = { schema: 1, replica: 'h9', incarnation: '1', url: 'http://h9.example:1' } as const
  const takeKey = () => raw.txn({ compare: [], success: [{ put: key, value: writeValue('leader', leader) }] }, 1_000)
  const freeKey = () => raw.txn({ compare: [], success: [{ delete: key }] }, 1_000)

  it('is won by one, whom all know', async () => {
    const [one, two] = [await join('h1'), await join('h2')]
    await leads(one)
    await clock.advance(10_000)
    expect(two.store.term()).toBeUndefined()
    expect(two.store.election.leader()?.replica).toBe('h1')
    expect(one.store.term()?.valid()).toBe(true)
  })

  it('goes to another when the leader is cut off, whose term has ended before', async () => {
    const [one, two] = [await join('h1'), await join('h2')]
    const term = await leads(one)
    const validWhenGone: boolean[] = []
    two.store.maps.onChange(changes => {
      if (changes.some(each => each.kind === 'leader' && each.value === null)) validWhenGone.push(term.valid())
    })
    one.etcd.cut('silent')
    await leads(two)
    expect(validWhenGone).toEqual([false])
    expect((await leads(two)).token).toBeGreaterThan(term.token)
  })

  it('goes to another at once when the leader resigns, not when its lease ends', async () => {
    const [one, two] = [await join('h1'), await join('h2')]
    const term = await leads(one)
    await clock.during(one.store.election.resign())
    expect(await term.ended).toBe('resigned')
    expect(await clock.advanceUntil('h2 leads', () => two.store.term() !== undefined)).toBeLessThan(leaseMs / 2)
  })

  it('goes to another when peers end the term, by its token only', async () => {
    const [one, two] = [await join('h1'), await join('h2')]
    const term = await leads(one)
    expect(await two.store.election.endTermOf(term.token - 1)).toBe(false)
    expect(one.store.term()).toBe(term)
    expect(await two.store.election.endTermOf(term.token)).toBe(true)
    await leads(two)
    expect([term.valid(), one.store.term()]).toEqual([false, undefined])
  })

  it('goes to another when the queue of the leader makes no progress', async () => {
    const [one, two] = [await join('h1'), await join('h2')]
    const term = await leads(one)
    one.store.stall()
    await leads(two)
    expect(term.valid()).toBe(false)
  })

  it('is given up by who hears nothing of etcd for a second, who asks others to end the term', async () => {
    const asked: number[] = []
    const one = await join('h1', { standing: { onCutOff: token => void asked.push(token) } })
    const term = await leads(one)
    await clock.advance(5_000)
    expect(asked).toEqual([])
    one.etcd.cut('silent')
    await clock.advance(1_100)
    expect([asked, term.valid(), await term.ended]).toEqual([[term.token], false, 'etcd does not answer'])
    expect(await holder()).toBe('h1')
  })

  it('is kept by who is not answered once, and then is', async () => {
    const one = await join('h1')
    const term = await leads(one)
    for (let outage = 0; outage < 5; outage++) {
      one.etcd.cut('silent')
      await clock.advance(600)
      one.etcd.heal()
      await clock.advance(1_000)
    }
    expect([term.valid(), one.store.term()]).toEqual([true, term])
  })

  it('is left to others for a second by who hears no majority', async () => {
    let heard = false
    const [one, two] = [await join('h1', { standing: { hearsMajority: () => heard } }), await join('h2')]
    await leads(two)
    await clock.advance(2_000)
    await clock.during(two.store.election.resign())
    await clock.advance(500)
    expect(one.store.term()).toBeUndefined()
    heard = true
    expect(await clock.advanceUntil('it leads', () => one.store.term() !== undefined)).toBeLessThan(200)
  })

  it('is stood for in the end by who hears no majority for good', async () => {
    const one = await join('h1', { standing: { hearsMajority: () => false } })
    expect(await clock.advanceUntil('it leads', () => one.store.term() !== undefined)).toBeGreaterThan(900)
  })

  it('is over for the earlier life of a replica as soon as that is back', async () => {
    const one = await join('h1')
    const term = await leads(one)
    one.etcd.cut('silent')
    const again = await join('h1', { incarnation: '2' })
    expect(await clock.advanceUntil('it leads', () => again.store.term() !== undefined)).toBeLessThan(leaseMs / 2)
    expect(again.store.term()!.token).toBeGreaterThan(term.token)
  })

  it('is over for a term that ended while etcd was away, as soon as that is back', async () => {
    const own = { ...leader, replica: 'h1' }
    await raw.txn({ compare: [], success: [{ put: key, value: writeValue('leader', own) }] }, 1_000)
    const one = await join('h1')
    await leads(one)
    expect(await holder()).toBe('h1')
  })

  it('is not won with a lease that ran out on the way', async () => {
    await takeKey()
    const one = await join('h1')
    const release = one.etcd.holdNextTxn()
    one.etcd.plan(...Array.from({ length: 10 }, () => 'refused' as const))
    await freeKey()
    await clock.advance(1_500)
    release()
    await clock.advance(1)
    expect([await holder(), one.store.term()]).toEqual([undefined, undefined])
    await leads(one)
    expect(await holder()).toBe('h1')
  })

  it('is stood for again when it is not known whether it was won', async () => {
    await takeKey()
    const won: string[] = []
    const one = await join('h1', { events: { onTerm: event => void won.push(event) } })
    one.etcd.loseNextReply()
    await freeKey()
    const term = await leads(one)
    expect((await raw.range({ key }, 1_000)).items[0]!.created).toBe(term.token)
    expect(won).toEqual(['won'])
  })

  it('stays won when word comes late of what was before', async () => {
    await takeKey()
    const told: string[] = []
    const one = await join('h1', { events: { onTerm: (event, reason) => void told.push(`${event} ${reason}`) } })
    const release = one.etcd.holdNextTxn()
    await freeKey()
    one.etcd.holdWatches()
    await takeKey()
    await freeKey()
    release()
    await clock.advance(200)
    expect(await holder()).toBe('h1')
    one.etcd.releaseWatches()
    await leads(one)
    await clock.advance(10_000)
    expect(told).toEqual(['won '])
  })

  it('is not won by one who resigned while its transaction was on its way', async () => {
    await takeKey()
    const won: string[] = []
    const one = await join('h1', { events: { onTerm: event => void won.push(event) } })
    const release = one.etcd.holdNextTxn()
    await freeKey()
    await clock.advance(100)
    const resigned = one.store.election.resign()
    release()
    await clock.during(resigned, leaseMs * 2)
    expect([await holder(), won]).toEqual([undefined, []])
  })

  it('is not begun by one who resigned before its memory knew of its win', async () => {
    await takeKey()
    const won: string[] = []
    const one = await join('h1', { events: { onTerm: event => void won.push(event) } })
    await freeKey()
    one.etcd.holdWatches()
    await clock.advance(100)
    expect(await holder()).toBe('h1')
    const resigned = one.store.election.resign()
    one.etcd.releaseWatches()
    await clock.during(resigned, leaseMs * 2)
    expect([await holder(), won]).toEqual([undefined, []])
  })

  it('never has two who believe to lead, and always one in the end', async () => {
    const fault = fc.record({
      who: fc.integer({ min: 0, max: 2 }),
      what: fc.constantFrom('cut', 'silence', 'heal', 'slow', 'lose', 'delay', 'stall'),
      forMs: fc.integer({ min: 0, max: 3_000 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 12 }), async faults => {
        start()
        for (const id of ['h1', 'h2', 'h3']) await join(id)
        const terms = new Set<Term>()
        const committed: string[] = []
        let number = 0
        // Whoever leads or ever led: a leader that does not know its end may go on for a while.
        const write = (term: Term): void => {
          const id = `m${++number}`
          void term.commit(aBatch(id)).then(result => result.kind === 'committed' && committed.push(id))
        }
        for (const { who, what, forMs } of faults) {
          inflict(candidates[who]!, what)
          for (let ms = 0; ms < forMs; ms += 50) {
            await clock.advance(50)
            const leading = candidates.flatMap(each => each.store.term() ?? []).filter(term => term.valid())
            expect(leading.length).toBeLessThanOrEqual(1)
            for (const term of candidates.flatMap(each => each.store.term() ?? [])) terms.add(term)
            for (const term of terms) write(term)
          }
        }
        for (const { etcd, store } of candidates) {
          etcd.heal()
          etcd.releaseWatches()
          store.stall(false)
        }
        await clock.advanceUntil('one leads', () => candidates.some(each => each.store.term()?.valid()))
        await stop()
        const audit = await auditOf(raw)
        const tokens = audit.map(each => each.token)
        expect(tokens).toEqual([...tokens].sort((a, b) => a - b))
        const written = audit.map(each => each.entries[0]!.subjects[0]!)
        expect(new Set(written).size).toBe(written.length)
        expect(written).toEqual(expect.arrayContaining(committed))
        expect(await holder()).toBeUndefined()
        candidates = []
      }),
      { numRuns: 40 },
    )
  })

  function inflict({ etcd, store }: Candidate, what: string): void {
    if (what === 'cut') etcd.cut()
    else if (what === 'silence') etcd.cut('silent')
    else if (what === 'heal') etcd.heal()
    else if (what === 'slow') etcd.holdWatches()
    else if (what === 'lose') etcd.loseNextReply()
    else if (what === 'delay') etcd.plan(new Promise(resolve => clock.after(3_000, () => resolve(undefined))))
    else store.stall()
  }
})
