/** What is remembered of each version: hours, now, the most; and that it stays bounded. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hourMs, hoursKept, UseHistory } from '../../../src/cloud/placement/history.js'
import type { Resources } from '../../../src/cloud/resources.js'

const news = 'news/1.0.0'
const cpu = (amount: number): Resources => ({ cpu: amount, ram: 2 * amount, bandwidth: 3 * amount })
const hour = (history: UseHistory, number: number, version = news): number => {
  const into = new Float64Array(4)
  history.readHour(version, number, into, 1)
  expect([...into]).toEqual([0, into[1], 2 * into[1]!, 3 * into[1]!])
  return into[1]!
}
const now = (history: UseHistory): number => {
  const into = new Float64Array(3)
  history.readNow(news, into, 0)
  return into[0]!
}
const most = (history: UseHistory): number => {
  const into = new Float64Array(3)
  history.readMost(news, into, 0)
  return into[0]!
}

describe('the history of use', () => {
  it('keeps the mean of each hour that is over, also of the one that nobody has followed yet', () => {
    const history = new UseHistory()
    for (const [atMs, amount] of [
      [0, 10],
      [hourMs / 2, 30],
      [hourMs, 5],
    ] as const) {
      history.note(news, cpu(amount), atMs)
    }
    expect(history.hoursKnown(hourMs)).toBe(1)
    expect(hour(history, 0)).toBe(20)
    expect(history.hoursKnown(2 * hourMs)).toBe(2)
    expect(hour(history, 1)).toBe(5)
    expect(most(history)).toBe(20)
  })

  it('takes an hour without a word for one without use, and one before the first word for one like now', () => {
    const history = new UseHistory()
    history.note('other/1.0.0', cpu(1), 0)
    history.note(news, cpu(8), 2 * hourMs)
    history.note(news, cpu(8), 5 * hourMs)
    expect([0, 1, 2, 3, 4, 5].map(each => hour(history, each))).toEqual([8, 8, 8, 0, 0, 8])
    expect(hour(history, 0, 'nobody/1.0.0')).toBe(0)
    expect([history.knows(news), history.knows('nobody/1.0.0')]).toEqual([true, false])
  })

  it('follows what is used now within minutes, not at once', () => {
    const history = new UseHistory()
    history.note(news, cpu(0), 0)
    history.note(news, cpu(80), 900_000)
    expect(now(history)).toBe(40)
    history.note(news, cpu(80), 900_000)
    expect(now(history)).toBe(40)
  })

  it('is a mean of a week at most, and forgets versions after one', () => {
    const history = new UseHistory()
    for (let each = 0; each < 400; each++) {
      if (each < 10) history.note('old/1.0.0', cpu(1), each * hourMs)
      history.note(news, cpu(each === 0 ? 1_000 : each), each * hourMs)
    }
    expect(history.hoursKnown(400 * hourMs)).toBe(hoursKept)
    expect(history.knows('old/1.0.0')).toBe(false)
    expect([400 - hoursKept, 398, 399].map(each => hour(history, each))).toEqual([400 - hoursKept, 398, 399])
    expect(most(history)).toBe(398)
  })

  it('reads back any hours of the week as they were noted, whatever the gaps', () => {
    const hours = fc.uniqueArray(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(hours, numbers => {
        const history = new UseHistory()
        const sorted = [...numbers].sort((a, b) => a - b)
        for (const each of sorted) history.note(news, cpu(each + 1), each * hourMs + 7)
        const [first, last] = [sorted[0]!, sorted.at(-1)!]
        for (let each = Math.max(last - hoursKept + 1, first); each <= last; each++) {
          // A version that was forgotten meanwhile began anew with its next hour.
          const anew = sorted.findLast((next, index) => index > 0 && next - sorted[index - 1]! > hoursKept) ?? first
          if (each >= anew) expect(hour(history, each)).toBe(sorted.includes(each) ? each + 1 : 0)
        }
      }),
      { numRuns: 200 },
    )
  })
})
