/** `environment.state` as components have it, over a primary that a test plays. */
import { describe, expect, it } from 'vitest'
import type { Configuration } from '../../../src/cloud/replication/configuration.js'
import { Copy } from '../../../src/cloud/replication/copy.js'
import { History } from '../../../src/cloud/replication/history.js'
import type { Ask, AskOutcome } from '../../../src/mothership/state/asks.js'
import { Asks, CodeState } from '../../../src/mothership/state/code.js'

const configuration: Configuration = {
  epoch: 1,
  primary: 'm1',
  inSync: ['m1'],
  learners: [],
  journals: { m1: 'j' },
  inSyncMin: 1,
}

/** A copy without backups; what is asked of it waits until `answer`, or is answered at once. */
class World {
  readonly copy: Copy
  readonly held: (() => void)[] = []
  holds = false
  asked = 0
  /** Of the reads. */
  readonly seqMins: (number | undefined)[] = []
  readonly state: CodeState
  readonly #asks: Asks

  constructor() {
    const recovered = { journal: 'j', epoch: 0, history: new History(), committed: 0 }
    this.copy = new Copy('m1', recovered, {
      send() {},
      write: (_, done) => done(),
      changed() {},
      soon: run => queueMicrotask(run),
    })
    this.copy.adopt(configuration, 0)
    this.#asks = new Asks(ask => this.#onAsk(ask))
    this.state = new CodeState(this.#asks)
  }

  answer(): void {
    this.holds = false
    for (const each of this.held.splice(0)) each()
  }

  #onAsk({ n, what }: Ask): void {
    this.asked++
    const tell = (outcome: AskOutcome): void => queueMicrotask(() => this.#asks.told({ k: 'told', n, outcome }))
    const run = (): void => {
      if (what.kind === 'read') this.seqMins.push(what.seqMin)
      if (what.kind === 'propose') this.copy.propose(what.base, what.body, 0, each => tell(each as AskOutcome))
      else {
        const { epoch, committed: seq, document } = this.copy
        tell({ kind: 'read', epoch, seq, document: structuredClone(document), staleForMs: what.staleMsMax ?? 7 })
      }
    }
    if (this.holds) this.held.push(run)
    else run()
  }
}

interface Counted {
  count?: number
  log?: string[]
}
const count = (draft: Counted): number => (draft.count = (draft.count ?? 0) + 1)

describe('environment.state', () => {
  it('changes the document, answers what the change returned, and reads it back', async () => {
    const world = new World()
    const { state } = world.state.forCall('shop.1')
    expect(await state.read()).toEqual({ document: {}, epoch: 1, seq: 0, staleForMs: 0 })
    expect(await state.update(count)).toBe(1)
    expect(await state.update(count)).toBe(2)
    expect(await state.read({ maxStaleMs: 50 })).toEqual({ document: { count: 2 }, epoch: 1, seq: 2, staleForMs: 50 })
    expect((await state.read({ maxStaleMs: Number.POSITIVE_INFINITY })).staleForMs).toBe(7)
  })

  it('makes a change once for each id, whoever asks again, and answers the same', async () => {
    const world = new World()
    const once = (): Promise<number> => world.state.forCall('shop.1').state.update(count, { id: 'order 1' })
    expect([await once(), await once(), await once()]).toEqual([1, 1, 1])
    expect(world.copy.document).toEqual({ count: 1 })
  })

  it('makes changes one after the other without waiting, and again where another one came first', async () => {
    const world = new World()
    const here = world.state.forCall('shop.1').state
    await here.update(count)
    world.holds = true
    const all = [1, 2, 3].map(() => here.update(count))
    await Promise.resolve()
    // Somebody else's, which these were not made on.
    world.copy.propose({ digest: '?', earliest: 0 }, JSON.stringify({ id: 'x', patches: [] }), 0, outcome => {
      if (outcome.kind !== 'conflict') throw new Error(outcome.kind)
      const body = JSON.stringify({ id: 'x', patches: [{ op: 'replace', path: ['count'], value: 10 }] })
      world.copy.propose({ digest: outcome.at.digest, earliest: 0 }, body, 0, () => undefined)
    })
    world.answer()
    expect(await Promise.all(all)).toEqual([11, 12, 13])
    expect(world.copy.document).toEqual({ count: 13 })
  })

  it('holds the answer of a call until all that it has changed is committed, and says how far that is', async () => {
    const world = new World()
    const call = world.state.forCall('shop.1')
    world.holds = true
    void call.state.update(count)
    let settled = false
    const seen = call.settled().then(each => {
      settled = true
      return each
    })
    await new Promise(resolve => setImmediate(resolve))
    expect(settled).toBe(false)
    world.answer()
    expect(await seen).toEqual({ epoch: 1, seq: 1 })
    expect(await world.state.forCall('shop.1').settled()).toBeUndefined()
  })

  it('is never read without what the call has changed, or what was shown before it', async () => {
    const world = new World()
    const first = world.state.forCall('shop.1').state
    await first.read({ maxStaleMs: 50 })
    await first.update(count)
    await first.read({ maxStaleMs: 50 })
    await world.state.forCall('shop.1', 7).state.read({ maxStaleMs: 50 })
    expect(world.seqMins).toEqual([0, 1, 7])
  })

  it('fails a call that did not wait for a change which failed', async () => {
    const call = new World().state.forCall('shop.1')
    void call.state.update((draft: Counted) => {
      draft.log = ['x'.repeat(2_000_000)]
    })
    await expect(call.settled()).rejects.toThrow(/a change may have 524288 bytes/)
  })

  it('says what is wrong with a change, and leaves the document as it was', async () => {
    const world = new World()
    const { state } = world.state.forCall('shop.1')
    await expect(state.update(undefined as never)).rejects.toThrow('a change is a function')
    await expect(state.update(count, { id: '' })).rejects.toThrow('1 to 128 characters')
    await expect(state.read({ maxStaleMs: -1 })).rejects.toThrow('0 or more')
    await expect(state.update(count)).resolves.toBe(1)
    const later = state.update((async () => undefined) as never)
    await expect(later).rejects.toThrow('may not be a promise')
    const broken = state.update((draft: Counted) => {
      draft.count = 5
      throw new Error('no')
    })
    await expect(broken).rejects.toThrow('no')
    await expect(state.update((draft: Counted) => void (draft.log = 7n as never))).rejects.toThrow('state is JSON')
    expect(world.copy.document).toEqual({ count: 1 })
  })

  it('of an instance is its own', async () => {
    const world = new World()
    await world.state.forCall('shop.1').state.update(count)
    const more = Array.from({ length: 300 }, (_, n) => world.state.forCall(`shop.${n + 2}`))
    expect(more.length).toBe(300)
    // Forgotten by then, and learned again.
    expect(await world.state.forCall('shop.1').state.update(count)).toBe(2)
  })
})
