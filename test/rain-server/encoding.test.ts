import { describe, expect, it } from 'vitest'
import { encodingFor, packs } from '../../src/rain-server/encoding.js'

describe('an encoding', () => {
  it.each([
    [undefined, 'identity'],
    ['', 'identity'],
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['x-gzip', 'gzip'],
    ['br;q=0.5, gzip;q=0.8', 'gzip'],
    ['br;q=0, gzip;q=0', 'identity'],
    ['*', 'br'],
    ['*;q=0.1, gzip;q=0.2', 'gzip'],
    ['identity', 'identity'],
    ['br;q=nonsense, gzip', 'gzip'],
  ])('for %s is %s', (accepted, encoding) => {
    expect(encodingFor(accepted, ['br', 'gzip'])).toBe(encoding)
  })

  it('is for texts only', () => {
    expect(['text/css; charset=utf-8', 'image/svg+xml', 'application/json'].map(packs)).toEqual([true, true, true])
    expect(['image/png', 'font/woff2', undefined].map(packs)).toEqual([false, false, false])
  })
})
