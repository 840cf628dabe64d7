import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { Compile } from 'typebox/compile'
import { describe, expect, it } from 'vitest'
import type { NodeRef } from '../../src/cloud/ids.js'
import { type Entry, MemoryMap } from '../../src/cloud/map.js'
import { type Change, defaultSettings, type Kind, put, remove } from '../../src/cloud/records.js'
import { TicketOffice } from '../../src/hypervisor/tickets.js'
import { roleOn, wantedFor, wantedKinds } from '../../src/hypervisor/wanted.js'
import {
  WantedBackend,
  WantedComponent,
  WantedInstance,
  WantedKeys,
  WantedReplica,
  WantedServer,
  WantedWire,
} from '../../src/protocol/messages.js'
import { checkTicket } from '../../src/protocol/ticket.js'
import { apply, mapOf } from '../support/clouds.js'
import { aComponent, aMothership, anInstance, aRainServer, motherships, running } from '../support/records.js'

const m1: NodeRef = { kind: 'mothership', id: 'm1' }
const r1: NodeRef = { kind: 'rainserver', id: 'r1' }
const b1: NodeRef = { kind: 'balancer', id: 'b1' }

const ticket = (who: NodeRef, toWhom: NodeRef): string => `${who.id} to ${toWhom.id}`
const wanted = (map: MemoryMap, node: NodeRef): Record<string, unknown> =>
  Object.fromEntries(wantedFor(map, node, ticket))

const pair = generateKeyPairSync('ed25519')
const key = {
  id: 'k-1',
  privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
}
const keys = put('keys', '', { schema: 1, keys: [key] })
const news = put(
  'components',
  'news/1.0.0',
  aComponent('news', '1.0', { digest: `sha256:${'b'.repeat(64)}`, size: 77 }),
)

/** What a key of a wanted state must look like, by its beginning. */
const shapes = {
  instances: Compile(WantedInstance),
  keys: Compile(WantedKeys),
  server: Compile(WantedServer),
  components: Compile(WantedComponent),
  wires: Compile(WantedWire),
  rainservers: Compile(WantedBackend),
  replicas: Compile(WantedReplica),
} as const

describe('what is wanted of a mothership', () => {
  it('is every instance with a copy there, by its role, and the keys that verify tickets', () => {
    const map = mapOf(
      keys,
      news,
      ...motherships('m1', 'm2', 'm3'),
      put('instances', 'news.1', anInstance('news.1', ['m1'], { epoch: 3, generation: 2 })),
      put('instances', 'news.2', anInstance('news.2', ['m2', 'm1'])),
      put('instances', 'news.3', anInstance('news.3', ['m2'], { learners: ['m1'] })),
      put('instances', 'news.4', anInstance('news.4', ['m2'])),
    )
    const state = wanted(map, m1)

    expect(Object.keys(state)).toEqual(['instances/news.1', 'instances/news.2', 'instances/news.3', 'keys'])
    expect(state['instances/news.1']).toEqual({
      component: 'news',
      version: '1.0.0',
      digest: `sha256:${'b'.repeat(64)}`,
      size: 77,
      role: 'primary',
      epoch: 3,
      generation: 2,
      since: map.get('instances', 'news.1')!.created,
      isolation: 'shared',
      need: { cpu: 100, ram: 64, bandwidth: 10 },
    })
    expect(state['instances/news.2']).toMatchObject({ role: 'backup' })
    expect(state['instances/news.3']).toMatchObject({ role: 'learner' })
  })

  it('holds no private key', () => {
    const state = wanted(mapOf(keys, ...motherships('m1')), m1)
    expect(state['keys']).toEqual({ keys: [{ id: 'k-1', publicKey: key.publicKey }] })
    expect(JSON.stringify(state)).not.toContain('PRIVATE')
  })

  it('is nothing but keys for one that holds nothing, or that there is not', () => {
    expect(wanted(mapOf(news), m1)).toEqual({ keys: { keys: [] } })
  })

  it('leaves out an instance whose version is not there', () => {
    const map = mapOf(...motherships('m1'), put('instances', 'ghost.1', anInstance('ghost.1', ['m1'])))
    expect(Object.keys(wanted(map, m1))).toEqual(['keys'])
  })

  it('changes with a refresh and a new epoch, and not with what other motherships do', () => {
    const map = mapOf(news, ...motherships('m1', 'm2'), put('instances', 'news.1', anInstance('news.1', ['m1'])))
    const before = JSON.stringify(wanted(map, m1))
    apply(map, [put('instances', 'news.2', anInstance('news.2', ['m2'])), running('m1', 'news.1')])
    expect(JSON.stringify(wanted(map, m1))).toBe(before)
    apply(map, [put('instances', 'news.1', anInstance('news.1', ['m1'], { generation: 1 }))])
    expect(JSON.stringify(wanted(map, m1))).not.toBe(before)
  })
})

describe('what is wanted of a rain server', () => {
  const withServer = (...changes: Change[]): MemoryMap =>
    mapOf(
      news,
      ...motherships('m1', 'm2'),
      put('rainservers', 'r1', aRainServer('r1', { urls: ['/news/*'], generation: 4 })),
      put('instances', 'news.1', anInstance('news.1', ['m2', 'm1'])),
      put('instances', 'news.2', anInstance('news.2', ['m1'])),
      ...changes,
    )

  it('is itself, the components that its urls reach with the copies that run, and its wires with tickets', () => {
    const map = withServer(
      running('m1', 'news.1'),
      running('m2', 'news.1'),
      put('components', 'shop/1.0.0', aComponent('shop')),
      put('wiring', 'r1', { schema: 1, wires: [{ mothership: 'm1' }] }),
    )
    const state = wanted(map, r1)

    expect(Object.keys(state)).toEqual(['server', 'components/news/1.0.0', 'wires/m1'])
    expect(state['server']).toEqual({
      urls: ['/news/*'],
      generation: 4,
      fragmentDeadlineMs: defaultSettings.fragmentDeadlineMs,
      pageDeadlineMs: defaultSettings.pageDeadlineMs,
      errorComponent: null,
      loadingComponent: null,
      languages: { default: 'en_US', offered: [] },
    })
    expect(state['components/news/1.0.0']).toMatchObject({
      version: '1.0.0',
      exact: '1.0',
      active: true,
      views: ['index'],
      copies: [
        { instance: 'news.1', mothership: 'm1', epoch: 1 },
        { instance: 'news.1', mothership: 'm2', epoch: 1 },
      ],
    })
    expect(state['wires/m1']).toEqual({ mothership: 'm1', address: 'ws://m1.example:1', ticket: 'r1 to m1' })
  })

  it('has the keys that sessions are sealed with: the same at each replica, and not those that sign', () => {
    const next = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const both = put('keys', '', { schema: 1, keys: [{ ...key, id: 'k-2', privateKey: next }, key] })
    const sealing = (...changes: Change[]): string[] =>
      (wanted(withServer(...changes), r1)['server'] as WantedServer).sessionKeys ?? []
    const [first, second] = sealing(both)
    expect(sealing(keys)).toEqual([second])
    expect(sealing(structuredClone(keys))).toEqual([second])
    expect(first).not.toBe(second)
    expect(Buffer.from(second!, 'base64').length).toBe(32)
    expect(key.privateKey.replaceAll('\n', '')).not.toContain(second!.slice(0, 10))
  })

  it('names what answers intents, and uses the session', () => {
    const intents = [{ category: 'c', action: 'a', provider: 'index', permissions: ['p'] }]
    const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} }, useSession: true, intents })
    const state = wanted(withServer(put('components', 'news/1.0.0', aComponent('news', '1.0', { meta }))), r1)
    expect(state['components/news/1.0.0']).toMatchObject({
      useSession: true,
      intents: [{ category: 'c', action: 'a', provider: 'index' }],
    })
  })

  it('names no copy that does not run', () => {
    const starting = put('observed', 'm1/news.2', {
      schema: 1,
      session: 1,
      epoch: 1,
      generation: 0,
      phase: 'starting',
      since: '2026-01-01T00:00:00.000Z',
    })
    const state = wanted(withServer(running('m2', 'news.1'), starting), r1)
    expect(state['components/news/1.0.0']).toMatchObject({ copies: [{ instance: 'news.1', mothership: 'm2' }] })
  })

  it('leaves out a wire to a mothership that was unregistered', () => {
    const map = withServer(put('wiring', 'r1', { schema: 1, wires: [{ mothership: 'm9' }] }))
    expect(Object.keys(wanted(map, r1))).toEqual(['server', 'components/news/1.0.0'])
  })

  it('is nothing for one that is not registered', () => {
    expect(wanted(mapOf(news), r1)).toEqual({})
  })
})

describe('what is wanted of a balancer', () => {
  it('is the rain servers and the replicas', () => {
    const map = mapOf(
      put('rainservers', 'r1', aRainServer('r1', { urls: ['/a/*'] })),
      put('replicas', 'h2', { schema: 1, id: 'h2', url: 'http://h2:1', incarnation: 'x' }),
      put('replicas', 'h1', { schema: 1, id: 'h1', url: 'http://h1:1', incarnation: 'x' }),
    )
    expect(wanted(map, b1)).toEqual({
      'rainservers/r1': { id: 'r1', address: 'http://r1.example:1', urls: ['/a/*'], state: 'gone' },
      'replicas/h1': { id: 'h1', url: 'http://h1:1' },
      'replicas/h2': { id: 'h2', url: 'http://h2:1' },
    })
    apply(map, [remove('replicas', 'h2')])
    expect(Object.keys(wanted(map, b1))).toEqual(['rainservers/r1', 'replicas/h1'])
  })
})

describe('every wanted state', () => {
  const someOf = (...ids: readonly string[]): fc.Arbitrary<string[]> => fc.shuffledSubarray([...ids], { minLength: 1 })
  const changes: fc.Arbitrary<Change[]> = fc
    .record({
      hosts: someOf('m1', 'm2', 'm3'),
      instances: fc.uniqueArray(
        fc.record({
          id: fc.constantFrom('news.1', 'news.2', 'shop.1', 'ghost.1'),
          on: someOf('m1', 'm2', 'm3'),
          runs: fc.boolean(),
        }),
        { selector: each => each.id, maxLength: 4 },
      ),
      wires: someOf('m1', 'm2', 'm9'),
      server: fc.boolean(),
    })
    .map(({ hosts, instances, wires, server }) => [
      news,
      put('components', 'shop/1.0.0', aComponent('shop')),
      ...hosts.map(id => put('motherships', id, aMothership(id))),
      ...instances.flatMap(({ id, on, runs }) => [
        put('instances', id, anInstance(id, on)),
        ...(runs ? on.map(host => running(host, id)) : []),
      ]),
      ...(server ? [put('rainservers', 'r1', aRainServer('r1'))] : []),
      put('wiring', 'r1', { schema: 1, wires: wires.map(mothership => ({ mothership })) }),
    ])

  it('has the shape that the protocol says, entry by entry', () => {
    fc.assert(
      fc.property(changes, fc.constantFrom(m1, r1, b1), (given, node) => {
        for (const [name, value] of wantedFor(mapOf(...given), node, ticket)) {
          const shape = shapes[name.split('/')[0] as keyof typeof shapes]
          expect(shape.Check(value), name).toBe(true)
        }
      }),
    )
  })

  it('is the same text at every replica, in whatever order that one learned of the records', () => {
    fc.assert(
      fc.property(
        changes.chain(given => fc.tuple(fc.constant(given), fc.shuffledSubarray(given, { minLength: given.length }))),
        fc.constantFrom(m1, r1, b1),
        ([given, shuffled], node) => {
          expect(JSON.stringify(wanted(mapOf(...shuffled), node))).toBe(JSON.stringify(wanted(mapOf(...given), node)))
        },
      ),
    )
  })
})

describe('the role of a copy', () => {
  it('is primary, backup, learner or none', () => {
    const instance = anInstance('news.1', ['m1', 'm2'], { learners: ['m3'] })
    expect(['m1', 'm2', 'm3', 'm4'].map(id => roleOn(instance, id))).toEqual([
      'primary',
      'backup',
      'learner',
      undefined,
    ])
  })
})

describe('the ticket office', () => {
  const quarterMs = 6 * 3_600_000
  const startMs = 1_800_000_000_000 - (1_800_000_000_000 % quarterMs)

  it('signs what a mothership accepts, for a day and more', () => {
    const office = new TicketOffice(mapOf(keys), () => startMs + quarterMs - 1)
    const issued = office.issue(r1, m1)
    for (const atMs of [startMs, startMs + quarterMs - 1 + 24 * 3_600_000]) {
      expect(checkTicket(issued, [key], 'mothership/m1', atMs)).toMatchObject({
        kind: 'good',
        claims: { who: 'rainserver/r1', toWhom: 'mothership/m1', era: 1 },
      })
    }
    expect(checkTicket(issued, [key], 'mothership/m2', startMs).kind).toBe('refused')
  })

  it('signs the same ticket at every replica for a quarter of a day, then another one', () => {
    let nowMs = startMs
    const map = mapOf(keys)
    const one = new TicketOffice(map, () => nowMs)
    const other = new TicketOffice(mapOf(keys), () => startMs + 1_234_567)
    const first = one.issue(r1, m1)
    expect(other.issue(r1, m1)).toBe(first)
    nowMs += quarterMs - 1
    expect(one.issue(r1, m1)).toBe(first)
    nowMs += 1
    expect(one.issue(r1, m1)).not.toBe(first)
  })

  it('signs anew with a new key and in a new era', () => {
    const map = mapOf(keys)
    const office = new TicketOffice(map, () => startMs)
    const first = office.issue(r1, m1)
    apply(map, [put('era', '', { schema: 1, era: 2 })])
    const second = office.issue(r1, m1)
    expect(checkTicket(second, [key], 'mothership/m1', startMs)).toMatchObject({ claims: { era: 2 } })
    apply(map, [put('keys', '', { schema: 1, keys: [{ ...key, id: 'k-2' }, key] })])
    expect(office.issue(r1, m1).startsWith('k-2.')).toBe(true)
    expect(first.startsWith('k-1.')).toBe(true)
  })

  it('gives nothing that anybody accepts before there is a key', () => {
    const issued = new TicketOffice(mapOf(), () => startMs).issue(r1, m1)
    expect(checkTicket(issued, [key], 'mothership/m1', startMs).kind).toBe('refused')
  })
})

it('is worked out anew when a record of any kind that it is made of changes', () => {
  const read = new Set<string>()
  class Watched extends MemoryMap {
    override get<K extends Kind>(kind: K, id = ''): Entry<K> | undefined {
      read.add(kind)
      return super.get(kind, id)
    }
    override all<K extends Kind>(kind: K): Iterable<[string, Entry<K>]> {
      read.add(kind)
      return super.all(kind)
    }
  }
  const map = new Watched()
  const instance = put('instances', 'news.1', anInstance('news.1', ['m1']))
  const wire = put('wiring', 'r1', { schema: 1, wires: [{ mothership: 'm1' }] })
  const server = put('rainservers', 'r1', aRainServer('r1'))
  const replica = put('replicas', 'h1', { schema: 1, id: 'h1', url: 'http://h1:1', incarnation: 'h1-1' })
  apply(map, [keys, news, ...motherships('m1'), instance, running('m1', 'news.1'), wire, server, replica])
  read.clear()
  for (const node of [m1, r1, b1]) wantedFor(map, node, ticket)
  read.delete('era')

  expect([...read].filter(kind => !wantedKinds.has(kind))).toEqual([])
  expect([...read]).toContain('stops')
})
