import { describe, expect, it } from 'vitest'
import type { WantedComponent } from '../../src/protocol/messages.js'
import { routeOf } from '../../src/rain-server/route.js'
import { nothingWanted, type ServerState } from '../../src/rain-server/wanted.js'

const version = (exact: string, more: Partial<WantedComponent> = {}): WantedComponent => ({
  id: 'news',
  version: exact.split('.').length === 2 ? `${exact}.0` : exact,
  exact,
  active: true,
  views: ['index', 'item', 'layout/flow'],
  copies: [],
  ...more,
})

const state = (versions: readonly WantedComponent[], urls: string[] = ['/*']): ServerState => ({
  ...nothingWanted,
  server: { ...nothingWanted.server, urls },
  components: new Map([['news', versions]]),
})

const news = state([
  version('1.2'),
  version('1.3.1'),
  version('1.3.5'),
  version('1.10'),
  version('2.0'),
  version('3.0', { active: false }),
])

/** `2.0/index` for a view, `css:2.0/a.css` for a file, the status for nothing. */
function to(path: string, of: ServerState = news): string | number {
  const route = routeOf(of, path)
  if (route.kind === 'none') return route.status
  const { exact } = route.component
  if (route.kind === 'view') return `${exact} ${route.view}`
  if (route.kind === 'socket') return `${exact} socket ${route.channel}`
  return `${exact} ${route.kind} ${route.kind === 'resource' ? route.path : route.name}`
}

describe('a path', () => {
  it.each([
    ['/news', '2.0 index'],
    ['/news/', '2.0 index'],
    ['/news/item', '2.0 item'],
    ['/news/item/', '2.0 item'],
    ['/news/layout/flow', '2.0 layout/flow'],
    ['/news/%69tem', '2.0 item'],
    ['/news/1.3.1/item', '1.3.1 item'],
    ['/news/1.3/item', '1.3.5 item'],
    ['/news/1/item', '1.10 item'],
    ['/news/1', '1.10 index'],
    ['/news/1.2/', '1.2 index'],
    ['/news/1.2.0/item', '1.2 item'],
    ['/news/1.10/layout/flow', '1.10 layout/flow'],
    ['/news/2.0/css/a.css', '2.0 resource css/a.css'],
    ['/news/js/deep/a.js', '2.0 resource js/deep/a.js'],
    ['/news/resources/a%20b.png', '2.0 resource resources/a b.png'],
    ['/news/1.2/locale/de', '1.2 resource locale/de'],
    ['/news/websockets/chat/room', '2.0 socket chat/room'],
    ['/news/1.2/websockets/dummy%20socket', '1.2 socket dummy socket'],
    ['/news/websockets', 404],
    ['/news/controller/save', '2.0 controller save'],
    ['/news/1.3/controller/a/b', '1.3.5 controller a/b'],
  ])('%s leads to %s', (path, expected) => {
    expect(to(path)).toBe(expected)
  })

  it.each([
    ['/', 404],
    ['', 404],
    ['/shop', 404],
    ['/constructor', 404],
    ['/news/other', 404],
    ['/news/2.4/index', 404],
    ['/news/1.2.3.4/index', 404],
    ['/news/v1/index', 404],
    ['/news/1.2/1.3/index', 404],
    ['/news//item', 404],
    ['/news/1.2//item', 404],
    ['/news/../news/item', 404],
    ['/news/css/../../server/data.js', 404],
    ['/news/css/%2e%2e/%2e%2e/meta.json', 404],
    ['/news/./item', 404],
    ['/news/css/a%5c..%5cb', 404],
    ['/news/css/a%00b', 404],
    ['/news/css', 404],
    ['/news/controller', 404],
    ['/news%2fitem', 400],
    ['/news/%', 400],
    ['/news/%ff', 400],
  ])('%s leads nowhere', (path, status) => {
    expect(to(path)).toBe(status)
  })

  it('leads to the version that is written exactly so, before it is taken for a fragment', () => {
    const both = state([version('1.3', { version: '1.3.0' }), version('1.3.5')])

    expect(to('/news/1.3/index', both)).toBe('1.3 index')
    expect(to('/news/1.3.0/index', both)).toBe('1.3 index')
    expect(to('/news/1/index', both)).toBe('1.3.5 index')
  })

  it('leads to a version that is not active only when it is named as a whole', () => {
    expect(to('/news/3.0/index')).toBe('3.0 index')
    expect(to('/news/3/index')).toBe(404)
    expect(to('/news', state([version('3.0', { active: false })]))).toBe(404)
  })

  it('leads to the highest version that runs, unless none does or it names another', () => {
    const copies = [{ instance: 'news.1', mothership: 'm1', epoch: 1 }]
    const deploying = state([version('1.2', { copies }), version('1.3', { copies }), version('2.0')])
    expect(to('/news', deploying)).toBe('1.3 index')
    expect(to('/news/1', deploying)).toBe('1.3 index')
    expect(to('/news/2', deploying)).toBe('2.0 index')
    expect(to('/news', state([version('1.2'), version('2.0')]))).toBe('2.0 index')
  })

  it('may name a view that looks like a version', () => {
    const errors = state([version('1.0', { views: ['404', 'default'] })])

    expect(to('/news/404', errors)).toBe('1.0 404')
    expect(to('/news/1.0/404', errors)).toBe('1.0 404')
    expect(to('/news/1', errors)).toBe(404)
  })

  it('leads only to what the patterns of this rain server name', () => {
    const some = state([version('1.0')], ['/news/item', '/news/1.0/*'])

    expect(['/news/item', '/news/1.0/index', '/news/1.0'].map(path => to(path, some))).toEqual([
      '1.0 item',
      '1.0 index',
      '1.0 index',
    ])
    expect(['/news', '/news/1/item', '/news/index'].map(path => to(path, some))).toEqual([404, 404, 404])
  })
})
