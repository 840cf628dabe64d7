/** Fragments of kept state that are of before what was shown already. */
import { expect, it } from 'vitest'
import { Epochs } from '../../src/rain-server/epochs.js'

it('accepts what is as new as what was seen, of each instance for itself', () => {
  const epochs = new Epochs()
  const accepts = (instance: string, since: number, epoch: number): boolean =>
    epochs.accepts(instance, { since, epoch })
  expect(accepts('a.1', 10, 3)).toBe(true)
  expect(accepts('a.1', 10, 3)).toBe(true)
  expect(accepts('a.1', 10, 2)).toBe(false)
  expect(accepts('b.1', 10, 1)).toBe(true)
  // Another instance under the same name begins anew, and the one before is not shown any more.
  expect(accepts('a.1', 20, 1)).toBe(true)
  expect(accepts('a.1', 10, 9)).toBe(false)
  expect(accepts('a.1', 20, 2)).toBe(true)
})
