import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  afterEnding,
  afterProbe,
  type Ending,
  type Fate,
  firstWays,
  longLifeMs,
  probeMostMs,
  type Ways,
} from '../../src/sdk/way.js'

const waysAfter = (ways: Ways, ...endings: readonly [Fate, number?][]): Ways =>
  endings.reduce((now, [fate, liveMs = 0]) => afterEnding(now, { fate, liveMs }, 0, 0), ways)

describe('the way to the replicas', () => {
  it('is by websocket at first, and stays so while replicas are away or say why they close', () => {
    expect(waysAfter(firstWays, ['nobody'], ['ended', 500], ['nobody'], ['ended'], ['died', longLifeMs])).toEqual(
      firstWays,
    )
  })

  it('is by polling as soon as a websocket is blocked', () => {
    expect(waysAfter(firstWays, ['blocked'])).toEqual({ way: 'polling', deaths: 0, setbacks: 1, probeAtMs: 2_500 })
  })

  it('is by polling after two websockets in a row that died young, not after one, nor after old ones', () => {
    expect(waysAfter(firstWays, ['died', 3_000]).way).toBe('websocket')
    expect(waysAfter(firstWays, ['died', 3_000], ['died', longLifeMs], ['died', 3_000]).way).toBe('websocket')
    expect(waysAfter(firstWays, ['died', 3_000], ['nobody'], ['died', 3_000]).way).toBe('polling')
  })

  it('is by polling after one death, where a websocket is tried again', () => {
    const again = afterProbe(waysAfter(firstWays, ['blocked']), true, 10_000, 0)
    expect(again.way).toBe('websocket')
    expect(waysAfter(again, ['died', 3_000])).toMatchObject({ way: 'polling', setbacks: 2 })
    expect(waysAfter(again, ['died', longLifeMs])).toEqual({ ...firstWays, probeAtMs: again.probeAtMs })
  })

  const fates = fc.constantFrom<Fate>('nobody', 'blocked', 'died', 'ended')
  const endings = fc.array(fc.record({ fate: fates, liveMs: fc.nat(2 * longLifeMs) }), { maxLength: 40 })

  it('is tried with every second attempt at least, whatever came before, if it is the one that works (Y1)', () => {
    fc.assert(
      fc.property(endings, fc.constantFrom('websocket', 'polling'), (before: readonly Ending[], working) => {
        let ways = before.reduce((now, each) => afterEnding(now, each, 0, 0.5), firstWays)
        let attempts = 1
        while (ways.way !== working) {
          ways = afterEnding(ways, { fate: 'blocked', liveMs: 0 }, 0, 0.5)
          attempts++
        }
        expect(attempts).toBeLessThanOrEqual(2)
      }),
    )
  })

  it('is changed ever more rarely where websockets are welcome and die young, or are never welcome (Y2)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: longLifeMs - 1 }),
        fc.boolean(),
        fc.float({ min: 0, max: 1, noNaN: true }),
        (lifeMs, welcome, chance) => {
          const forMs = 4 * 3_600_000
          let ways = afterEnding(firstWays, { fate: 'blocked', liveMs: 0 }, 0, chance)
          let probes = 0
          for (let nowMs = ways.probeAtMs; nowMs < forMs; nowMs = ways.probeAtMs) {
            probes++
            ways = afterProbe(ways, welcome, nowMs, chance)
            if (welcome) ways = afterEnding(ways, { fate: 'died', liveMs: lifeMs }, nowMs + lifeMs, chance)
            expect(ways.way).toBe('polling')
            expect(ways.probeAtMs - nowMs).toBeLessThanOrEqual(probeMostMs + lifeMs)
          }
          // Doubled until it is five minutes, of which chance takes half at most.
          expect(probes).toBeLessThanOrEqual(7 + forMs / (probeMostMs / 2))
        },
      ),
    )
  })
})
