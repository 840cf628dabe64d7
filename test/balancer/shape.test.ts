import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stepsBetween } from '../../src/balancer/commands.js'
import { exactRows, prefixRows } from '../../src/balancer/maps.js'
import {
  addressOf,
  addressText,
  beginning,
  readTargets,
  readWeights,
  type Shape,
  sameFrame,
  shapeOf,
  type WantedTargets,
} from '../../src/balancer/shape.js'
import { covers, patternMatches, patternsFor } from '../../src/cloud/routing/routing.js'

const server = (id: string, port: number, urls: readonly string[] = ['/*'], draining = false) => ({
  id,
  host: '127.0.0.1',
  port,
  draining,
  urls,
})
const replica = (id: string, port: number) => ({ id, host: '127.0.0.1', port, draining: false })
const targets = (servers: WantedTargets['servers'], replicas = [replica('h1', 7010)]): WantedTargets => ({
  servers,
  replicas,
})
const idsOf = (shape: Shape, pattern: string): (string | null)[] =>
  shape.pages.find(each => each.pattern === pattern)!.slots.map(slot => slot?.id ?? null)

describe('a shape', () => {
  it('has a group for each pattern, with every server whose patterns cover it', () => {
    const shape = shapeOf(
      targets([server('r1', 1, ['/*']), server('r2', 2, ['/shop/*']), server('r3', 3, ['/shop/a'])]),
      4,
    )
    expect(shape.pages.map(each => each.pattern)).toEqual(['/*', '/shop/*', '/shop/a', null])
    expect(idsOf(shape, '/*')).toEqual(['r1', null, null, null])
    expect(idsOf(shape, '/shop/*')).toEqual(['r1', 'r2', null, null])
    expect(idsOf(shape, '/shop/a')).toEqual(['r1', 'r2', 'r3', null])
  })

  it('keeps each server in its slot while others come and go', () => {
    const three = shapeOf(targets([server('r1', 1), server('r2', 2), server('r3', 3)]), 4)
    const two = shapeOf(targets([server('r1', 1), server('r3', 3)]), 4, three)
    const back = shapeOf(targets([server('r0', 9), server('r1', 1), server('r3', 3)]), 4, two)
    expect(idsOf(two, '/*')).toEqual(['r1', null, 'r3', null])
    expect(idsOf(back, '/*')).toEqual(['r1', 'r0', 'r3', null])
  })

  it('grows when its slots are used up, and needs a reload for that', () => {
    const few = shapeOf(targets([server('r1', 1)]), 2)
    const many = shapeOf(targets([1, 2, 3, 4, 5].map(n => server(`r${n}`, n))), 2, few)
    expect(idsOf(many, '/*')).toHaveLength(8)
    expect(sameFrame(few, many)).toBe(false)
  })

  it('covers exactly the paths that the patterns say', () => {
    const segment = fc.constantFrom('a', 'b', 'ab')
    const path = fc.array(segment, { maxLength: 3 }).map(parts => `/${parts.join('/')}`)
    const pattern = fc.oneof(
      path,
      path.map(each => (each === '/' ? '/*' : `${each}/*`)),
    )
    fc.assert(
      fc.property(pattern, pattern, path, (wide, narrow, asked) => {
        if (covers(wide, narrow) && patternMatches(narrow, asked)) expect(patternMatches(wide, asked)).toBe(true)
      }),
    )
  })

  it('keeps each pattern in its group, and gives a new one a group that was free before', () => {
    const patterns = (...urls: string[]) => targets([server('r1', 1, urls)])
    const names = (shape: Shape) => shape.pages.map(each => each.pattern)
    const first = shapeOf(patterns('/a', '/b'), 4)
    const second = shapeOf(patterns('/b', '/c'), 4, first)
    expect(names(first)).toEqual(['/a', '/b', null, null])
    expect(names(second)).toEqual([null, '/b', '/c', null])
    expect(sameFrame(first, second)).toBe(true)
    const many = shapeOf(patterns('/b', '/c', '/d', '/e'), 4, second)
    expect(names(many)).toEqual(['/d', '/b', '/c', '/e', null, null, null, null])
    expect(sameFrame(second, many)).toBe(false)
  })

  it('begins with who is known to be good, or known by name only', () => {
    const named = { ...server('r3', 3), host: 'r3.example' }
    const shape = shapeOf(targets([server('r1', 1), server('r2', 2), named]), 4)
    expect(idsOf(beginning(shape, new Set([addressText('127.0.0.1', 2)])), '/*')).toEqual([null, 'r2', 'r3', null])
  })

  it('leaves out of a hint what is no weight', () => {
    const read = readWeights({ a: 50.4, b: 0, c: 257, d: Number.NaN, e: 256 })
    expect([...read]).toEqual([
      ['a', 50],
      ['e', 256],
    ])
  })
})

describe('the maps', () => {
  it('send a path where its most specific pattern says', () => {
    const segment = fc.constantFrom('a', 'b', 'ab')
    const path = fc.array(segment, { maxLength: 3 }).map(parts => `/${parts.join('/')}`)
    const pattern = fc.oneof(
      path,
      path.map(each => (each === '/' ? '/*' : `${each}/*`)),
    )
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 6 }), path, (patterns, asked) => {
        const shape = shapeOf(targets([server('r1', 1, patterns)]), 2)
        // As HAProxy looks it up.
        const exact = new Map(exactRows(shape)).get(asked)
        const prefixes = prefixRows(shape).filter(([prefix]) => asked.startsWith(prefix))
        const longest = prefixes.sort(([a], [b]) => b.length - a.length)[0]?.[1]
        const group = shape.pages.find(each => each.name === (exact ?? longest))
        expect(group?.pattern).toBe(patternsFor(patterns, asked)[0])
      }),
    )
  })
})

describe('commands', () => {
  const one = shapeOf(targets([server('r1', 1)]), 2)
  const maps = { exact: '#0', prefix: '#1' }
  const nobody = new Set<string>()
  const between = (before: Shape, after: Shape, up: ReadonlySet<string> = nobody) => {
    const { first, second } = stepsBetween(before, after, up, maps)
    return [...first, ...second]
  }

  it('fill a slot that counts as down until its first check, park it, move it, weigh it', () => {
    const two = shapeOf(targets([server('r1', 1), server('r2', 2)]), 2, one)
    const fill = (slot: string, port: number) => [
      `set server ${slot} addr 127.0.0.1 port ${port}`,
      `enable health ${slot}`,
      `set server ${slot} weight 100`,
      `set server ${slot} state drain`,
      `set server ${slot} health down`,
      `set server ${slot} state ready`,
    ]
    expect(between(one, two)).toEqual(fill('pages-1/s2', 2))
    expect(between(two, one)).toEqual(['set server pages-1/s2 state maint'])
    expect(between(two, two)).toEqual([])
    const moved = shapeOf(targets([server('r1', 5)]), 2, one)
    expect(between(one, moved)).toEqual(['set server pages-1/s1 state maint', ...fill('pages-1/s1', 5)])
  })

  it('drain by a weight of 0, and say another weight when there is one', () => {
    const drained = shapeOf(targets([server('r1', 1, ['/*'], true)]), 2, one)
    expect(between(one, drained)).toEqual(['set server pages-1/s1 weight 0'])
    expect(between(drained, shapeOf(targets([server('r1', 1)]), 2, drained, new Map([['r1', 30]])))).toEqual([
      'set server pages-1/s1 weight 30',
    ])
  })

  it('send a new pattern to its group once that is filled, and empty a group once nothing is sent there', () => {
    const more = shapeOf(targets([server('r1', 1, ['/*', '/a;b\\c'])]), 2, one)
    const up = new Set([addressText('127.0.0.1', 1)])
    expect(between(one, more, up)).toEqual([
      'set server pages-2/s1 addr 127.0.0.1 port 1',
      'enable health pages-2/s1',
      'set server pages-2/s1 weight 100',
      'set server pages-2/s1 state ready',
      'add map #0 /a\\;b\\\\c pages-2',
    ])
    expect(between(more, one, up)).toEqual(['del map #0 /a\\;b\\\\c', 'set server pages-2/s1 state maint'])
  })

  it('wait for a first check between the steps where a group has nobody else', () => {
    const at = (port: number) => addressText('127.0.0.1', port)
    const other = shapeOf(targets([server('r2', 2)]), 2, one)
    const up = new Set([at(1)])
    const steps = stepsBetween(one, other, up, maps)
    expect(steps.awaited).toEqual([['pages-1/s2']])
    expect(steps.second).toEqual(['set server pages-1/s1 state maint'])
    expect(stepsBetween(one, shapeOf(targets([server('r1', 1), server('r2', 2)]), 2, one), up, maps).awaited).toEqual(
      [],
    )
    expect(stepsBetween(one, one, nobody, maps).awaited).toEqual([])
  })

  it('change replicas as they change rain servers', () => {
    const more = shapeOf(targets([server('r1', 1)], [replica('h1', 7010), replica('h2', 7011)]), 2, one)
    expect(between(one, more)[0]).toBe('set server api/s2 addr 127.0.0.1 port 7011')
  })
})

describe('what the hypervisor wants', () => {
  it('is read entry by entry; what cannot be read or dialled is told', () => {
    const good = { id: 'r1', address: 'http://127.0.0.1:7050', urls: ['/*'], state: 'draining' }
    const { targets: read, refused } = readTargets(
      new Map<string, unknown>([
        ['rainservers/r1', good],
        ['rainservers/r2', { ...good, id: 'r2', address: 'http://a b:1' }],
        ['rainservers/r3', { ...good, id: 'r3', address: 'https://127.0.0.1:1' }],
        ['rainservers/r4', { ...good, id: 'r4', urls: ['/a\u0000', '/b c'] }],
        ['replicas/h1', { id: 'h1', url: 'http://[::1]:7010' }],
        ['replicas/h2', { id: 'h2' }],
        ['weather', 'rain'],
      ]),
    )
    const r1 = { id: 'r1', host: '127.0.0.1', port: 7050, draining: true, urls: ['/*'] }
    expect(read.servers).toEqual([r1, { ...r1, id: 'r4', urls: [] }])
    expect(read.replicas).toEqual([{ id: 'h1', host: '::1', port: 7010, draining: false }])
    expect(refused.map(each => each.key)).toEqual([
      'rainservers/r2',
      'rainservers/r3',
      'rainservers/r4',
      'rainservers/r4',
      'replicas/h2',
      'weather',
    ])
  })

  it('cannot put anything but an address into the configuration', () => {
    const hostile = [
      'http://x\n:1',
      'http://"x":1',
      'http://x;y:1',
      'ftp://x:1',
      'http://-x:1',
      'nothing',
      'http://x y',
    ]
    expect(hostile.map(addressOf).filter(each => each !== undefined && !/^[\w.-]+$/.test(each.host))).toEqual([])
  })
})
