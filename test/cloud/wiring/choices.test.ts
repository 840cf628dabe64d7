/** Which wires are chosen, how few they are, how few move, and what load has to say. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fewestWires } from '../../../bench/floors/wires.js'
import type { MemoryMap } from '../../../src/cloud/map.js'
import { type Change, defaultSettings, put, remove } from '../../../src/cloud/records.js'
import { wiringFaults } from '../../../src/cloud/wiring/check.js'
import { Wiring } from '../../../src/cloud/wiring/wiring.js'
import { apply, mapOf } from '../../support/clouds.js'
import {
  aComponent,
  aMothership,
  anInstance,
  aRainServer,
  motherships,
  running,
  session,
} from '../../support/records.js'

const copy = (component: string, on: string): Change[] => {
  const id = `${component}.${on}`
  return [put('instances', id, anInstance(id, [on])), running(on, id)]
}
const component = (id: string): Change => put('components', `${id}/1.0.0`, aComponent(id, '1.0'))
const redundancy = (count: number): Change =>
  put('settings', '', { ...defaultSettings, wiring: { ...defaultSettings.wiring, redundancy: count } })
const server = (id: string, urls = ['/*']): Change[] => [
  put('rainservers', id, aRainServer(id, { urls })),
  session('rainserver', id),
]

/** A cloud that is wired, and goes on being wired. */
class Wired {
  readonly map: MemoryMap
  readonly wiring: Wiring
  constructor(...changes: readonly Change[]) {
    this.map = mapOf(...changes)
    this.wiring = new Wiring(this.map)
    this.change()
  }

  /** How many wires came, and how many went. */
  change(...changes: readonly Change[]): { came: number; went: number } {
    this.wiring.note(apply(this.map, changes))
    const before = this.all()
    this.wiring.note(apply(this.map, this.wiring.plan()))
    expect(wiringFaults(this.map)).toEqual([])
    const after = this.all()
    return {
      came: [...after].filter(each => !before.has(each)).length,
      went: [...before].filter(each => !after.has(each)).length,
    }
  }

  all(): Set<string> {
    return new Set(
      [...this.map.all('wiring')].flatMap(([id, { value }]) => value.wires.map(each => `${id} ${each.mothership}`)),
    )
  }

  of(id: string): string {
    return (this.map.get('wiring', id)?.value.wires ?? []).map(each => each.mothership).join()
  }
}

const hosts = ['m1', 'm2', 'm3', 'm4', 'm5']

describe('a rain server', () => {
  it('is wired to those that serve before those that are to, and stays so when these serve as well', () => {
    const cloud = new Wired(
      ...[redundancy(2), component('news'), ...motherships(...hosts), ...server('r1')],
      ...hosts.flatMap(on => (on === 'm4' || on === 'm5' ? copy('news', on) : [copy('news', on)[0]!])),
    )
    expect(cloud.of('r1')).toBe('m4,m5')
    // Each further copy would be idle, so it is wired too; what was wired stays.
    expect(cloud.change(running('m1', 'news.m1'))).toEqual({ came: 1, went: 0 })
    expect(cloud.of('r1')).toBe('m1,m4,m5')
  })

  it('keeps a wire to what is away, and is covered without it', () => {
    const cloud = new Wired(
      ...[redundancy(2), component('news'), ...motherships(...hosts), ...server('r1'), ...server('r2')],
      ...hosts.slice(0, 4).flatMap(on => copy('news', on)),
    )
    const [first = ''] = cloud.of('r1').split(',')
    expect(cloud.of('r1').split(',')).toHaveLength(2)
    expect(cloud.change(remove('sessions', `mothership/${first}`))).toEqual({ came: 1, went: 0 })
    expect(cloud.of('r1').split(',')).toContain(first)
    const { came, went } = cloud.change(session('mothership', first))
    expect([came, went <= 1]).toEqual([0, true])
  })

  it('has another one before a mothership that drains has gone, and before a copy has moved', () => {
    const cloud = new Wired(
      ...[redundancy(1), component('news'), ...motherships('m1', 'm2'), ...server('r1'), ...copy('news', 'm1')],
    )
    cloud.change(put('instances', 'news.m1', anInstance('news.m1', ['m1'], { learners: ['m2'] })))
    expect(cloud.of('r1')).toBe('m1')
    const at = '2026-01-01T00:00:00.000Z'
    const move = { schema: 1, from: 'm1', to: 'm2', at, until: at, used: { cpu: 0, ram: 0, bandwidth: 0 } }
    cloud.change(put('moves', 'news.m1', move))
    expect(cloud.of('r1')).toBe('m1')
    cloud.change(put('instances', 'news.m1', anInstance('news.m1', ['m1', 'm2'])), running('m2', 'news.m1'))
    expect(cloud.of('r1')).toBe('m2')
    cloud.change(
      put('motherships', 'm2', aMothership('m2', { draining: { deadline: null } })),
      remove('moves', 'news.m1'),
    )
    expect(cloud.of('r1')).toBe('m1')
  })

  it('is wired anew from nothing by a reset, and no other one is', () => {
    const cloud = new Wired(
      ...[redundancy(1), component('news'), ...motherships('m1', 'm2'), ...server('r1', ['/news/*'])],
      ...copy('news', 'm1'),
    )
    cloud.change(component('shop'), ...copy('shop', 'm1'), ...copy('news', 'm2'), remove('sessions', 'rainserver/r1'))
    expect(cloud.of('r1')).toBe('m1')
    const warm = (id: string): number => (id === 'm1' ? 0.9 : 0)
    apply(cloud.map, [put('rainservers', 'r1', aRainServer('r1', { urls: ['/news/*'], generation: 1 }))])
    const [anew] = new Wiring(cloud.map).plan({ heatOf: warm })
    expect(anew?.value).toMatchObject({ wires: [{ mothership: 'm2' }], generation: 1 })
  })
})

/** Clouds in which there is a choice: many motherships, a few copies each. */
const choices = fc.record({
  copies: fc.array(fc.uniqueArray(fc.nat(23), { minLength: 1, maxLength: 7 }), { minLength: 4, maxLength: 30 }),
  servers: fc.array(fc.uniqueArray(fc.nat(29), { minLength: 1, maxLength: 14 }), { minLength: 2, maxLength: 8 }),
  k: fc.integer({ min: 1, max: 3 }),
})
type Choices = typeof choices extends fc.Arbitrary<infer Each> ? Each : never

const many = Array.from({ length: 24 }, (_, index) => `m${String(index).padStart(2, '0')}`)
const cloudOf = ({ copies, servers, k }: Choices): Wired =>
  new Wired(
    ...[redundancy(k), ...motherships(...many)],
    ...copies.flatMap((on, index) => [component(`c${index}`), ...on.flatMap(each => copy(`c${index}`, many[each]!))]),
    ...servers.flatMap((reached, index) =>
      server(
        `r${index}`,
        reached.map(each => `/c${each % copies.length}/*`),
      ),
    ),
  )

describe('the number of wires', () => {
  it('is, over generated clouds, at most 1.3 of what the wants of each rain server take at least, and of idle copies', () => {
    let [wires, fewest] = [0, 0]
    fc.assert(
      fc.property(choices, each => {
        const cloud = cloudOf(each)
        const { graph } = cloud.wiring
        wires += cloud.all().size
        let least = 0
        const used = new Set<number>()
        for (const { territory } of graph.servers.values()) {
          const wishes = territory.list
            .map(version => graph.hostsOf(version))
            .map(({ on }) => {
              for (const host of on) used.add(host)
              return { hosts: on, wanted: Math.min(each.k, on.length) }
            })
          least += fewestWires(wishes)
        }
        // Whoever has a copy that is reached has at least one wire.
        fewest += Math.max(least, used.size)
      }),
      { numRuns: 200, seed: 1 },
    )
    expect(wires / fewest).toBeLessThanOrEqual(1.3)
  })
})

const idleTwice: Choices = {
  copies: [[8, 4, 17], [16, 4], [0], [0], [0], [0, 8], [0], [0], [16], [0], [17], [4, 1, 0], [0]],
  servers: [[0, 6], [11, 18, 0], [1, 21, 18], [14, 2, 21, 11, 0, 5], [2]],
  k: 1,
}

describe('a change of the cloud', () => {
  it('moves few wires: those of a mothership that goes and their stead, of a copy what its coverage takes', () => {
    fc.assert(
      fc.property(choices, fc.nat(23), fc.nat(29), (each, host, version) => {
        const cloud = cloudOf(each)
        const id = many[host]!
        const at = cloud.map.instancesOn(id).size
        const wiredTo = [...cloud.all()].filter(wire => wire.endsWith(` ${id}`)).length
        const servers = each.servers.length
        // Away: each wire to it is made up for by what it covered, and none goes but what that makes superfluous: to
        // where a wire comes, those that were there for idle copies alone.
        const most = Math.max(...many.map(mothership => cloud.map.instancesOn(mothership).size))
        const gone = cloud.change(remove('sessions', `mothership/${id}`))
        expect(gone.came).toBeLessThanOrEqual(wiredTo * at + at)
        expect(gone.went).toBeLessThanOrEqual(gone.came * most)
        const back = cloud.change(session('mothership', id))
        expect(back.came).toBeLessThanOrEqual(at)
        expect(back.went).toBeLessThanOrEqual(gone.came + back.came + wiredTo)
        // A copy that comes: to it, at most one wire of each rain server; what goes, went for these.
        const index = version % each.copies.length
        const came = cloud.change(...copy(`c${index}`, id))
        expect(came.came).toBeLessThanOrEqual(servers)
        // A rain server that comes moves nobody's wires, but those that were there for idle copies alone.
        const others = new Set([...cloud.all()].filter(wire => !wire.startsWith('new ')))
        cloud.change(...server('new', [`/c${index}/*`]))
        expect([...cloud.all()].filter(wire => !wire.startsWith('new ') && !others.has(wire))).toEqual([])
      }),
      // One wire that comes, and two that were there for an idle copy each.
      { numRuns: 150, examples: [[idleTwice, 17, 0]] },
    )
  })
})

describe('load', () => {
  const cloud = (): Wired =>
    new Wired(
      ...[redundancy(1), component('news'), ...motherships('m1', 'm2', 'm3')],
      ...Array.from({ length: 18 }, (_, index) => server(`r${index}`, ['/news/*'])).flat(),
      ...['m1', 'm2', 'm3'].flatMap(on => copy('news', on)),
    )
  const wiredTo = ({ map }: Wired, host: string): number =>
    [...map.all('wiring')].filter(([, { value }]) => value.wires.some(each => each.mothership === host)).length

  it('does not move a wire by itself, however it changes', () => {
    const wired = cloud()
    for (const heat of [0, 0.5, 1]) {
      expect(wired.wiring.plan({ heatOf: id => (id === 'm1' ? heat : 1 - heat) })).toEqual([])
    }
  })

  it('draws new wires to where it is low, beside how many are there already', () => {
    const map = mapOf(
      ...[redundancy(1), component('news'), ...motherships('m1', 'm2', 'm3')],
      ...Array.from({ length: 30 }, (_, index) => server(`r${index}`, ['/news/*'])).flat(),
      ...['m1', 'm2', 'm3'].flatMap(on => copy('news', on)),
    )
    const wiring = new Wiring(map)
    wiring.note(apply(map, wiring.plan({ heatOf: id => (id === 'm1' ? 0.9 : 0.1) })))
    const counts = ['m1', 'm2', 'm3'].map(
      id => [...map.all('wiring')].filter(([, { value }]) => value.wires[0]!.mothership === id).length,
    )
    expect(counts[0]).toBeGreaterThan(0)
    expect(counts[0]).toBeLessThan(Math.min(counts[1]!, counts[2]!))
  })

  it('leaves no wire that is of no use beside one that moved', () => {
    const wires = (id: string, ...to: readonly string[]): Change =>
      put('wiring', id, { schema: 1, wires: to.map(mothership => ({ mothership })) })
    const more = Array.from({ length: 10 }, (_, index) => `s${index}`)
    const wired = new Wired(
      ...[redundancy(1), component('news'), component('shop'), ...motherships('m1', 'm2', 'm3')],
      ...[copy('news', 'm1'), copy('news', 'm2'), copy('shop', 'm2'), copy('shop', 'm3')].flat(),
      ...[...server('r1', ['/news/*', '/shop/*']), wires('r1', 'm1', 'm3')],
      ...[...server('r2', ['/news/*']), wires('r2', 'm2'), ...server('r3', ['/shop/*']), wires('r3', 'm2')],
      ...[...server('r4', ['/shop/*']), wires('r4', 'm3')],
      ...more.flatMap(id => [...server(id, ['/news/*']), wires(id, 'm1')]),
    )
    expect(wired.of('r1')).toBe('m1,m3')
    const measured = (id: string): number | undefined => ({ m1: 0.9, m2: 0.1 })[id]
    wired.change(...wired.wiring.plan({ move: { max: 10, measured } }))
    // The one to m2 has both.
    expect(wired.of('r1')).toBe('m2')
  })

  it('moves a few wires away from what is much warmer than the mean, half-way, and no more than may', () => {
    const wired = cloud()
    const before = wiredTo(wired, 'm1')
    expect(before).toBe(6)
    const measured = (id: string): number | undefined => (id === 'm1' ? 0.9 : id === 'm2' ? 0.1 : undefined)
    expect(wired.wiring.plan({ move: { max: 0, measured } })).toEqual([])
    const moved = wired.wiring.plan({ move: { max: 10, measured } })
    expect(moved).toHaveLength(1)
    wired.change(...moved)
    // Not to m3, which nobody measured.
    expect([wiredTo(wired, 'm1'), wiredTo(wired, 'm2'), wiredTo(wired, 'm3')]).toEqual([5, 7, 6])
    const even = (): number => 0.5
    expect(wired.wiring.plan({ move: { max: 10, measured: even } })).toEqual([])
  })
})
