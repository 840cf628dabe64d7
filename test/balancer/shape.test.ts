import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addressOf,
  commandsBetween,
  covers,
  readTargets,
  type Shape,
  sameFrame,
  shapeOf,
  type WantedTargets,
} from '../../src/balancer/shape.js'
import { patternMatches } from '../../src/cloud/routing/routing.js'

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
    expect(shape.pages.map(each => each.pattern)).toEqual(['/*', '/shop/*', '/shop/a'])
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
})

describe('commands', () => {
  const one = shapeOf(targets([server('r1', 1)]), 2)
  const group = one.pages[0]!.name

  it('fill a slot, park it, move it, drain it, and say nothing when nothing changed', () => {
    const two = shapeOf(targets([server('r1', 1), server('r2', 2)]), 2, one)
    const fill = [
      `set server ${group}/s2 addr 127.0.0.1 port 2`,
      `enable health ${group}/s2`,
      `set server ${group}/s2 state ready`,
    ]
    expect(commandsBetween(one, two)).toEqual(fill)
    expect(commandsBetween(two, one)).toEqual([`set server ${group}/s2 state maint`])
    expect(commandsBetween(two, two)).toEqual([])
    const drained = shapeOf(targets([server('r1', 1, ['/*'], true)]), 2, one)
    expect(commandsBetween(one, drained)).toEqual([`set server ${group}/s1 state drain`])
    const moved = shapeOf(targets([server('r1', 5)]), 2, one)
    expect(commandsBetween(one, moved)).toEqual([
      `set server ${group}/s1 state maint`,
      `set server ${group}/s1 addr 127.0.0.1 port 5`,
      `enable health ${group}/s1`,
      `set server ${group}/s1 state ready`,
    ])
  })

  it('change replicas as they change rain servers', () => {
    const more = shapeOf(targets([server('r1', 1)], [replica('h1', 7010), replica('h2', 7011)]), 2, one)
    expect(commandsBetween(one, more)[0]).toBe('set server api/s2 addr 127.0.0.1 port 7011')
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
