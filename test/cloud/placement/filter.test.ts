import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { eased, LoadFilter } from '../../../src/cloud/placement/filter.js'
import { defaultSettings } from '../../../src/cloud/settings.js'

const smoothing = { ...defaultSettings.load, halfLifeMs: 10_000, bandwidthPercentile: 0.9, bandwidthWindowMs: 10_000 }
const cpuOf = (cpu: number) => ({ cpu, ram: 0, bandwidth: 0 })
const bandwidthOf = (bandwidth: number) => ({ cpu: 0, ram: 0, bandwidth })

describe('measured load', () => {
  it('rises at once, and half of a fall is believed after the half-life', () => {
    expect(eased(100, 900, 1, 10_000)).toBe(900)
    expect(eased(900, 100, 10_000, 10_000)).toBe(500)
    expect(eased(900, 100, 20_000, 10_000)).toBe(300)
    expect(eased(900, 100, 0, 10_000)).toBe(900)
    expect(eased(900, 100, 1, 0)).toBe(100)
  })

  it('is as measured first, and remembers a peak for a while', () => {
    const filter = new LoadFilter()
    expect(filter.value).toBeUndefined()
    filter.note(cpuOf(10), 0, smoothing)
    expect(filter.value).toEqual(cpuOf(10))
    filter.note(cpuOf(800), 1_000, smoothing)
    filter.note(cpuOf(0), 11_000, smoothing)
    expect(filter.value).toEqual(cpuOf(400))
    filter.note(cpuOf(0), 31_000, smoothing)
    expect(filter.value).toEqual(cpuOf(100))
  })

  it('counts bandwidth by a percentile of the window, so that one burst does not count and many do', () => {
    const filter = new LoadFilter()
    for (let second = 0; second < 10; second++)
      filter.note(bandwidthOf(second === 4 ? 900 : 10), second * 1_000, smoothing)
    expect(filter.value!.bandwidth).toBe(10)
    for (let second = 10; second < 12; second++) filter.note(bandwidthOf(900), second * 1_000, smoothing)
    expect(filter.value!.bandwidth).toBe(900)
    for (let second = 12; second < 22; second++) filter.note(bandwidthOf(10), second * 1_000, smoothing)
    expect(filter.value!.bandwidth).toBe(10)
  })

  it('takes the percentile of the samples within the window, however they came', () => {
    const samples = fc.array(fc.tuple(fc.nat(3_000), fc.nat(1_000)), { minLength: 1, maxLength: 700 })
    fc.assert(
      fc.property(samples, fc.double({ min: 0.5, max: 1, noNaN: true }), (given, bandwidthPercentile) => {
        const filter = new LoadFilter()
        const smoothing = { halfLifeMs: 0, bandwidthPercentile, bandwidthWindowMs: 60_000 }
        const all: { atMs: number; bandwidth: number }[] = []
        let nowMs = 0
        for (const [afterMs, bandwidth] of given) {
          nowMs += afterMs
          all.push({ atMs: nowMs, bandwidth })
          filter.note({ cpu: 0, ram: 0, bandwidth }, nowMs, smoothing)
        }
        const within = all.filter(each => each.atMs > nowMs - 60_000).slice(-300)
        const sorted = within.map(each => each.bandwidth).sort((a, b) => a - b)
        expect(filter.value!.bandwidth).toBe(sorted[Math.max(0, Math.ceil(bandwidthPercentile * sorted.length) - 1)])
      }),
    )
  })
})
