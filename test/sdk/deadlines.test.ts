import { describe, expect, it } from 'vitest'
import { Deadlines } from '../../src/sdk/deadlines.js'
import { ManualClock } from '../support/manual-clock.js'

describe('deadlines', () => {
  const at = (): { clock: ManualClock; due: string[]; timers: () => number; deadlines: Deadlines<string> } => {
    const clock = new ManualClock()
    const due: string[] = []
    let timers = 0
    const counting = {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      after: (ms: number, run: () => void) => {
        timers++
        return clock.after(ms, run)
      },
    }
    return { clock, due, timers: () => timers, deadlines: new Deadlines(counting, key => due.push(key)) }
  }

  it('come each at its time, whatever the order in which they were set', async () => {
    const { clock, due, deadlines } = at()
    const fromMs = clock.nowMs()
    deadlines.set('later', fromMs + 300)
    deadlines.set('first', fromMs + 100)
    deadlines.set('second', fromMs + 200)

    await clock.advance(99)
    expect(due).toEqual([])
    await clock.advance(1)
    expect(due).toEqual(['first'])
    await clock.advance(150)
    expect(due).toEqual(['first', 'second'])
    await clock.advance(50)
    expect(due).toEqual(['first', 'second', 'later'])
  })

  it('that are taken back do not come, and those set meanwhile do', async () => {
    const { clock, due, deadlines } = at()
    const fromMs = clock.nowMs()
    deadlines.set('taken back', fromMs + 100)
    deadlines.delete('taken back')
    await clock.advance(50)
    deadlines.set('set meanwhile', fromMs + 150)
    await clock.advance(100)

    expect(due).toEqual(['set meanwhile'])
  })

  it('may set others when they come', async () => {
    const clock = new ManualClock()
    const due: number[] = []
    const deadlines: Deadlines<number> = new Deadlines(clock, key => {
      due.push(key)
      if (key < 3) deadlines.set(key + 1, clock.nowMs() + 10)
    })
    deadlines.set(1, clock.nowMs() + 10)
    await clock.advance(30)

    expect(due).toEqual([1, 2, 3])
  })

  it('that are all taken back in time take one timer, not one each', async () => {
    const { clock, due, timers, deadlines } = at()
    for (let n = 0; n < 1_000; n++) {
      deadlines.set(String(n), clock.nowMs() + 1_000)
      await clock.advance(1)
      deadlines.delete(String(n))
    }

    expect(due).toEqual([])
    expect(timers()).toBeLessThanOrEqual(2)
  })

  it('come no more once they are cleared', async () => {
    const { clock, due, deadlines } = at()
    deadlines.set('a', clock.nowMs() + 10)
    deadlines.clear()
    await clock.advance(20)
    expect(due).toEqual([])
    deadlines.set('b', clock.nowMs() + 10)
    await clock.advance(20)
    expect(due).toEqual(['b'])
  })
})
