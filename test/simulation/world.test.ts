/** That a seed is a run. */
import { describe, expect, it } from 'vitest'
import { run } from './run.js'

describe('a run of the simulated cloud', () => {
  it('is the same whenever its seed is run', async () => {
    for (const seed of [1, 7, 42, 188, 1_000_003]) {
      const once = await run(seed)
      // A run that is looked at is the same one.
      const again = await run(seed, { trace: () => undefined })
      expect(again).toEqual(once)
      expect(once.events).toBeGreaterThan(500)
    }
  }, 60_000)

  it('is another one with another seed', async () => {
    const hashes = await Promise.all([1, 2, 3].map(async seed => (await run(seed)).hash))
    expect(new Set(hashes).size).toBe(3)
  }, 60_000)
})
