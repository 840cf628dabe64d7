import { beforeEach, describe, expect, it } from 'vitest'
import { Crowd } from '../../src/hypervisor/crowd.js'

const tookMs = 6

describe('a crowd', () => {
  let crowd: Crowd
  let nowMs: number

  beforeEach(() => {
    crowd = new Crowd()
    nowMs = 1_000
  })

  const answered = (callers: number, waiting: number): void => crowd.answered(callers, waiting, tookMs, nowMs)
  /** Whether the next transaction waited for anybody, and nobody came. */
  const waitsInVain = (waiting: number): boolean => {
    const leftMs = crowd.leftMs(waiting, nowMs)
    nowMs += leftMs
    expect(crowd.leftMs(waiting, nowMs)).toBe(0)
    return leftMs > 0
  }

  it('is not waited for by who is alone, before or after', () => {
    expect(crowd.leftMs(1, nowMs)).toBe(0)
    answered(1, 0)
    expect(crowd.leftMs(1, nowMs)).toBe(0)
  })

  it('is waited for until those are back who were answered, but for the last few', () => {
    answered(30, 30)
    expect(crowd.leftMs(30, nowMs)).toBe(tookMs)
    expect(crowd.leftMs(53, nowMs + 2)).toBe(tookMs - 2)
    expect(crowd.leftMs(54, nowMs + 2)).toBe(0)
  })

  it('is not waited for longer than a transaction takes, nor than ten milliseconds', () => {
    answered(30, 30)
    expect(crowd.leftMs(40, nowMs + tookMs)).toBe(0)
    const slow = new Crowd()
    slow.answered(30, 30, 1_000, nowMs)
    expect(slow.leftMs(30, nowMs)).toBe(10)
  })

  it('is waited for less and less often while it does not come, and always again once it does', () => {
    const waits = Array.from({ length: 200 }, () => {
      answered(30, 30)
      return waitsInVain(31)
    })
    expect(waits.slice(0, 10)).toEqual([true, false, true, false, false, true, false, false, false, false])
    expect(waits.filter(Boolean).length).toBeLessThan(10)

    while (!crowd.leftMs(1, nowMs)) answered(30, 30)
    expect(crowd.leftMs(60, nowMs)).toBe(0)
    answered(30, 30)
    expect(crowd.leftMs(30, nowMs)).toBe(tookMs)
  })
})
