import { describe, expect, it } from 'vitest'
import { loose, overbooked, violations } from '../../src/cloud/invariants.js'
import { type Change, put } from '../../src/cloud/records.js'
import { mapOf } from '../support/clouds.js'
import { aComponent, aMothership, anInstance, motherships, running } from '../support/records.js'

const sound: Change[] = [
  ...motherships('m1', 'm2'),
  put('components', 'news/1.0.0', aComponent('news')),
  put('instances', 'news.a', anInstance('news.a', ['m1', 'm2'])),
  running('m1', 'news.a'),
]
const broken = (change: Change): string[] => violations(mapOf(...sound, change))

describe('the invariants', () => {
  it('hold for a sound map', () => {
    const map = mapOf(...sound)
    expect([...violations(map), ...loose(map), ...overbooked(map)]).toEqual([])
  })

  it('name what is wrong with an instance', () => {
    const b = (more: object): Change => put('instances', 'news.b', anInstance('news.b', ['m1'], more))

    expect(broken(b({ primary: 'm2' }))).toEqual(['instance news.b: primary m2 is not in sync'])
    expect(broken(b({ learners: ['m1'] }))).toEqual(['instance news.b: has two roles on one of m1, m1'])
    expect(broken(b({ version: '3.0.0' }))).toEqual(['instance news.b: is of news/3.0.0, which is not registered'])
    expect(broken(b({ learners: ['m9'] }))).toEqual(['instance news.b: has a copy on m9, which is not registered'])
    expect(broken(b({ placement: { antiAffinity: 'component' } }))).toEqual([
      'instance news.b: wants to be alone on m1, where news.a is too',
    ])
  })

  it('name a record under a key that is not its own', () => {
    expect(broken(put('components', 'news/1.0.1', aComponent('news')))).toEqual(['component news/1.0.1: is news/1.0.0'])
    expect(broken(put('motherships', 'm3', aMothership('m4')))).toEqual(['motherships m3: is m4'])
  })

  it('name what a pass has to mend, and motherships that gave away too much', () => {
    expect(loose(mapOf(...sound, running('m1', 'news.gone')))).toEqual(['observed m1/news.gone: there is no such copy'])
    const small = put('motherships', 'm1', aMothership('m1', { capacity: { cpu: 50, ram: 4096, bandwidth: 10 } }))
    expect(overbooked(mapOf(...sound, small))).toEqual(['mothership m1: 100 of cpu reserved, 50 may be'])
  })
})
