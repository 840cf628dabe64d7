import { describe, expect, it } from 'vitest'
import { Unsettled } from '../../src/hypervisor/unsettled.js'

describe('what the leader has to look at', () => {
  it('comes by priority, and of the same one in the order in which it came in', () => {
    const unsettled = new Unsettled()
    for (const [id, priority] of [
      ['a', 0],
      ['b', 5],
      ['c', 0],
      ['d', 5],
      ['a', 0],
    ] as const)
      unsettled.add(id, priority)
    expect(unsettled.size).toBe(4)
    expect(unsettled.take(3)).toEqual(['b', 'd', 'a'])
    expect(unsettled.take(3)).toEqual(['c'])
    expect(unsettled.size).toBe(0)
  })

  it('leaves room for those who wait, who neither hold up others nor are forgotten', () => {
    const unsettled = new Unsettled()
    for (let each = 0; each < 8; each++) unsettled.later(`w${each}`)
    for (let each = 0; each < 8; each++) unsettled.add(`f${each}`, 0)
    expect(unsettled.fresh).toBe(8)
    expect(unsettled.take(8)).toEqual(['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'w0', 'w1'])
    for (const id of ['w0', 'w1']) unsettled.later(id)
    expect(unsettled.take(8)).toEqual(['f6', 'f7', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'])
    expect(unsettled.take(8)).toEqual(['w0', 'w1'])
  })

  it('is looked at anew when something happens to it again', () => {
    const unsettled = new Unsettled()
    unsettled.later('a')
    unsettled.add('a', 1)
    unsettled.later('a')
    expect([unsettled.fresh, unsettled.size]).toEqual([1, 1])
  })
})
