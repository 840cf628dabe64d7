import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readPluralForms } from '../../../src/cloud/translation/plural.js'

const forms = (header: string, numbers: readonly number[]): number[] => {
  const reading = readPluralForms(header)
  if (reading.kind === 'bad') throw new Error(reading.message)
  return numbers.map(n => reading.forms.formOf(n))
}

describe('the plural form', () => {
  it.each([
    ['German', 'nplurals=2; plural=n != 1;', [0, 1, 2], [1, 0, 1]],
    ['French', 'nplurals=2; plural=(n > 1);', [0, 1, 2], [0, 0, 1]],
    ['Japanese', 'nplurals=1; plural=0', [0, 1, 5], [0, 0, 0]],
    [
      'Polish',
      'nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);',
      [1, 2, 4, 5, 12, 22, 25, 112],
      [0, 1, 1, 2, 2, 1, 2, 2],
    ],
    [
      'Romanian',
      'nplurals=3; plural=(n==1 ? 0 : (n==0 || (n%100 > 0 && n%100 < 20)) ? 1 : 2);',
      [0, 1, 2, 19, 20, 101],
      [1, 0, 1, 1, 2, 1],
    ],
    [
      'Arabic',
      'nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5;',
      [0, 1, 2, 3, 11, 100],
      [0, 1, 2, 3, 4, 5],
    ],
    ['whoever divides by nothing', 'nplurals=2; plural=n/0 + n%0;', [3], [0]],
    ['whoever says more than there are', 'nplurals=2; plural=n;', [7], [1]],
    ['whoever negates', 'nplurals=2; plural=!(n==1);', [1, 2], [0, 1]],
  ])('is that of %s', (_name, header, numbers, expected) => {
    expect(forms(header, numbers)).toEqual(expected)
  })

  it('is what the expression says, whatever it is', () => {
    interface Pair {
      readonly c: string
      readonly js: string
    }
    const logical = (operator: string): boolean => operator === '&&' || operator === '||'
    const expression = fc.letrec<{ whole: Pair }>(tie => ({
      whole: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('n', '0', '1', '2', '10', '100').map(c => ({ c, js: c })),
        fc
          .tuple(
            tie('whole'),
            fc.constantFrom('==', '!=', '<', '>', '<=', '>=', '+', '-', '*', '&&', '||'),
            tie('whole'),
          )
          .map(([a, operator, b]) => ({
            c: `(${a.c} ${operator} ${b.c})`,
            js: logical(operator)
              ? `Number(${a.js} !== 0 ${operator} ${b.js} !== 0)`
              : `Number(${a.js} ${operator} ${b.js})`,
          })),
        fc.tuple(tie('whole'), tie('whole'), tie('whole')).map(([a, b, c]) => ({
          c: `(${a.c} ? ${b.c} : ${c.c})`,
          js: `(${a.js} ? ${b.js} : ${c.js})`,
        })),
      ),
    })).whole
    fc.assert(
      fc.property(
        expression.filter(({ c }) => c.length < 900),
        fc.nat({ max: 200 }),
        ({ c, js }, n) => {
          const found = Number(new Function('n', `return ${js}`)(n))
          expect(forms(`nplurals=10; plural=${c};`, [n])[0]).toBe(Math.min(9, Math.max(0, found)))
        },
      ),
    )
  })

  it.each([
    ['nothing', ''],
    ['no expression', 'nplurals=2;'],
    ['no form', 'nplurals=0; plural=0;'],
    ['too many forms', 'nplurals=99; plural=0;'],
    ['code', 'nplurals=2; plural=process.exit(1);'],
    ['half a choice', 'nplurals=2; plural=n ? 1;'],
    ['an open bracket', 'nplurals=2; plural=(n != 1;'],
    ['one number after another', 'nplurals=2; plural=1 2;'],
    ['an operator too much', 'nplurals=2; plural=n == ;'],
  ])('of %s is refused with why', (_name, header) => {
    expect(readPluralForms(header)).toEqual({ kind: 'bad', message: expect.stringMatching(/^Plural-Forms /) })
  })
})
