import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Breaker,
  Breakers,
  failuresMax,
  nextBreaker,
  openFirstMs,
  openMostMs,
} from '../../src/rain-server/breaker.js'

const fail = (breakers: Breakers, atMs: number, times = failuresMax): void => {
  for (let i = 0; i < times; i++) breakers.note('a', { kind: 'failed', atMs })
}

describe('a circuit breaker', () => {
  it('opens after failures in a row only', () => {
    const breakers = new Breakers()
    fail(breakers, 0, failuresMax - 1)
    breakers.note('a', { kind: 'worked' })
    fail(breakers, 0, failuresMax - 1)
    expect(breakers.standing('a', 0)).toBe('asked')
    fail(breakers, 0, 1)
    expect([breakers.standing('a', 0), breakers.standing('b', 0), breakers.open]).toEqual(['passed over', 'asked', 1])
  })

  it('is tried once when its time is over, and closes when that works', () => {
    const breakers = new Breakers()
    fail(breakers, 0)
    expect(breakers.standing('a', openFirstMs - 1)).toBe('passed over')
    expect(breakers.standing('a', openFirstMs)).toBe('due')
    breakers.note('a', { kind: 'tried' })
    expect(breakers.standing('a', openFirstMs)).toBe('passed over')
    breakers.note('a', { kind: 'worked' })
    expect([breakers.standing('a', openFirstMs), breakers.open]).toEqual(['asked', 0])
  })

  it('stays open for twice as long each time that it fails again, up to a bound', () => {
    let breaker: Breaker = { kind: 'closed', failures: failuresMax - 1 }
    const waits: number[] = []
    for (let i = 0; i < 7; i++) {
      breaker = nextBreaker(breaker, { kind: 'failed', atMs: 100 })
      if (breaker.kind !== 'open') throw new Error('it is not open')
      waits.push(breaker.untilMs - 100)
      breaker = nextBreaker(breaker, { kind: 'tried' })
    }
    expect(waits).toEqual([1, 2, 4, 8, 15, 15, 15].map(each => each * 1000))
  })

  it('is never longer away than its bound, whatever happens, and comes back by one success', () => {
    const event = fc.oneof(fc.constant('worked'), fc.constant('failed'), fc.constant('tried'))
    fc.assert(
      fc.property(fc.array(event), events => {
        let breaker: Breaker = { kind: 'closed', failures: 0 }
        events.forEach((kind, atMs) => {
          breaker = nextBreaker(breaker, { kind, atMs } as never)
          if (breaker.kind === 'open') expect(breaker.untilMs).toBeLessThanOrEqual(atMs + openMostMs)
        })
        expect(nextBreaker(breaker, { kind: 'worked' })).toEqual({ kind: 'closed', failures: 0 })
      }),
    )
  })

  it('is forgotten with its copy', () => {
    const breakers = new Breakers()
    fail(breakers, 0)
    breakers.keep(key => key !== 'a')
    expect(breakers.standing('a', 0)).toBe('asked')
  })
})
