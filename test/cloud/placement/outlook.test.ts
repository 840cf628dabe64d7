/** The hours that are played again, and what a version would use in them. */
import { describe, expect, it } from 'vitest'
import { hourMs, UseHistory } from '../../../src/cloud/placement/history.js'
import { Horizon, hoursToReplay, Outlook, type Standing } from '../../../src/cloud/placement/outlook.js'
import { put } from '../../../src/cloud/records.js'
import { mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, session } from '../../support/records.js'

const capacity = { cpu: 100, ram: 100, bandwidth: 100 }
const news = 'news/1.0.0'
const standing: Standing[] = [{ version: news, copies: 1, on: new Map([['m1', 1]]) }]
/** Quiet but at every tenth hour, and loud in the hour after that. */
const use = (hour: number): number => (hour % 10 === 0 ? 5 : hour % 10 === 1 ? 50 : 1)

function learnt(hours: number): UseHistory {
  const history = new UseHistory()
  for (let hour = 0; hour < hours; hour++) {
    history.note(news, { cpu: use(hour), ram: 1, bandwidth: 1 }, hour * hourMs)
  }
  return history
}

describe('an outlook', () => {
  it('is none before a day is known', () => {
    expect(hoursToReplay(learnt(23), standing, capacity, 23 * hourMs)).toBeUndefined()
    expect(hoursToReplay(learnt(24), standing, capacity, 24 * hourMs)).toBeDefined()
  })

  it('looks first at what followed hours like the last one', () => {
    const [first, second] = hoursToReplay(learnt(61), standing, capacity, 61 * hourMs)!
    expect(first).toMatchObject({ hour: 51, as: 'a change' })
    expect(second).toMatchObject({ hour: 41, as: 'a change' })
  })

  it('gives all kinds of moments the same weight, however many hours are known', () => {
    for (const hours of [24, 60, 168, 300]) {
      const replayed = hoursToReplay(learnt(hours), standing, capacity, hours * hourMs)!
      const weightOf = (as: string): number =>
        replayed.filter(each => each.as === as).reduce((sum, { weight }) => sum + weight, 0)
      expect(weightOf('a change')).toBeCloseTo(1, 9)
      expect(weightOf('it was')).toBeCloseTo(0.2, 9)
      expect(replayed.every(({ hour }) => hour < hours && hour >= hours - 168)).toBe(true)
    }
  })

  it('changes what is used now as it changed then, within what was ever used', () => {
    const history = learnt(61)
    const replayed = [
      { hour: 51, weight: 1, as: 'a change' as const },
      { hour: 52, weight: 1, as: 'a change' as const },
      { hour: 51, weight: 1, as: 'it was' as const },
    ]
    const cpuOf = (pattern: Float64Array): number[] => [0, 3, 6, 9].map(at => pattern[at]!)
    const now = cpuOf(new Outlook(history, replayed).patternOf(news)!)
    expect(now[0]).toBeCloseTo(4.75, 6)
    expect(now[1]).toBeCloseTo(49.75, 6)
    expect(now.slice(2)).toEqual([0, 50])
    history.note(news, { cpu: 40, ram: 1, bandwidth: 1 }, 61 * hourMs)
    expect(new Outlook(history, replayed).patternOf(news)![3]).toBe(50)
    expect(new Outlook(history, replayed).patternOf('nobody/1.0.0')).toBeUndefined()
  })

  it('works out its hours once an hour, and reads what is used now each time', () => {
    const map = mapOf(
      put('components', news, aComponent('news', '1.0.0')),
      put('motherships', 'm1', aMothership('m1', { capacity })),
      session('mothership', 'm1'),
      put('instances', 'news.1', anInstance('news.1', ['m1'])),
    )
    const history = learnt(61)
    const horizon = new Horizon(history)
    const before = horizon.at(map, 61 * hourMs)!
    const usedBefore = before.patternOf(news)![0]!
    history.note(news, { cpu: 9, ram: 1, bandwidth: 1 }, 61.5 * hourMs)
    const after = horizon.at(map, 61.5 * hourMs)!
    expect(after.weights).toEqual(before.weights)
    expect(after.patternOf(news)![0]).toBeGreaterThan(usedBefore)
    expect(new Horizon(new UseHistory()).at(map, 61 * hourMs)).toBeUndefined()
  })
})
