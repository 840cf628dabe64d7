/** What the README says of options and errors is what the program does. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { statusOf } from '../src/api/problems.js'
import { type Code, codes } from '../src/cloud/errors.js'
import { environmentName, options } from '../src/config.js'

const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')
const rowsAfter = (heading: string): string[][] =>
  readme
    .slice(readme.indexOf(heading))
    .split('\n')
    .slice(1)
    .join('\n')
    .split(/\n## /)[0]!
    .split('\n')
    .filter(line => line.startsWith('| `'))
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim()),
    )

describe('the README', () => {
  it('has every option with its variable, roles, default and help', () => {
    const expected = options.map(({ flag, roles, default: standard, help }) => [
      `\`--${flag}\``,
      `\`${environmentName(flag)}\``,
      roles.join(', '),
      standard === undefined ? 'required' : standard === '' ? '–' : `\`${standard}\``,
      help,
    ])
    expect(rowsAfter('## Configuration')).toEqual(expected)
  })

  it('has every code of an error with its status', () => {
    const expected = (Object.keys(codes) as Code[]).map(code => [`\`${code}\``, String(statusOf[code]), codes[code]])
    expect(rowsAfter('## Errors')).toEqual(expected)
  })
})
