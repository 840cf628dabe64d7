/** What a move would be worth over the moments of an outlook. */
import { describe, expect, it } from 'vitest'
import { Foresight } from '../../../src/cloud/placement/foresight.js'
import { hourMs, UseHistory } from '../../../src/cloud/placement/history.js'
import { Outlook, type Standing } from '../../../src/cloud/placement/outlook.js'

const capacity = { cpu: 100, ram: 100, bandwidth: 100 }
const grounds = ['m1', 'm2', 'm3'].map(id => ({ id, capacity }))

/** Two that peak in hour 0, one that peaks in hour 1; all of them are quiet now. */
function foresight(on: Readonly<Record<string, string>>): Foresight {
  const history = new UseHistory()
  for (const [hour, uses] of [
    [0, { day: 60, noon: 60, night: 2 }],
    [1, { day: 2, noon: 2, night: 60 }],
    [9, { day: 2, noon: 2, night: 2 }],
  ] as const) {
    for (const [version, cpu] of Object.entries(uses))
      history.note(version, { cpu, ram: 1, bandwidth: 1 }, hour * hourMs)
  }
  const standing = Object.entries(on).map(
    ([version, mothership]): Standing => ({ version, copies: 1, on: new Map([[mothership, 1]]) }),
  )
  const replayed = [0, 1].map(hour => ({ hour, weight: 1, as: 'it was' as const }))
  return new Foresight(new Outlook(history, replayed), grounds, standing)
}

describe('foresight', () => {
  it('sends what peaks with its neighbour to where nothing peaks, though all is quiet now', () => {
    const view = foresight({ day: 'm1', noon: 'm1', night: 'm2' })
    expect(view.imbalance()).toBeCloseTo(1.2 - (1.2 + 0.02) / 3, 6)
    expect(view.fullest(() => true, 3)[0]).toBe('m1')
    const [best, next] = view.transfers('m1', 'noon', 'noon', 0.05)
    expect(best).toMatchObject({ what: 'noon', to: 'm3' })
    expect(best!.gain).toBeCloseTo(0.6, 6)
    expect(next).toMatchObject({ to: 'm2' })
    expect(view.transfers('m1', 'noon', 'noon', 0.61)).toEqual([])
  })

  it('finds nothing to gain when it was done, and knows nothing of what nobody heard of', () => {
    const view = foresight({ day: 'm1', noon: 'm1', night: 'm2' })
    view.move('noon', 'm1', 'm3')
    view.weigh()
    for (const [version, from] of [
      ['day', 'm1'],
      ['night', 'm2'],
      ['noon', 'm3'],
    ] as const) {
      expect(view.transfers(from, version, version, 0.05)).toEqual([])
    }
    expect(view.relief('m1', 'nobody')).toBeUndefined()
    expect(view.transfers('m1', 'nobody', 'nobody', 0)).toEqual([])
  })

  it('agrees with itself: relief and cost of a move are what weighing afterwards finds', () => {
    const before = foresight({ day: 'm1', noon: 'm1', night: 'm2' })
    const after = foresight({ day: 'm1', noon: 'm3', night: 'm2' })
    before.move('noon', 'm1', 'm3')
    before.weigh()
    expect(before.imbalance()).toBeCloseTo(after.imbalance(), 9)
    expect(before.relief('m1', 'day')).toBeCloseTo(after.relief('m1', 'day')!, 9)
  })

  it('does not count twice what is on its way', () => {
    const view = foresight({ day: 'm1', noon: 'm1', night: 'm2' })
    view.move('noon', 'm1', undefined)
    expect(view.imbalance()).toBeCloseTo(0.6 - 0.62 / 3, 6)
  })
})
