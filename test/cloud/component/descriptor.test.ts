import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readDescriptor } from '../../../src/cloud/component/descriptor.js'

const problems = (text: string): string =>
  JSON.stringify((reading => (reading.kind === 'bad' ? reading.errors : 'good'))(readDescriptor(text)))

describe('a descriptor', () => {
  it('is taken with unknown fields, empty views and without views', () => {
    for (const more of [{}, { views: {} }, { views: { index: {} } }, { other: 1, need: { cpu: 5 } }]) {
      expect(problems(JSON.stringify({ id: 'news', version: '1.0', ...more }))).toBe('"good"')
    }
  })

  it('says line and column where it is not JSON', () => {
    expect(problems('{\n  "id": "a"\n  "version": "1.0"\n}')).toContain('line 3, column 3')
  })

  it.each([
    [{ version: '1.0' }, '/id'],
    [{ id: '', version: '1.0' }, '/id'],
    [{ id: 'all', version: '1.0' }, '/id'],
    [{ id: 'a.b', version: '1.0' }, '/id'],
    [{ id: 'news' }, '/version'],
    [{ id: 'news', version: 1 }, 'a string: \\"1\\"'],
    [{ id: 'news', version: 'v1.0' }, '/version'],
    [{ id: 'news', version: '1.0', placement: { copies: 0 } }, '/placement/copies'],
    [{ id: 'news', version: '1.0', need: { cpu: -1 } }, '/need/cpu'],
  ])('%j is refused and names %s', (fields, named) => expect(problems(JSON.stringify(fields))).toContain(named))

  it('tells how a historic form is written today', () => {
    expect(problems('{"id": "app;1.0"}')).toContain('\\"id\\": \\"app\\", \\"version\\": \\"1.0\\"')
    expect(problems('{"moduleId": "app;1.0"}')).toContain('/moduleId')
  })

  it('is told apart from an unfilled template', () => {
    expect(problems('{"id": "{{component_name}}", "version": "{{v}}"}')).toContain('unfilled template')
  })
})

const corpus = join(
  process.env['RAIN_DATA'] ?? join(import.meta.dirname, '../../../../shared/data'),
  'rainjs-descriptors',
)

describe.skipIf(!existsSync(corpus))('the corpus of historic descriptors (needs RAIN_DATA)', () => {
  it('is accepted and refused as its index says', () => {
    const [head, ...rows] = readFileSync(join(corpus, 'INDEX.csv'), 'utf8')
      .trim()
      .split('\n')
      .map(line => line.split(','))
    const column = (name: string): number => head!.indexOf(name)
    const counts = { accepted: 0, unfilled: 0, refused: 0 }
    const wrong: string[] = []
    for (const row of rows) {
      const file = row[column('file')]!
      const taken = row[column('accepted_by_rainjs_0_34')] === 'yes'
      const path = [file, `history/${file}`].map(each => join(corpus, each)).find(existsSync)!
      const reading = readDescriptor(readFileSync(path, 'utf8'))
      const unfilled =
        reading.kind === 'bad' && reading.errors.some(each => each.message.startsWith('unfilled template'))
      if (reading.kind === 'good') counts.accepted++
      else if (unfilled && taken) counts.unfilled++
      else counts.refused++
      if ((reading.kind === 'good' || (unfilled && taken)) !== taken) wrong.push(`${file}: ${JSON.stringify(reading)}`)
    }
    expect(wrong).toEqual([])
    expect(counts).toEqual({ accepted: 137, unfilled: 8, refused: 53 })
  })
})
