import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ageOf, type Fragment, FragmentCache, type KeyParts, keyOf } from '../../src/rain-server/fragment-cache.js'

const fragment = (html: string): Fragment => ({
  t: 'fragment',
  r: 1,
  instance: 'a.1',
  mothership: 'm1',
  html,
  css: [],
  js: [],
  context: {},
  children: [],
})
const parts: KeyParts = {
  component: 'shop',
  version: '1.0.0',
  view: 'index',
  context: { a: 1 },
  block: undefined,
  locale: 'en',
  query: { page: '2', utm: 'x' },
  session: '',
  user: undefined,
}

describe('what is kept', () => {
  it('is fresh, then ageing while another is fetched, then only for want of a better one, then too old', () => {
    const kept = { fragment: fragment(''), atMs: 100, maxAgeMs: 10, staleMs: 50, bytes: 0 }
    const ages = [100, 109, 110, 119, 120, 159, 160].map(nowMs => ageOf(kept, nowMs))
    expect(ages).toEqual(['fresh', 'fresh', 'ageing', 'ageing', 'stale', 'stale', 'too old'])
    expect(ageOf({ ...kept, staleMs: 0 }, 110)).toBe('too old')
    expect(ageOf({ ...kept, maxAgeMs: 0 }, 100)).toBe('stale')
  })

  it('is another one wherever anything differs that its view may look at', () => {
    const others: Partial<KeyParts>[] = [
      { component: 'cart' },
      { version: '1.0.1' },
      { view: 'small' },
      { context: { a: 2 } },
      { block: { content: '', items: [] } },
      { locale: 'de' },
      { query: { page: '3', utm: 'x' } },
      { session: 's1' },
      { user: { id: 'u', permissions: [] } },
    ]
    const keys = [{}, ...others].map(other => keyOf({ ...parts, ...other }, undefined))
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('depends on those parameters of the url that its view names, in whatever order they come', () => {
    const key = keyOf(parts, ['page'])
    expect(keyOf({ ...parts, query: { utm: 'y', page: '2' } }, ['page'])).toBe(key)
    expect(keyOf({ ...parts, query: { page: '3' } }, ['page'])).not.toBe(key)
    expect(keyOf({ ...parts, query: { utm: 'x', page: '2' } }, undefined)).toBe(keyOf(parts, undefined))
  })

  it('never takes more than it may, and what was looked at last stays longest', () => {
    const cache = new FragmentCache(100_000)
    const terms = { maxAgeMs: 1_000 }
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9_000 }))), puts => {
        for (const [key, size] of puts) {
          cache.put(String(key), fragment('x'.repeat(size)), terms, 0)
          expect(cache.bytes).toBeLessThanOrEqual(100_000)
        }
      }),
    )
    cache.clear()
    expect(cache.bytes).toBe(0)
    for (const key of ['a', 'b', 'c', 'd']) cache.put(key, fragment('x'.repeat(5_000)), terms, 0)
    cache.get('a')
    for (let i = 0; i < 8; i++) cache.put(`more-${i}`, fragment('x'.repeat(4_000)), terms, 0)
    expect([cache.get('a') !== undefined, cache.get('b')]).toEqual([true, undefined])
  })
})
