import { describe, expect, it } from 'vitest'
import { loose, violations } from '../../../src/cloud/invariants.js'
import { type Change, defaultSettings, put, remove } from '../../../src/cloud/records.js'
import { reachable, Wiring, wireAll } from '../../../src/cloud/wiring/wiring.js'
import { apply, mapOf } from '../../support/clouds.js'
import { aComponent, aMothership, anInstance, aRainServer } from '../../support/records.js'

const component = (id: string, version: string, uses: { component?: string; version?: string }[] = []): Change =>
  put('components', `${id}/${version}.0`, aComponent(id, version, { views: [{ id: 'index', uses }] }))
const inactive = (id: string, version: string): Change =>
  put('components', `${id}/${version}.0`, aComponent(id, version, { active: false }))
const instance = (id: string, on: readonly string[], version = '1.0.0'): Change =>
  put('instances', id, anInstance(id, on, { version }))
const hosts = (...ids: readonly string[]): Change[] => ids.map(id => put('motherships', id, aMothership(id)))
const reached = (given: readonly string[], ...changes: readonly Change[]): string[] =>
  reachable(mapOf(...changes), { urls: [...given] })

describe('what a rain server can reach', () => {
  const shop = [component('shop', '1.0'), component('shop', '1.1'), component('shop', '2.0'), component('news', '1.0')]

  it('is everything under `/*`, and the versions of a component under its name', () => {
    expect(reached(['/*'], ...shop)).toEqual(['news/1.0.0', 'shop/1.0.0', 'shop/1.1.0', 'shop/2.0.0'])
    expect(reached(['/shop/*'], ...shop)).toEqual(['shop/1.0.0', 'shop/1.1.0', 'shop/2.0.0'])
    expect(reached(['/news/index', '/ghost/*', '/'], ...shop)).toEqual(['news/1.0.0'])
  })

  it('is what a version fragment can mean, and all versions where the second part names a view', () => {
    expect(reached(['/shop/1/*'], ...shop)).toEqual(['shop/1.0.0', 'shop/1.1.0'])
    expect(reached(['/shop/2.0/index'], ...shop)).toEqual(['shop/2.0.0'])
    expect(reached(['/shop/1/*'], ...shop, inactive('shop', '1.2'))).toEqual(['shop/1.0.0', 'shop/1.1.0'])
    expect(reached(['/shop/1.2/*'], ...shop, inactive('shop', '1.2'))).toEqual(['shop/1.2.0'])
    expect(reached(['/shop/404'], ...shop)).toEqual(['shop/1.0.0', 'shop/1.1.0', 'shop/2.0.0'])
  })

  it('is also what pages hold, however deep and even in a circle', () => {
    const nested = [
      component('page', '1.0', [{ component: 'list' }]),
      component('list', '1.0', [{ component: 'item', version: '1' }, {}]),
      component('item', '1.0', [{ component: 'page' }]),
      component('item', '1.1'),
      component('item', '2.0'),
    ]
    expect(reached(['/page/*'], ...nested)).toEqual(['item/1.0.0', 'item/1.1.0', 'list/1.0.0', 'page/1.0.0'])
  })

  it('is everything active where only run time shows what a page holds', () => {
    const any = put(
      'components',
      'page/1.0.0',
      aComponent('page', '1.0', { views: [{ id: 'index', uses: [{ any: true }] }] }),
    )
    const expected = ['news/1.0.0', 'page/1.0.0', 'shop/1.0.0', 'shop/1.1.0', 'shop/2.0.0']
    expect(reached(['/page/*'], any, ...shop, inactive('shop', '3.0'))).toEqual(expected)
    expect(reached(['/news/*'], any, ...shop)).toEqual(['news/1.0.0'])
  })

  it('is every active version of a component that a page names without one', () => {
    const uses = [component('page', '1.0', [{ component: 'shop' }]), component('shop', '1.0'), component('shop', '3.0')]
    expect(reached(['/page/*'], ...uses, inactive('shop', '2.0'))).toEqual(['page/1.0.0', 'shop/1.0.0', 'shop/3.0.0'])
  })

  it('is all that answers intents, where the scripts of pages send them', () => {
    const intents = [{ category: 'c', action: 'a', provider: 'index' }]
    const meta = JSON.stringify({ id: 'chat', version: '1.0', views: { index: {} }, intents })
    const chat = put('components', 'chat/1.0.0', aComponent('chat', '1.0', { meta }))
    expect(reached(['/core/*'], ...shop, chat)).toEqual(['chat/1.0.0'])
    expect(reached(['/news/*'], ...shop, chat)).toEqual(['news/1.0.0'])
  })

  it.each(['errorComponent', 'loadingComponent'])('is also what stands in for others: %s', setting => {
    const settings = put('settings', '', { ...defaultSettings, [setting]: 'news' })
    expect(reached(['/shop/2/*'], ...shop, settings)).toEqual(['news/1.0.0', 'shop/2.0.0'])
  })
})

describe('wiring', () => {
  it('draws the partial graph of the pictures: a mothership and a rain server may stay alone', () => {
    const map = mapOf(
      ...hosts('m1', 'm2', 'm3'),
      component('comp1', '1.0'),
      component('comp2', '1.0'),
      instance('comp1.1', ['m1']),
      instance('comp2.1', ['m3']),
      ...[['/comp1/*'], ['/other/*'], ['/comp1/*', '/comp2/*'], ['/comp2/*']].map((given, i) =>
        put('rainservers', `r${i + 1}`, aRainServer(`r${i + 1}`, { urls: given })),
      ),
    )
    const wires = [...wireAll(map)].map(([id, { wires: all }]) => [id, ...all.map(each => each.mothership)])

    expect(wires).toEqual([['r1', 'm1'], ['r2'], ['r3', 'm1', 'm3'], ['r4', 'm3']])
  })

  it('names for each mothership what is reached there, and nothing on a mothership that is not registered', () => {
    const map = mapOf(
      ...hosts('m1', 'm2'),
      component('shop', '1.0'),
      component('news', '1.0'),
      instance('shop.a', ['m2', 'm9']),
      instance('news.a', ['m2', 'm1']),
      put('rainservers', 'r1', aRainServer('r1')),
    )
    const wiring = new Wiring(map)
    expect(wireAll(map).get('r1')!.wires).toEqual([{ mothership: 'm1' }, { mothership: 'm2' }])
    expect(wiring.through('r1', 'm1')).toEqual(['news/1.0.0'])
    expect(wiring.through('r1', 'm2')).toEqual(['news/1.0.0', 'shop/1.0.0'])
    expect([wiring.through('r1', 'm9'), wiring.through('r9', 'm1')]).toEqual([[], []])
  })

  it('satisfies the invariants once it is written, and a missing or leftover wire is noticed', () => {
    const map = mapOf(
      ...hosts('m1'),
      component('shop', '1.0'),
      instance('shop.a', ['m1']),
      put('rainservers', 'r1', aRainServer('r1')),
    )
    expect(loose(map)).toEqual(['rain server r1: shop/1.0.0 is on m1, wired to none'])
    apply(
      map,
      [...wireAll(map)].map(([id, wiring]) => put('wiring', id, wiring)),
    )
    expect([...loose(map), ...violations(map)]).toEqual([])
    apply(map, [remove('rainservers', 'r1')])
    expect(loose(map)).toEqual(['wiring of r1, which is not registered'])
  })
})
