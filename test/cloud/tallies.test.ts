/** What is kept equals what is counted, however instances and the words on them come and go. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Draft } from '../../src/cloud/draft.js'
import { type Applied, type CloudMap, copiesOf, fateOf, MemoryMap, phaseOf } from '../../src/cloud/map.js'
import { type Change, phases, put, remove } from '../../src/cloud/records.js'
import { anInstance } from '../support/records.js'

const hosts = ['m1', 'm2', 'm3'] as const
const versions = ['1.0.0', '2.0.0'] as const
const ids = ['x.1', 'x.2', 'x.3'] as const

const anyChange: fc.Arbitrary<Change> = fc.oneof(
  fc
    .record({
      id: fc.constantFrom(...ids),
      version: fc.constantFrom(...versions),
      on: fc.uniqueArray(fc.constantFrom(...hosts), { minLength: 1 }),
      learners: fc.nat(2),
      cpu: fc.nat(5),
    })
    .map(({ id, version, on, learners, cpu }) => {
      const [inSync, rest] = [
        on.slice(0, Math.max(1, on.length - learners)),
        on.slice(Math.max(1, on.length - learners)),
      ]
      const need = { cpu: cpu / 10, ram: cpu, bandwidth: 0 }
      return put('instances', id, anInstance(id, inSync, { component: 'x', version, learners: rest, need }))
    }),
  fc.constantFrom(...ids).map(id => remove('instances', id)),
  fc
    .record({ host: fc.constantFrom(...hosts), id: fc.constantFrom(...ids), phase: fc.constantFrom(...phases) })
    .map(({ host, id, phase }) =>
      put('observed', `${host}/${id}`, {
        schema: 1,
        session: 1,
        epoch: 1,
        generation: 0,
        phase,
        since: '2026-01-01T00:00:00.000Z',
      }),
    ),
  fc
    .record({ host: fc.constantFrom(...hosts), id: fc.constantFrom(...ids) })
    .map(({ host, id }) => remove('observed', `${host}/${id}`)),
  fc
    .constantFrom(...ids)
    .map(id => put('stops', id, { schema: 1, stage: 'unwire', since: '2026-01-01T00:00:00.000Z' })),
  fc.constantFrom(...ids).map(id => remove('stops', id)),
  fc
    .record({ id: fc.constantFrom(...ids), from: fc.constantFrom(...hosts), over: fc.boolean() })
    .map(({ id, from, over }) => {
      const at = '2026-01-01T00:00:00.000Z'
      const used = { cpu: 0, ram: 0, bandwidth: 0 }
      return put('moves', id, { schema: 1, from, to: 'm1', at, until: at, used, ...(over ? { over } : {}) })
    }),
)

function compare(map: CloudMap): void {
  const all = [...map.all('instances')].map(([, { value }]) => value)
  for (const version of versions) {
    const mine = all.filter(each => each.version === version)
    const copies = mine.flatMap(copiesOf)
    const byPhase: Record<string, number> = {}
    for (const each of mine) byPhase[phaseOf(map, each)] = (byPhase[phaseOf(map, each)] ?? 0) + 1
    const tally = map.tallyOf(`x/${version}`)
    expect(tally).toMatchObject({ total: mine.length, motherships: [...new Set(copies)].sort() })
    expect(tally.byPhase).toEqual(byPhase)
    for (const host of hosts) expect(tally.copies.get(host) ?? 0).toBe(copies.filter(each => each === host).length)
    for (const fate of ['serving', 'leaving', 'stopping'] as const) {
      const of = (host: string): number =>
        mine.filter(each => copiesOf(each).includes(host) && fateOf(map, each, host) === fate).length
      for (const host of hosts) expect([fate, host, tally[fate].get(host) ?? 0]).toEqual([fate, host, of(host)])
    }
  }
  for (const host of hosts) {
    const mine = all.filter(each => copiesOf(each).includes(host))
    const { instances, reserved } = map.heldOn(host)
    expect([instances, [...map.instancesOn(host)].sort()]).toEqual([mine.length, mine.map(each => each.id).sort()])
    for (const name of ['cpu', 'ram'] as const) {
      expect(reserved[name]).toBeCloseTo(
        mine.reduce((sum, { need }) => sum + need[name], 0),
        5,
      )
    }
  }
}

it('tallies equal counting, in memory and in a draft over it', () => {
  fc.assert(
    fc.property(fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 12 }), batches => {
      const map = new MemoryMap()
      batches.forEach((batch, revision) => {
        const draft = new Draft(map)
        draft.add(batch)
        compare(draft)
        map.apply(
          batch.map(change => ({ ...change, created: 1, modified: revision }) as Applied),
          revision,
        )
        compare(map)
      })
    }),
    { numRuns: 300 },
  )
})
