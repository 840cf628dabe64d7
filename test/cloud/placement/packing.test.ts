/** What `pack` and `balanced` look at beside how full a mothership gets. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Draft } from '../../../src/cloud/draft.js'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { keptFor } from '../../../src/cloud/placement/appraise.js'
import { Engine } from '../../../src/cloud/placement/engine.js'
import { Population } from '../../../src/cloud/placement/population.js'
import { Worth } from '../../../src/cloud/placement/worth.js'
import { type Change, put, type Resources } from '../../../src/cloud/records.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aMothership, anInstance, session } from '../../support/records.js'

const capacity = { cpu: 1200, ram: 1200, bandwidth: 1200 }
const cpu = (amount: number): Resources => ({ cpu: amount, ram: 10, bandwidth: 10 })
const motherships = (count: number): Change[] =>
  Array.from({ length: count }, (_, each) => `m${String(each).padStart(2, '0')}`).flatMap(id => [
    put('motherships', id, aMothership(id, { capacity })),
    session('mothership', id),
  ])
const standing = (id: string, on: string, need: Resources): Change =>
  put('instances', id, { ...anInstance(id, [on]), need, placement: {} })
const moment = { nowMs: 0, at: '2026-01-01T00:00:00.000Z' }
const kinds = ['settings', 'motherships', 'sessions', 'instances'] as const
const ask = (need: Resources) => ({ component: 'news', version: '1.0.0', need, wish: {}, copies: 1, seed: 'x' })

describe('the worth of room', () => {
  const worth = new Worth([cpu(600), cpu(400)], capacity)
  const left = (amount: number): Resources => ({ cpu: amount, ram: 900, bandwidth: 900 })

  it('is lost where no usual need fits what is left', () => {
    // 600 beside 600 fills it; 400 into 600 leaves 200, which nothing usual fits.
    expect(worth.regret(left(600), cpu(600))).toBeCloseTo(0)
    expect(worth.regret(left(600), cpu(400))).toBeGreaterThan(0.1)
    expect(worth.regret(left(800), cpu(400))).toBeCloseTo(0)
    // What nothing usual fits costs nothing to fill.
    expect(worth.regret(left(300), cpu(100))).toBeLessThan(0)
  })

  it('is not asked for more than is remembered: small needs are taken in bundles', () => {
    const small = new Worth([cpu(1), cpu(2), cpu(3)], capacity)
    expect(small.regret(capacity, cpu(1))).toBeLessThan(1)
  })
})

describe('the most frequent needs', () => {
  it('are those of what runs, however it came to be', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.boolean()), { maxLength: 60 })
    fc.assert(
      fc.property(steps, fc.nat(20), (all, look) => {
        const kept = new Population(2)
        const counts = new Map<number, number>()
        for (const [index, [size, more]] of all.entries()) {
          if (!more && (counts.get(size) ?? 0) === 0) continue
          counts.set(size, (counts.get(size) ?? 0) + (more ? 1 : -1))
          kept.count(cpu(size), more ? 1 : -1)
          if (index % (look + 1) === 0) void kept.frequent
        }
        const expected = [...counts]
          .filter(([, count]) => count > 0)
          .sort((a, b) => b[1] - a[1] || a[0] - b[0])
          .slice(0, 2)
        expect(new Set(kept.frequent.map(each => each.cpu))).toEqual(new Set(expected.map(([size]) => size)))
      }),
      { numRuns: 500 },
    )
  })
})

describe('pack', () => {
  const pack = put('settings', '', { schema: 1, policy: 'pack' as const })

  it('fills what is in use, and begins another one rather than waste the room for what usually runs', () => {
    const usual = ['a', 'b', 'c', 'd'].map((name, each) => standing(`news.${name}`, `m0${each}`, cpu(600)))
    const more = ['e', 'f', 'g'].map((name, each) => standing(`news.${name}`, `m0${each + 1}`, cpu(600)))
    const map = mapOf(pack, ...motherships(10), ...usual, ...more)
    const engine = new Engine(map, () => undefined)
    const fits = engine.place(map, ask(cpu(600)), moment)
    expect(fits).toMatchObject({ on: ['m00'], decision: { candidates: [{ terms: { waste: 0 } }, {}, {}] } })
    const odd = engine.place(map, ask(cpu(100)), moment)
    // An eighth of the room of those in use could still be used, and half of that is added.
    expect(odd).toMatchObject({ on: ['m04'], decision: { candidates: [{ terms: { waste: 0.3625 } }, {}, {}] } })
  })

  it('begins no other one for what is odd while much of what is in use waits for what is usual', () => {
    const usual = ['a', 'b', 'c', 'd'].map((name, each) => standing(`news.${name}`, `m0${each}`, cpu(600)))
    const map = mapOf(pack, ...motherships(10), ...usual)
    expect(new Engine(map, () => undefined).place(map, ask(cpu(100)), moment)).toMatchObject({ on: ['m00'] })
  })

  it('decides the same from the same map, whatever was decided before', () => {
    const sizes = fc.array(fc.constantFrom(600, 500, 400, 300, 100), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(sizes, all => {
        const map = mapOf(pack, ...motherships(12))
        const engine = new Engine(map, () => undefined)
        for (const [each, size] of all.entries()) {
          const found = engine.place(map, ask(cpu(size)), moment)
          expect(new Engine(map, () => undefined).place(map, ask(cpu(size)), moment)).toEqual(found)
          if (found.kind === 'placed') engine.apply(apply(map, [standing(`news.${each}`, found.on[0]!, cpu(size))]), 0)
        }
      }),
      { numRuns: 100 },
    )
  })
})

describe('balanced', () => {
  it('keeps fewer for large needs the fewer come, and the less there is left to come', () => {
    expect(keptFor(0, 0, 100)).toBe(8)
    expect(keptFor(4, 0.4, 100)).toBe(5)
    expect(keptFor(0, 0.4, 100)).toBe(2)
    expect(keptFor(40, 0.4, 100)).toBeGreaterThan(20)
    expect(keptFor(4, 0.8, 100)).toBe(0)
  })

  it('decides the same from the same map, however large motherships were before', () => {
    const resized = (index: number, size: number): Change => {
      const id = `m${String(index).padStart(2, '0')}`
      return put('motherships', id, aMothership(id, { capacity: { cpu: size, ram: size, bandwidth: size } }))
    }
    const step = fc.record({ at: fc.nat(11), size: fc.constantFrom(500, 1000, 2000), tried: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), fc.integer({ min: 7, max: 11 }), (steps, count) => {
        const some = Array.from({ length: count }, (_, each) =>
          standing(`news.${each}`, `m${String(each).padStart(2, '0')}`, cpu(400)),
        )
        const balanced = put('settings', '', { schema: 1, policy: 'balanced' as const })
        const map = mapOf(balanced, ...motherships(12), ...some)
        const engine = new Engine(map, () => undefined)
        const same = (on: MemoryMap | Draft): void => {
          for (const need of [cpu(300), cpu(700)]) {
            const anew = mapOf(
              ...kinds.flatMap(kind => [...on.all(kind)].map(([id, each]) => put(kind, id, each.value))),
            )
            const found = new Engine(anew, () => undefined).place(anew, ask(need), moment)
            if (found.kind !== 'placed') throw new Error('there is room')
            const { candidates } = found.decision
            expect(engine.place(on, ask(need), moment)).toMatchObject({ on: found.on, decision: { candidates } })
          }
        }
        for (const { at, size, tried } of steps) {
          if (tried) {
            const draft = new Draft(map)
            draft.add([resized(at, size)])
            same(draft)
          } else engine.apply(apply(map, [resized(at, size)]), 0)
          same(map)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('leaves a few empty motherships to large needs while nothing else is full', () => {
    const busy = Array.from({ length: 29 }, (_, each) =>
      standing(`news.${each}`, `m${String(each).padStart(2, '0')}`, cpu(300)),
    )
    const map = mapOf(put('settings', '', { schema: 1, policy: 'balanced' as const }), ...motherships(30), ...busy)
    const engine = new Engine(map, () => undefined)
    expect(engine.place(map, ask(cpu(300)), moment)).toMatchObject({ on: ['m00'] })
    expect(engine.place(map, ask(cpu(700)), moment)).toMatchObject({ on: ['m29'] })
    // With nowhere else to go it is taken all the same.
    const full = busy.map((_, each) => standing(`more.${each}`, `m${String(each).padStart(2, '0')}`, cpu(800)))
    apply(map, full)
    expect(new Engine(map, () => undefined).place(map, ask(cpu(300)), moment)).toMatchObject({ on: ['m29'] })
  })
})
