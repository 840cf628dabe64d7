import { describe, expect, it } from 'vitest'
import type { Command, Envelope } from '../../src/cloud/commands.js'
import type { Context } from '../../src/cloud/decide/verdict.js'
import { noPlan } from '../../src/cloud/placement/plan.js'
import { put, remove } from '../../src/cloud/records.js'
import { LeaderQueue } from '../../src/hypervisor/queue.js'
import { PlainStore, testClock } from '../support/plain-store.js'
import { aComponent, anInstance, motherships } from '../support/records.js'

const placeOn =
  (mothership: string): Context['place'] =>
  () => ({
    kind: 'placed',
    on: [mothership],
    decision: { decisionRevision: 1, at: '2026-01-01T00:00:00.000Z', candidates: [], refusedByRule: {} },
  })

function queueOver(store: PlainStore, place: Context['place'] = placeOn('m1')): LeaderQueue {
  const queue = new LeaderQueue(store, { maps: store, requests: store, clock: testClock, place, plan: () => noPlan })
  void queue.run()
  return queue
}

let number = 0
const ask = (command: Command, more: Partial<Envelope> = {}): Envelope => ({
  requestId: `${String(++number).padStart(4, '0')}request`,
  fresh: true,
  actor: { role: 'operator', subject: 'ann' },
  command,
  ...more,
})

const registerM = (id: string, address = `ws://${id}.example:1`): Command => ({
  op: 'register-mothership',
  body: { id, address, capacity: { cpu: 1, ram: 1, bandwidth: 1 } },
})

const instantiate = (count: number): Command => ({
  op: 'instantiate',
  body: { component: 'news', version: '1.0', wish: {}, count, bulk: true },
})

function withComponent(): PlainStore {
  const store = new PlainStore()
  store.apply([put('components', 'news/1.0.0', aComponent('news')), ...motherships('m1', 'm2')])
  return store
}

describe('the leader queue', () => {
  it('writes a command, its answer and its audit in one transaction', async () => {
    const store = new PlainStore()
    const answer = await queueOver(store).accept(ask(registerM('m1')))

    expect(answer).toMatchObject({ outcome: 'created', kind: 'motherships', ids: ['m1'] })
    expect(store.batches).toHaveLength(1)
    expect(store.batches[0]!.requests[0]).toMatchObject({ done: true, answer: { ids: ['m1'] } })
    expect(store.batches[0]!.audit[0]).toMatchObject({ actor: 'ann', op: 'register-mothership', subjects: ['m1'] })
    expect(answer.order.revision).toBe(store.map.get('motherships', 'm1')!.modified)
  })

  it('gathers what comes while a transaction is in flight into the next one', async () => {
    const store = new PlainStore()
    let release!: () => void
    const held = new Promise<undefined>(resolve => (release = () => resolve(undefined)))
    store.verdict = batch => (batch.requests.length === 1 ? held : undefined)
    const queue = queueOver(store)
    const first = queue.accept(ask(registerM('m0')))
    await Promise.resolve()
    const later = Array.from({ length: 50 }, (_, i) => queue.accept(ask(registerM(`m${i + 1}`))))
    release()
    await Promise.all([first, ...later])

    expect(store.batches.map(batch => batch.requests.length)).toEqual([1, 50])
  })

  it('waits for those it has just answered, so that a crowd does not fall into halves that wait for each other', async () => {
    const store = new PlainStore()
    store.verdict = () => new Promise(resolve => testClock.after(20, () => resolve(undefined)))
    const queue = queueOver(store)
    const caller = async (name: number): Promise<void> => {
      for (let time = 0; time < 5; time++) await queue.accept(ask(registerM(`m${name}-${time}`)))
    }
    const half = Array.from({ length: 10 }, (_, name) => caller(name))
    await new Promise(resolve => testClock.after(1, () => resolve(undefined)))
    await Promise.all([...half, ...Array.from({ length: 10 }, (_, name) => caller(10 + name))])

    expect(store.batches.map(batch => batch.changes.length)).toEqual([10, 20, 20, 20, 20, 10])
  })

  it('lets decisions of one batch see each other', async () => {
    const store = new PlainStore()
    const queue = queueOver(store)
    const results = await Promise.allSettled([
      queue.accept(ask(registerM('m1', 'ws://a:1'))),
      queue.accept(ask(registerM('m1', 'ws://b:1'))),
    ])

    expect(results[0]!.status).toBe('fulfilled')
    expect(results[1]).toMatchObject({ status: 'rejected', reason: { code: 'conflict' } })
    expect(store.map.get('motherships', 'm1')!.value.address).toBe('ws://a:1')
  })

  it('refuses a change of what was read before, when another one of the same batch has changed it', async () => {
    const store = new PlainStore()
    const queue = queueOver(store)
    await queue.accept(ask(registerM('m1')))
    const ifRevision = store.map.get('motherships', 'm1')!.modified
    const relabel = (value: string, more: object): Command => ({
      op: 'update-mothership',
      body: { id: 'm1', change: { labels: { value } }, ...more },
    })
    const results = await Promise.allSettled([
      queue.accept(ask(relabel('one', {}))),
      queue.accept(ask(relabel('two', { ifRevision }))),
    ])

    expect(store.batches).toHaveLength(2)
    expect(results[1]).toMatchObject({ status: 'rejected', reason: { code: 'conflict' } })
    expect(store.map.get('motherships', 'm1')!.value.labels).toEqual({ value: 'one' })
  })

  it('answers the same request once, whether it waits, was answered, or was answered by an earlier leader', async () => {
    const store = new PlainStore()
    const queue = queueOver(store)
    const envelope = ask(registerM('m1'))
    const [one, two] = await Promise.all([queue.accept(envelope), queue.accept(envelope)])
    const three = await queue.accept({ ...envelope, fresh: false })
    const four = await queueOver(store).accept({ ...envelope, fresh: false })

    expect(one).toEqual(two)
    expect(three).toMatchObject({ outcome: 'created', ids: ['m1'], replayed: true })
    expect(four).toMatchObject({ outcome: 'created', ids: ['m1'], replayed: true })
    expect(store.batches).toHaveLength(1)
  })

  it('keeps the answers to calls without a key in one value, which is no operation of a batch', async () => {
    const store = withComponent()
    const envelope = { ...ask(instantiate(300)), since: 0 }
    const answer = await queueOver(store).accept(envelope)

    expect(store.batches.map(batch => batch.changes.length)).toEqual([124, 124, 52])
    expect(store.batches.map(({ requests, answers }) => [requests.length, answers!.map(each => each.done)])).toEqual([
      [0, [false]],
      [0, [false]],
      [0, [true]],
    ])
    const again = await queueOver(store).accept({ ...envelope, fresh: false })
    expect(again).toMatchObject({ ids: answer.ids, replayed: true })
  })

  it('writes in each record that it places the turn whose decisions tell why', async () => {
    const store = withComponent()
    store.apply([put('turn', '', { schema: 1, token: 1, number: 41, auditHead: '' })])
    const { ids } = await queueOver(store).accept(ask(instantiate(2)))

    expect(ids.map(id => store.map.get('instances', id)!.value.decidedIn)).toEqual([42, 42])
    expect(store.batches[0]!.decisions!.map(each => each.instance)).toEqual(ids)
  })

  it('refuses a request id that was used for another request', async () => {
    const store = new PlainStore()
    const queue = queueOver(store)
    const envelope = ask(registerM('m1'))
    await queue.accept(envelope)

    await expect(queue.accept({ ...envelope, command: registerM('m2') })).rejects.toMatchObject({ code: 'conflict' })
    await expect(
      queueOver(store).accept({ ...envelope, fresh: false, command: registerM('m2') }),
    ).rejects.toMatchObject({ code: 'conflict' })
  })

  it('splits a bulk call over several transactions that each say how far it is', async () => {
    const store = withComponent()
    const answer = await queueOver(store).accept(ask(instantiate(300)))

    expect(answer.ids).toHaveLength(300)
    expect(store.map.count('instances')).toBe(300)
    expect(store.batches.map(batch => batch.changes.length)).toEqual([123, 123, 54])
    expect(store.batches.map(batch => batch.requests[0]!.done)).toEqual([false, false, true])
    expect(store.batches[1]!.requests[0]!.answer.ids).toHaveLength(246)
  })

  it('goes on with a bulk call that an earlier leader left, and places nothing twice', async () => {
    const store = withComponent()
    store.verdict = () => (store.batches.length === 1 ? { kind: 'superseded' } : undefined)
    const envelope = ask(instantiate(200))
    await expect(queueOver(store).accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })
    expect(store.map.count('instances')).toBe(123)
    store.apply([{ kind: 'instances', id: [...store.map.all('instances')][0]![0], value: null }])

    store.verdict = () => undefined
    const answer = await queueOver(store).accept({ ...envelope, fresh: false })

    expect(answer.ids).toHaveLength(200)
    expect(new Set(answer.ids).size).toBe(200)
    expect(store.map.count('instances')).toBe(199) // the one that was stopped meanwhile stays stopped
  })

  it('goes on with the version that a fragment meant when the call came, whatever was deployed since', async () => {
    const store = withComponent()
    store.verdict = () => (store.batches.length === 1 ? { kind: 'superseded' } : undefined)
    const command: Command = { ...instantiate(200), body: { ...instantiate(200).body, version: '1' } } as Command
    const envelope = ask(command)
    await expect(queueOver(store).accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })
    store.apply([put('components', 'news/1.1.0', aComponent('news', '1.1'))])

    store.verdict = () => undefined
    await queueOver(store).accept({ ...envelope, fresh: false })
    expect([...store.map.all('instances')].map(([, { value }]) => value.version)).toEqual(Array(200).fill('1.0.0'))
  })

  it('gives the answer again under the same key when the command had changed nothing, and would now', async () => {
    const store = new PlainStore()
    await queueOver(store).accept(ask(registerM('m1')))
    const again = ask(registerM('m1'))
    expect(await queueOver(store).accept(again)).toMatchObject({ outcome: 'unchanged' })
    expect(store.batches.map(({ changes, audit }) => [changes.length, audit.length])).toEqual([
      [1, 1],
      [0, 0],
    ])
    store.apply([{ kind: 'motherships', id: 'm1', value: null }])
    expect(await queueOver(store).accept({ ...again, fresh: false })).toMatchObject({
      outcome: 'unchanged',
      replayed: true,
    })
    expect(store.map.get('motherships', 'm1')).toBeUndefined()
  })

  it('writes nothing for nodes that say what is known', async () => {
    const store = new PlainStore()
    const actor = { role: 'node', subject: 'mothership/m1', node: { kind: 'mothership', id: 'm1' } } as const
    const { body } = registerM('m1') as Extract<Command, { op: 'register-mothership' }>
    const announce: Command = { op: 'announce-mothership', body: { ...body, id: 'm1', labels: {} } }
    const queue = queueOver(store)
    await queue.accept(ask(announce, { actor }))
    expect(await queue.accept(ask(announce, { actor }))).toMatchObject({ outcome: 'unchanged' })
    expect(store.batches).toHaveLength(1)
  })

  it('does not call a command refused when it cannot be known whether it was written', async () => {
    const store = new PlainStore()
    store.verdict = () => ({ kind: 'unknown' })
    const queue = queueOver(store)
    const results = await Promise.allSettled([queue.accept(ask(registerM('m1'))), queue.accept(ask(registerM('m2')))])
    expect(results.map(each => each.status === 'rejected' && each.reason.code)).toEqual(['timeout', 'timeout'])
    await expect(queue.accept(ask(registerM('m3')))).rejects.toMatchObject({ code: 'no-leader' })
  })

  it('tells every caller when the term is over, refused ones too', async () => {
    const store = new PlainStore()
    store.verdict = () => ({ kind: 'superseded' })
    const queue = queueOver(store)
    const results = await Promise.allSettled([
      queue.accept(ask(registerM('m1', 'ws://a:1'))),
      queue.accept(ask(registerM('m1', 'ws://b:1'))),
    ])

    expect(results.map(each => each.status === 'rejected' && each.reason.code)).toEqual(['no-leader', 'no-leader'])
    await expect(queue.accept(ask(registerM('m2')))).rejects.toMatchObject({ code: 'no-leader' })
  })

  it('plans nothing once the lease may have run out', async () => {
    const store = new PlainStore()
    store.end('the lease ran out')
    const queue = queueOver(store)

    await expect(queue.accept(ask(registerM('m1')))).rejects.toMatchObject({ code: 'no-leader' })
    expect(store.batches).toHaveLength(0)
  })

  it('tells no refusal once others have ended its term, though its lease still runs', async () => {
    const store = withComponent()
    const queue = queueOver(store)
    const stop = ask({ op: 'stop-instance', body: { instance: 'news.nothere' } })
    await expect(queue.accept(stop)).rejects.toMatchObject({ code: 'unknown-thing' })
    store.holds = () => Promise.resolve(false)
    const again = ask({ op: 'stop-instance', body: { instance: 'news.nothere' } })
    await expect(queue.accept(again)).rejects.toMatchObject({ code: 'no-leader' })
  })

  it('refuses a deploy alone when its chunks are gone, and goes on', async () => {
    const store = new PlainStore()
    store.verdict = batch => (batch.needsBlobs ? { kind: 'missing-blobs', digests: [] } : undefined)
    const queue = queueOver(store)
    const { schema: _s, active: _a, activation: _b, deployedAt: _c, deployedBy: _d, ...component } = aComponent('news')
    const deploy = ask({ op: 'deploy', body: { component, activate: true } })
    const results = await Promise.allSettled([queue.accept(deploy), queue.accept(ask(registerM('m1')))])

    expect(results[0]).toMatchObject({ status: 'rejected', reason: { code: 'chunks-gone' } })
    expect(results[1]!.status).toBe('fulfilled')
    expect(store.map.get('components', 'news/1.0.0')).toBeUndefined()
  })

  for (const op of ['instantiate', 'refresh-version'] as const) {
    it(`says what was done of ${op} when the version is gone before the next leader takes it up`, async () => {
      const store = withComponent()
      const ids = Array.from({ length: 300 }, (_, i) => `news.${i}`)
      if (op !== 'instantiate') store.apply(ids.map(id => put('instances', id, anInstance(id, ['m1']))))
      store.verdict = () => (store.batches.length === 1 ? { kind: 'superseded' } : undefined)
      const body = { component: 'news', version: '1.0' }
      const envelope = ask(op === 'instantiate' ? instantiate(200) : { op, body })
      await expect(queueOver(store).accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })
      const begun = store.batches[0]!.requests[0]!
      store.apply([remove('components', 'news/1.0.0')])
      store.verdict = () => undefined

      const answer = await queueOver(store).accept({ ...envelope, fresh: false })
      expect(begun.progress).toBeGreaterThan(0)
      if (op === 'instantiate')
        expect([answer.ids, answer.refused!.length]).toEqual([begun.answer.ids, 200 - begun.progress])
      else expect(answer.touched).toBeGreaterThanOrEqual(begun.progress)
      expect(store.batches.at(-1)!.requests[0]).toMatchObject({ done: true })
    })
  }

  it('goes on with a bulk call whose version was made inactive since: it began before', async () => {
    const store = withComponent()
    store.verdict = () => (store.batches.length === 1 ? { kind: 'superseded' } : undefined)
    const envelope = ask(instantiate(200))
    await expect(queueOver(store).accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })
    store.apply([put('components', 'news/1.0.0', aComponent('news', '1.0', { active: false }))])

    store.verdict = () => undefined
    expect((await queueOver(store).accept({ ...envelope, fresh: false })).ids).toHaveLength(200)
  })

  it('ends a bulk call that an earlier leader left, also when there is nothing more to write', async () => {
    const store = withComponent()
    store.verdict = () => (store.batches.length === 1 ? { kind: 'superseded' } : undefined)
    const envelope = ask(instantiate(200))
    await expect(queueOver(store).accept(envelope)).rejects.toMatchObject({ code: 'no-leader' })

    store.verdict = () => undefined
    const nowhere = queueOver(store, () => ({ kind: 'nowhere', reasons: [] }))
    const first = await nowhere.accept({ ...envelope, fresh: false })
    expect([first.ids.length, first.refused?.length]).toEqual([123, 77])

    const second = await queueOver(store).accept({ ...envelope, fresh: false })
    expect(second).toMatchObject({ ids: first.ids, refused: first.refused, replayed: true })
    expect(store.map.count('instances')).toBe(123)
  })

  it('counts each instance once for a refresh of all, however many leaders it takes', async () => {
    const store = withComponent()
    const instances = Array.from({ length: 500 }, (_, i) => anInstance(`news.${i}`, ['m1']))
    store.apply(instances.map(each => put('instances', each.id, each)))
    const envelope = ask({ op: 'refresh-version', body: { component: 'news', version: '1.0' } })
    let written = 0
    store.verdict = () => (store.batches.length > written ? { kind: 'superseded' } : undefined)
    for (let leader = 0; leader < 3; leader++, written++) {
      const asked = queueOver(store).accept({ ...envelope, fresh: leader === 0 })
      await expect(asked).rejects.toMatchObject({ code: 'no-leader' })
    }
    store.verdict = () => undefined

    expect(await queueOver(store).accept({ ...envelope, fresh: false })).toMatchObject({ touched: 500 })
    const refreshed = [...store.map.all('instances')].filter(([, { value }]) => value.generation === 1).length
    expect([store.map.count('instances'), refreshed]).toEqual([500, 500])
  })
})
