/** What motherships report of their copies, on the twin and a clock that the test drives. */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { put } from '../../src/cloud/records.js'
import type { ObservedItem } from '../../src/hypervisor/ports.js'
import type { Op } from '../../src/store/etcd.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdObservations } from '../../src/store/observations.js'
import { ReplicaMap } from '../../src/store/replica-map.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { TwinClient } from '../../src/store/twin-client.js'
import { writeValue } from '../../src/store/values.js'
import { ManualClock } from '../support/manual-clock.js'
import { anInstance, session } from '../support/records.js'
import { chance, quiet } from '../support/stores.js'

const keys = new Keys('test')
const item = (instance: string, phase: ObservedItem['phase'], generation = 0): ObservedItem => ({
  instance,
  epoch: 1,
  generation,
  phase,
})

describe('reports of motherships', () => {
  let clock: ManualClock
  let twin: EtcdTwin
  let etcd: TwinClient
  let raw: TwinClient
  let map: ReplicaMap
  let observations: EtcdObservations
  let number: number

  const write = async (...changes: ReturnType<typeof put>[]): Promise<number> => {
    const success = changes.map(
      ({ kind, id, value }): Op =>
        value === null
          ? { delete: keys.record(kind, id) }
          : { put: keys.record(kind, id), value: writeValue(kind, value as never) },
    )
    return (await raw.txn({ compare: [], success }, 1_000)).revision
  }
  const start = async (): Promise<void> => {
    clock = new ManualClock()
    twin = new EtcdTwin(clock)
    etcd = twin.client()
    raw = twin.client()
    number = await write(session('mothership', 'm1'))
    await write(...['news.1', 'news.2', 'news.3'].map(id => put('instances', id, anInstance(id, ['m1']))))
    const ports = { etcd, keys, clock, chance, log: quiet, events: {} }
    map = new ReplicaMap(ports)
    await map.open()
    observations = new EtcdObservations({ ...ports, map: map.map })
  }
  beforeEach(start)

  const phaseOf = (instance: string) => map.map.get('observed', `m1/${instance}`)?.value.phase
  const report = async (...items: ObservedItem[]): Promise<void> => {
    observations.report('m1', number, items)
    await clock.advance(1_000)
  }

  it('are written with the session that they came by', async () => {
    await report(item('news.1', 'running'), item('news.2', 'starting'))
    expect([phaseOf('news.1'), phaseOf('news.2')]).toEqual(['running', 'starting'])
    expect(map.map.get('observed', 'm1/news.1')!.value).toMatchObject({ session: number, epoch: 1, generation: 0 })
  })

  it('are written once for what comes together, with the newest word', async () => {
    observations.report('m1', number, [item('news.1', 'starting')])
    observations.report('m1', number, [item('news.1', 'running')])
    const before = twin.revision
    await clock.advance(1_000)
    expect([phaseOf('news.1'), twin.revision]).toEqual(['running', before + 1])
  })

  it('are not written again when they say nothing new, and keep since when it is so', async () => {
    await report(item('news.1', 'running'))
    const { value } = map.map.get('observed', 'm1/news.1')!
    const before = twin.revision
    await report(item('news.1', 'running'))
    expect(twin.revision).toBe(before)
    await report(item('news.1', 'running', 1))
    expect(map.map.get('observed', 'm1/news.1')!.value).toEqual({ ...value, generation: 1 })
  })

  it('are dropped when the session is another one by now', async () => {
    await write(session('mothership', 'm1'))
    await report(item('news.1', 'running'))
    expect(phaseOf('news.1')).toBeUndefined()
  })

  it('are dropped when the instance is gone, so that none comes back to life', async () => {
    await write({ kind: 'instances', id: 'news.1', value: null })
    await report(item('news.1', 'running'), item('news.2', 'running'))
    expect([phaseOf('news.1'), phaseOf('news.2')]).toEqual([undefined, 'running'])
  })

  it('are written though the memory does not know the record that they replace', async () => {
    etcd.holdWatches()
    await report(item('news.1', 'starting'))
    await report(item('news.1', 'running'))
    etcd.releaseWatches()
    await clock.advance(1)
    expect(phaseOf('news.1')).toBe('running')
  })

  it('are written once etcd is back', async () => {
    etcd.cut('silent')
    observations.report('m1', number, [item('news.1', 'running')])
    await clock.advance(3_000)
    etcd.heal()
    await clock.advanceUntil('it is written', () => phaseOf('news.1') === 'running')
  })

  it('are written once etcd is back, however long that took', async () => {
    etcd.cut('silent')
    await report(item('news.1', 'running'))
    await clock.advance(300_000)
    etcd.heal()
    await clock.advanceUntil('it is written', () => phaseOf('news.1') === 'running')
  })

  it('are not taken for old news by a memory that is behind', async () => {
    await report(item('news.1', 'running'))
    etcd.holdWatches()
    await report(item('news.1', 'failed'))
    await report(item('news.1', 'running'))
    etcd.releaseWatches()
    await clock.advance(1)
    expect(phaseOf('news.1')).toBe('running')
  })

  it('do not replace a newer word on the same copy when their writing took longer', async () => {
    const release = etcd.holdNextTxn()
    observations.report('m1', number, [item('news.1', 'starting'), item('news.2', 'starting')])
    etcd.plan(new Promise(resolve => clock.after(100, () => resolve(undefined))))
    await clock.advance(50)
    observations.report('m1', number, [item('news.1', 'running')])
    await clock.advance(200)
    release()
    await clock.advance(5_000)
    expect(phaseOf('news.1')).toBe('running')
  })

  it('leave the newest word on each copy, whatever becomes of requests and replies', async () => {
    const fates = fc.array(fc.constantFrom('passes' as const, 'refused', 'request-lost', 'reply-lost'), {
      maxLength: 12,
    })
    const word = fc.record({
      instance: fc.constantFrom('news.1', 'news.2', 'news.3'),
      phase: fc.constantFrom('starting' as const, 'running', 'failed', 'stopping'),
      afterMs: fc.integer({ min: 0, max: 150 }),
      slow: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fates, fc.array(word, { minLength: 1, maxLength: 12 }), async (plan, words) => {
        await start()
        etcd.plan(...plan)
        const last = new Map<string, string>()
        for (const { instance, phase, afterMs, slow } of words) {
          if (slow) etcd.holdWatches()
          else etcd.releaseWatches()
          observations.report('m1', number, [item(instance, phase)])
          last.set(instance, phase)
          await clock.advance(afterMs)
        }
        etcd.releaseWatches()
        await clock.advance(20_000)
        expect([...last].map(([instance]) => [instance, phaseOf(instance)])).toEqual([...last])
        map.close()
      }),
      { numRuns: 300 },
    )
  })
})
