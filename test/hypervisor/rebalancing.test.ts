import { describe, expect, it } from 'vitest'
import { defaultSettings, merged, type SettingsPart } from '../../src/cloud/settings.js'
import { Rebalancing } from '../../src/hypervisor/rebalancing.js'
import { FakeClock } from '../support/fake-clock.js'

const quietMs = defaultSettings.rebalance.quietMs

function aRebalancing(part: SettingsPart = {}) {
  const clock = new FakeClock()
  const settings = merged(defaultSettings, part)
  const rebalancing = new Rebalancing(() => clock.nowMs())
  const at = (imbalance: number): number => rebalancing.allowance(settings, () => ({ imbalance, inUse: 1 }))
  const later = (ms: number, imbalance: number): number => {
    clock.advance(ms)
    return at(imbalance)
  }
  return { clock, rebalancing, later, planned: (moves: number) => rebalancing.planned(moves, settings) }
}

describe('a leader that moves instances unasked', () => {
  it('waits until a new term, or a mothership that came or went, is some time ago', () => {
    const { rebalancing, later } = aRebalancing()
    expect(later(quietMs - 1, 0.9)).toBe(0)
    expect(later(2_000, 0.9)).toBe(30)
    rebalancing.onChange()
    expect(later(quietMs - 1, 0.9)).toBe(0)
    expect(later(2_000, 0.9)).toBe(30)
  })

  it('begins above one threshold and goes on until it is below the other', () => {
    const { later, planned } = aRebalancing()
    expect(later(quietMs, 0.15)).toBe(0)
    expect(later(60_000, 0.25)).toBe(30)
    planned(1)
    expect(later(61_000, 0.15)).toBe(30)
    planned(1)
    expect(later(61_000, 0.05)).toBe(0)
    expect(later(61_000, 0.15)).toBe(0)
  })

  it('stays within its budget of a minute, and pauses until loads show what was done', () => {
    const { later, planned } = aRebalancing({ rebalance: { movesPerMinute: 10 } })
    expect(later(quietMs, 0.9)).toBe(10)
    planned(7)
    expect(later(10_000, 0.9)).toBe(0)
    expect(later(25_000, 0.9)).toBe(3)
    planned(3)
    expect(later(31_000, 0.9)).toBe(7)
  })

  it('looks again after a while when there was nothing to gain, or at once when a mothership comes', () => {
    const { rebalancing, later, planned } = aRebalancing({ rebalance: { quietMs: 0 } })
    expect(later(2_000, 0.9)).toBe(30)
    planned(0)
    expect(later(20_000, 0.9)).toBe(0)
    rebalancing.onChange()
    expect(later(2_000, 0.9)).toBe(30)
    planned(0)
    expect(later(31_000, 0.9)).toBe(30)
  })

  it('does nothing when it is switched off, and needs no imbalance to pack', () => {
    expect(aRebalancing({ rebalance: { automatic: false } }).later(quietMs, 0.9)).toBe(0)
    expect(aRebalancing({ policy: 'pack' }).later(quietMs, 0)).toBe(30)
  })
})
