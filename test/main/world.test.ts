/** Where programs are looked for, and ids made by chance. */
import { describe, expect, it } from 'vitest'
import { systemChance, withSystemDirectories } from '../../src/main/world.js'

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

describe('chance', () => {
  it('makes ids of the length that is asked for, none of them twice', () => {
    const ids = Array.from({ length: 2_000 }, () => systemChance.id(32))

    expect(new Set(ids).size).toBe(ids.length)
    for (const id of [...ids, systemChance.id(32)]) expect(id).toMatch(/^[0-9a-f]{32}$/)
    for (const length of [1, 7, 8_191, 8_192, 9_001]) expect(systemChance.id(length)).toHaveLength(length)
  })
})
