import { Compile } from 'typebox/compile'
import { describe, expect, it } from 'vitest'
import { RegisterRainServer } from '../../../src/cloud/commands.js'
import { put } from '../../../src/cloud/records.js'
import { backends, canRender, patternMatches, serversFor } from '../../../src/cloud/routing/routing.js'
import { mapOf } from '../../support/clouds.js'
import { aRainServer, session } from '../../support/records.js'

describe('routing', () => {
  it('matches a pattern exactly, or by the path before its star', () => {
    const matching = (pattern: string): string[] =>
      ['/', '/shop', '/shop/', '/shop/index', '/shop/a/b', '/shopping'].filter(path => patternMatches(pattern, path))

    expect(matching('/*')).toEqual(['/', '/shop', '/shop/', '/shop/index', '/shop/a/b', '/shopping'])
    expect(matching('/shop/*')).toEqual(['/shop', '/shop/', '/shop/index', '/shop/a/b'])
    expect(matching('/shop')).toEqual(['/shop'])
    expect(matching('/')).toEqual(['/'])
  })

  it('matches nothing that is no path', () => {
    expect(canRender({ urls: ['/*'] }, 'shop')).toBe(false)
    expect(canRender({ urls: ['/*'] }, '')).toBe(false)
  })

  it('finds the rain servers that can render a path', () => {
    const map = mapOf(
      put('rainservers', 'r2', aRainServer('r2')),
      put('rainservers', 'r1', aRainServer('r1', { urls: ['/news/*', '/shop/index'] })),
    )
    expect(serversFor(map, '/shop/index')).toEqual(['r1', 'r2'])
    expect(serversFor(map, '/shop/other')).toEqual(['r2'])
  })

  it('tells the balancer of every rain server and whether it is to be used', () => {
    const map = mapOf(
      put('rainservers', 'r3', aRainServer('r3')),
      put('rainservers', 'r2', aRainServer('r2', { draining: true })),
      put('rainservers', 'r1', aRainServer('r1')),
      session('rainserver', 'r1'),
      session('rainserver', 'r2'),
      session('mothership', 'r3'),
    )
    expect(backends(map).map(each => [each.id, each.state])).toEqual([
      ['r1', 'ready'],
      ['r2', 'draining'],
      ['r3', 'gone'],
    ])
    expect(backends(map)[0]).toEqual({ id: 'r1', address: 'http://r1.example:1', urls: ['/*'], state: 'ready' })
  })

  it('accepts at registration only patterns that can match', () => {
    const check = Compile(RegisterRainServer)
    const accepted = (url: string): boolean => check.Check({ address: 'http://r:1', urls: [url] })

    expect(['/', '/*', '/shop', '/shop/*', '/a/b/*'].filter(url => !accepted(url))).toEqual([])
    expect(['', 'shop', '*', '/sho*', '/*/x', '/a b', '/a?b', '/a/**'].filter(accepted)).toEqual([])
  })
})
