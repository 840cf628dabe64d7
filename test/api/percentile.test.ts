import { describe, expect, it } from 'vitest'
import { percentile } from '../../src/api/percentile.js'

const bounds = [1, 2, 5, 10]

describe('a percentile', () => {
  it('lies within its bucket, in proportion', () => {
    expect(percentile([0, 0, 10, 0, 0], bounds, 0.5)).toBe(3.5)
    expect(percentile([5, 5, 0, 0, 0], bounds, 0.5)).toBe(1)
    expect(percentile([5, 5, 0, 0, 0], bounds, 1)).toBe(2)
  })

  it('is the last bound for what lies above it, and null for nothing', () => {
    expect(percentile([0, 0, 0, 0, 3], bounds, 0.99)).toBe(10)
    expect(percentile([0, 0, 0, 0, 0], bounds, 0.5)).toBeNull()
  })
})
