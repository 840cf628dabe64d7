import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextWeights, type ServerUse, usualWeight, type Weighing } from '../../../src/cloud/routing/weights.js'

const nobody: Weighing = new Map()
const uses = (...cpus: readonly (number | undefined)[]): ServerUse[] => cpus.map((cpu, i) => ({ id: `r${i + 1}`, cpu }))
const weightsOf = (weighing: Weighing): number[] => [...weighing.values()].map(each => each.weight)

describe('weights', () => {
  it('give more to who uses less, in proportion', () => {
    expect(weightsOf(nextWeights(nobody, uses(200, 400, 600)))).toEqual([140, 100, 60])
  })

  it('are equal where loads are, and where all are idling', () => {
    expect(weightsOf(nextWeights(nobody, uses(700, 700)))).toEqual([100, 100])
    expect(weightsOf(nextWeights(nobody, uses(2, 9, 4)))).toEqual([100, 100, 100].map(() => expect.closeTo(100, -1)))
  })

  it('take old load for none', () => {
    const before = nextWeights(nobody, uses(100, 900))
    expect(weightsOf(before)).toEqual([164, 36])
    expect(weightsOf(nextWeights(before, uses(undefined, undefined)))).toEqual([100, 100])
    expect(weightsOf(nextWeights(before, uses(undefined, 900)))).toEqual([100, 100])
  })

  it('stay as they are while loads only waver', () => {
    let weighing = nextWeights(nobody, uses(300, 500))
    const first = weightsOf(weighing)
    for (let round = 0; round < 50; round++) {
      const waver = round % 2 === 0 ? 20 : -20
      weighing = nextWeights(weighing, uses(300 + waver, 500 - waver))
      expect(weightsOf(weighing)).toEqual(first)
    }
  })

  it('are whole and between 1 and 256 whatever is measured', () => {
    const cpu = fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined })
    fc.assert(
      fc.property(fc.array(fc.array(cpu, { minLength: 1, maxLength: 20 }), { maxLength: 5 }), rounds => {
        let weighing = nobody
        for (const round of rounds) weighing = nextWeights(weighing, uses(...round))
        for (const weight of weightsOf(weighing)) {
          expect(Number.isInteger(weight) && weight >= 1 && weight <= 256).toBe(true)
        }
      }),
    )
  })

  it('come to rest where load follows them, and leave a slow machine less uneven than it was', () => {
    const costs = [1, 1, 2]
    let weighing = nobody
    const history: string[] = []
    for (let round = 0; round < 60; round++) {
      const weights = costs.map((_, i) => weighing.get(`r${i + 1}`)?.weight ?? usualWeight)
      const sum = weights.reduce((a, b) => a + b)
      const loads = weights.map((weight, i) => (1_200 * costs[i]! * weight) / sum)
      weighing = nextWeights(weighing, uses(...loads))
      history.push(weightsOf(weighing).join())
      if (round === 59) expect(Math.max(...loads) / Math.min(...loads)).toBeLessThan(1.6)
    }
    expect(new Set(history.slice(-20)).size).toBe(1)
  })
})
