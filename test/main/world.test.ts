/** Where programs are looked for. */
import { describe, expect, it } from 'vitest'
import { withSystemDirectories } from '../../src/main/world.js'

describe('a search path', () => {
  it('finds system programs for who is not root', () => {
    expect(withSystemDirectories('/home/x/bin:/usr/bin')).toBe('/home/x/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin')
  })

  it('stays as it is where these are known, and has the usual ones where there was none', () => {
    const root = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    expect(withSystemDirectories(root)).toBe(root)
    expect(withSystemDirectories(undefined)).toBe('/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin')
  })
})
