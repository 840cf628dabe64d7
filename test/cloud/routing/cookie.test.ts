import { describe, expect, it } from 'vitest'
import { dynamicCookie, xxh64 } from '../../../src/cloud/routing/cookie.js'

/** The test against HAProxy itself is with the director's. */
describe('the cookie of a rain server', () => {
  it('rests on XXH64, short and long', () => {
    expect(xxh64(Buffer.from('')).toString(16)).toBe('ef46db3751d8e999')
    expect(xxh64(Buffer.from('a')).toString(16)).toBe('d24ec4f1a98c6e5b')
    expect(xxh64(Buffer.from('Nobody inspects the spammish repetition')).toString(16)).toBe('fbcea83c8a378bf1')
  })

  it('is as HAProxy 2.6 made it', () => {
    expect(dynamicCookie('rain', '127.0.0.1', 28113)).toBe('1e016da436475ecd')
  })

  it('is one for each way to write an address', () => {
    const all = ['::1', '0:0:0:0:0:0:0:1', '0::0.0.0.1'].map(host => dynamicCookie('rain', host, 80))
    expect(new Set(all).size).toBe(1)
    expect(all[0]).not.toBe(dynamicCookie('rain', '::2', 80))
  })

  it('is not known for a host by name', () => {
    expect(dynamicCookie('rain', 'localhost', 80)).toBeUndefined()
  })
})
