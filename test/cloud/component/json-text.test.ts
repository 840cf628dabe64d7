import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { placesIn, readJson } from '../../../src/cloud/component/json-text.js'

const at = (text: string): unknown => {
  const reading = readJson(text)
  return reading.kind === 'good' ? 'good' : [reading.place.line, reading.place.column, reading.message]
}

describe('a JSON text', () => {
  it.each([
    ['{\n  "a": }', [2, 8, 'a value is expected here, not "}"']],
    ['{"a": 1', [1, 8, '`,` or `}` is expected here, not the end of the file']],
    ['{"a": 1,}', [1, 9, 'a name in double quotes is expected here, not "}"']],
    ['[1\n 2]', [2, 2, '`,` or `]` is expected here, not "2"']],
    ["{'a': 1}", [1, 2, 'a name in double quotes is expected here, not "\'"']],
    ['{"a": "b\n"}', [1, 9, 'a line break, a tab or another control character in a text']],
    ['{"a": "\\x"}', [1, 7, 'a text that does not end, or holds a wrong `\\`']],
    ['{} {}', [1, 4, 'there is more after the end of the value']],
    ['', [1, 1, 'a value is expected here, not the end of the file']],
    ['01', [1, 2, 'there is more after the end of the value']],
  ])('%j is told where it is none', (text, told) => expect(at(text)).toEqual(told))

  it('is told where its values are, and where the nearest one is that is there', () => {
    const placeOf = placesIn('{\n  "a": {"b/c": [1,\n 2]},\n"d~": 1}')
    expect(placeOf('/a')).toEqual({ line: 2, column: 3 })
    expect(placeOf('/a/b~1c/1')).toEqual({ line: 3, column: 2 })
    expect(placeOf('/a/b~1c/1/none')).toEqual({ line: 3, column: 2 })
    expect(placeOf('/d~0')).toEqual({ line: 4, column: 1 })
    expect(placeOf('/none')).toEqual({ line: 1, column: 1 })
  })

  it('is found wrong exactly where the language finds it wrong, whatever is broken in it', () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom('', '"', '{', ',', '\\', '\n', '1', '-', 'e'),
        (json, n, put) => {
          const where = n % (json.length + 1)
          const text = json.slice(0, where) + put + json.slice(where + 1)
          const reading = readJson(text)
          let good = true
          try {
            JSON.parse(text)
          } catch {
            good = false
          }
          expect(reading.kind === 'good').toBe(good)
          // The scanner's own words, not those of the language: it found a mistake in each.
          if (reading.kind === 'bad') expect(reading.message).toMatch(/expected here|in a text|does not end|more after/)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('may be nested deeper than any stack', () => {
    expect(at('['.repeat(100_000))).toEqual([1, 202, 'nested more than 200 deep'])
    expect(placesIn(`${'['.repeat(5_000)}${']'.repeat(5_000)}`)('/0/0')).toEqual({ line: 1, column: 3 })
  })
})
