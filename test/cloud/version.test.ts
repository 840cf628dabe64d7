import { describe, expect, it } from 'vitest'
import { compareVersions, normaliseVersion, resolveVersion } from '../../src/cloud/version.js'

const registered = (...versions: string[]) => versions.map(exact => ({ exact, version: normaliseVersion(exact)! }))

describe('a version', () => {
  it.each([
    ['1.0', '1.0.0'],
    ['1.2.3', '1.2.3'],
    ['01.2', '1.2.0'],
  ])('%s is normalised to %s', (text, normalised) => expect(normaliseVersion(text)).toBe(normalised))

  it.each(['1', '1.2.3.4', 'v1.0', '1.2-beta', '', '1.', '.1', '1.0 '])('%j is none', text =>
    expect(normaliseVersion(text)).toBeUndefined(),
  )

  it('is compared by number', () => {
    expect(compareVersions('1.10.0', '1.9.0')).toBeGreaterThan(0)
    expect(compareVersions('1.2.0', '1.2.0')).toBe(0)
  })
})

describe('a fragment', () => {
  it.each([
    ['1.3', ['1.2', '1.3.1', '1.3.5', '2.0'], '1.3.5'],
    ['2', ['1.5.14', '2.0', '2.1'], '2.1'],
    ['1.5.2', ['1.5', '1.5.2', '1.5.3'], '1.5.2'],
    ['2.4', ['1.3', '2.1', '3.5'], undefined],
    [undefined, ['1.9', '1.10', '1.2'], '1.10'],
    ['1.0', ['1.0.3', '1.0'], '1.0'],
    ['1.0', ['1.0.3', '1.0.0'], '1.0.3'],
    ['x', ['1.0'], undefined],
    [undefined, [], undefined],
  ])('%s of %j means %s', (fragment, versions, expected) => {
    expect(resolveVersion(fragment, registered(...versions))?.exact).toBe(expected)
  })
})
