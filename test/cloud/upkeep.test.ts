/** Which instances the leader need not look at. */
import { describe, expect, it } from 'vitest'
import { settled, stays } from '../../src/cloud/decide/upkeep.js'
import { put } from '../../src/cloud/records.js'
import { mapOf } from '../support/clouds.js'
import { aMothership, anInstance, session } from '../support/records.js'

describe('an instance', () => {
  const here = [put('motherships', 'm1', aMothership('m1')), session('mothership', 'm1')]
  const on = (...copies: [string, ...string[]]) => put('instances', 'news.1', anInstance('news.1', copies))

  it('stays where it is while its motherships are connected and keep it', () => {
    const draining = put('motherships', 'm1', aMothership('m1', { draining: { deadline: null } }))

    expect(stays(mapOf(...here, on('m1')), 'news.1')).toBe(true)
    expect(stays(mapOf(...here), 'news.1')).toBe(true)
    expect(stays(mapOf(on('m1')), 'news.1')).toBe(false)
    expect(stays(mapOf(here[0]!, on('m1')), 'news.1')).toBe(false)
    expect(stays(mapOf(...here, draining, on('m1')), 'news.1')).toBe(false)
    expect(stays(mapOf(...here, on('m1', 'm2')), 'news.1')).toBe(false)
  })

  it('is settled with all the copies that it asks for, admitted', () => {
    const one = anInstance('news.1', ['m1'])
    const asks = { ...one, placement: { copies: 2 } }
    const learns = { ...one, learners: ['m2'] }

    expect([one, asks, learns].map(each => settled(mapOf(put('instances', 'news.1', each)), 'news.1'))).toEqual([
      true,
      false,
      false,
    ])
  })
})
