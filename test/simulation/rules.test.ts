/** The checkers notice each rule that is broken, within a few runs. */
import { describe, expect, it } from 'vitest'
import { type BrokenRule, brokenRules } from './rules.js'
import { run } from './run.js'

const seedsMax = 200

/** The first seed at which it was noticed; undefined: at none. */
async function noticed({ broken, weights, forMs, says }: BrokenRule): Promise<number | undefined> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { violations } = await run(seed, { broken, ...(weights ? { weights } : {}), ...(forMs ? { forMs } : {}) })
    if (violations.some(text => says.test(text))) return seed
  }
  return undefined
}

describe('the checkers of the simulated cloud', () => {
  for (const [name, rule] of Object.entries(brokenRules)) {
    it(`turn red when ${name}`, async () => {
      const seed = await noticed(rule)
      process.stdout.write(`${name}: noticed at seed ${seed}\n`)
      expect(seed, `no checker noticed in ${seedsMax} runs`).toBeDefined()
    }, 300_000)
  }

  it('find nothing where the same things go wrong and no rule is broken', async () => {
    const weights = Object.values(brokenRules).find(each => each.weights)!.weights!
    for (let seed = 1; seed <= 30; seed++) expect((await run(seed, { weights })).violations).toEqual([])
  }, 300_000)
})
