/**
 * Every rule of placement, against generated clouds in which each of them refuses now and then: nothing goes where it
 * objects; the same cloud gives the same decision; a batch decides what one after the other does; and what it refuses it
 * refuses all the more when there is less to be had. A rule that is added has to be named here.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PlacementQuestion, type PlacementResult, settingsOf } from '../../../src/cloud/decide/verdict.js'
import { Draft } from '../../../src/cloud/draft.js'
import { type CloudMap, copiesOf } from '../../../src/cloud/map.js'
import { Engine, type LoadOf } from '../../../src/cloud/placement/engine.js'
import type { Asked, Host } from '../../../src/cloud/placement/host.js'
import { nothing, plus } from '../../../src/cloud/placement/resources.js'
import { rules } from '../../../src/cloud/placement/rules/index.js'
import { type Change, type InstanceRecord, put, type Resources } from '../../../src/cloud/records.js'
import { apply, clouds, loads, mapOf, resources, settings, wishes } from '../../support/clouds.js'
import { anInstance } from '../../support/records.js'

const at = '2026-01-01T00:00:00.000Z'
const moment = { nowMs: 50_000, at }
const components = ['news', 'shop'] as const

const quarantines: fc.Arbitrary<Change[]> = fc
  .uniqueArray(fc.tuple(fc.nat(6), fc.constantFrom(...components)), { maxLength: 4, selector: each => each.join() })
  .map(all =>
    all.map(([index, component]) => {
      const about = { mothership: `m${index}`, component, version: '1.0.0', reason: 'x' }
      return put('quarantine', `m${index}/${component}/1.0.0`, { schema: 1, ...about, since: at, until: at })
    }),
  )

const standing: fc.Arbitrary<InstanceRecord[]> = fc
  .array(
    fc.record({
      component: fc.constantFrom(...components),
      need: resources,
      placement: wishes,
      on: fc.uniqueArray(fc.nat(6), { minLength: 1, maxLength: 2 }),
    }),
    { maxLength: 8 },
  )
  .map(all =>
    all.map(({ component, need, placement, on }, index) =>
      anInstance(
        `${component}.s${index}`,
        on.map(each => `m${each}`),
        { need, placement },
      ),
    ),
  )

interface World {
  readonly changes: readonly Change[]
  readonly loadOf: LoadOf
  /** Asked for further copies. */
  readonly first: InstanceRecord | undefined
}

const worlds: fc.Arbitrary<World> = fc
  .record({ cloud: clouds, standing, quarantines, loadOf: loads, set: settings })
  .map(({ cloud, standing: instances, quarantines: kept, loadOf, set }) => ({
    changes: [
      ...cloud.filter(each => each.kind !== 'settings'),
      put('settings', '', { ...set, ceilings: { cpu: 0.5, ram: 0.6, bandwidth: 0.5 } }),
      ...kept,
      ...instances.map(each => put('instances', each.id, each)),
    ],
    loadOf,
    first: instances[0],
  }))

const asks = fc.record({
  component: fc.constantFrom(...components),
  need: resources,
  wish: wishes,
  further: fc.boolean(),
  copies: fc.integer({ min: 1, max: 3 }),
})
type Ask = typeof asks extends fc.Arbitrary<infer T> ? T : never

const questionOf = ({ component, need, wish, further, copies }: Ask, { first }: World): PlacementQuestion => {
  const plain = { component, version: '1.0.0', need, wish, copies, explain: true }
  return further && first ? { ...plain, component: first.component, instance: first } : plain
}

const askedOf = ({ component, version, need, wish, instance }: PlacementQuestion, map: CloudMap): Asked => {
  const { overcommit, ceilings } = settingsOf(map)
  return { component, version, need, wish, taken: instance ? copiesOf(instance) : [], overcommit, ceilings }
}

const names = rules.map(rule => rule.name)

/** Notes which rules had a say, and that each of them had in the end. */
function roll() {
  const called = new Set<string>()
  return {
    // `registered` is said where there is no mothership at all, and is no rule of one.
    note: (name: string) => void (name === 'registered' || called.add(name)),
    complete: () => expect([...called].sort()).toEqual([...names].sort()),
  }
}

describe('every rule', () => {
  it('is kept by each placement, whatever the cloud', () => {
    const { note, complete } = roll()
    fc.assert(
      fc.property(worlds, asks, (world, ask) => {
        const map = mapOf(...world.changes)
        const engine = new Engine(map, world.loadOf)
        const question = questionOf(ask, world)
        const asked = askedOf(question, map)
        const found = engine.place(map, question, moment)
        const on = found.kind === 'placed' ? found.on : []
        expect(new Set(on).size).toBe(on.length)
        for (const host of engine.hosts(map, moment.nowMs)) {
          const objecting = rules.filter(rule => rule.objection(host, asked) !== undefined).map(rule => rule.name)
          objecting.forEach(note)
          if (on.includes(host.id)) expect(objecting).toEqual([])
          else if (found.kind === 'nowhere') expect(objecting).not.toEqual([])
        }
      }),
      { numRuns: 600 },
    )
    complete()
  })

  it('decides the same on the same cloud, in whatever order it was read', () => {
    const { note, complete } = roll()
    fc.assert(
      fc.property(worlds, asks, (world, ask) => {
        const place = (changes: readonly Change[]): PlacementResult => {
          const map = mapOf(...changes)
          return new Engine(map, world.loadOf).place(map, questionOf(ask, world), moment)
        }
        const found = place(world.changes)
        for (const { rule } of found.reasons ?? []) note(rule)
        expect(place([...world.changes].reverse())).toEqual(found)
      }),
      { numRuns: 600 },
    )
    complete()
  })

  it('decides in a batch what it decides one after the other', () => {
    const { note, complete } = roll()
    fc.assert(
      fc.property(worlds, fc.array(asks, { minLength: 2, maxLength: 6 }), (world, all) => {
        const decided = (batch: boolean): unknown[] => {
          const map = mapOf(...world.changes)
          const engine = new Engine(map, world.loadOf)
          const draft = new Draft(map)
          return all.map((ask, index) => {
            const first = (batch ? draft : map).get('instances', world.first?.id ?? '')?.value
            const question = questionOf(ask, { ...world, first })
            const found = engine.place(batch ? draft : map, question, moment)
            for (const { rule } of found.reasons ?? []) note(rule)
            const changes = found.kind === 'placed' ? made(question, found.on, index) : []
            if (batch) draft.add(changes)
            else if (changes.length > 0) engine.apply(apply(map, changes), moment.nowMs)
            return found.kind === 'placed' ? found.on : found.reasons
          })
        }
        expect(decided(true)).toEqual(decided(false))
      }),
      { numRuns: 400 },
    )
    complete()
  })

  it('refuses all the more when there is less to be had', () => {
    expect(Object.keys(harder).sort()).toEqual([...names].sort())
    const { note, complete } = roll()
    fc.assert(
      fc.property(worlds, asks, resources, (world, ask, more) => {
        const map = mapOf(...world.changes)
        const asked = askedOf(questionOf(ask, world), map)
        for (const host of new Engine(map, world.loadOf).hosts(map, moment.nowMs)) {
          for (const rule of rules) {
            if (rule.objection(host, asked) === undefined) continue
            note(rule.name)
            for (const [worse, asking] of harder[rule.name]!(host, asked, more)) {
              expect([rule.name, rule.objection(worse, asking)]).toEqual([rule.name, expect.any(String)])
            }
          }
        }
      }),
      { numRuns: 400 },
    )
    complete()
  })
})

function made(question: PlacementQuestion, on: readonly string[], index: number): Change[] {
  const { component, version, need, wish, instance } = question
  if (instance) return [put('instances', instance.id, { ...instance, learners: [...instance.learners, ...on] })]
  const id = `${component}.${index}`
  return [put('instances', id, anInstance(id, on, { version, need, placement: wish }))]
}

type Harder = (host: Host, asked: Asked, more: Resources) => (readonly [Host, Asked])[]

/** A host is made of getters and methods: what is not said is as it was. */
const but = (host: Host, change: Partial<Host>): Host =>
  Object.assign(Object.create(host) as Host, Object.fromEntries(Object.entries(change))) as Host

const record = (host: Host, change: Partial<Host['record']>): Host =>
  but(host, { record: { ...host.record, ...change } })
const needing = (asked: Asked, more: Resources): Asked => ({ ...asked, need: plus(asked.need, more) })

/** What makes it harder for each rule: it must not change its mind. */
const harder: Readonly<Record<string, Harder>> = {
  connected: (host, asked, more) => [[but(host, { reserved: nothing, measured: undefined }), needing(asked, more)]],
  'not-cordoned': (host, asked) => [[record(host, { draining: { deadline: null } }), asked]],
  'not-draining': (host, asked) => [[record(host, { cordoned: true }), asked]],
  labels: (host, asked) => [
    [host, { ...asked, wish: { ...asked.wish, labels: { ...asked.wish.labels, gpu: 'yes' } } }],
    [record(host, { labels: {} }), asked],
  ],
  zone: (host, asked) => [
    [host, { ...asked, wish: { ...asked.wish, zones: asked.wish.zones!.slice(0, 1) } }],
    [record(host, { zone: 'elsewhere' }), asked],
  ],
  'one-copy-each': (host, asked) => [[host, { ...asked, taken: [...asked.taken, 'm0', 'm1'] }]],
  'anti-affinity': (host, asked) => {
    const { all, alone } = host.copiesOf(asked.component)
    return [
      [but(host, { copiesOf: () => ({ all: all + 1, alone }) }), asked],
      [but(host, { copiesOf: () => ({ all: all + 1, alone: alone + 1 }) }), asked],
    ]
  },
  quarantine: (host, asked, more) => [[host, needing(asked, more)]],
  'enough-room': (host, asked, more) => [
    [but(host, { reserved: plus(host.reserved, more) }), asked],
    [host, needing(asked, more)],
    [host, { ...asked, overcommit: { cpu: 0.5, ram: 0.5, bandwidth: 0.5 } }],
  ],
  'below-ceiling': (host, asked, more) => [
    [but(host, { measured: { ...plus(host.measured!, more), ageMs: 0 } }), asked],
    [but(host, { placedSince: plus(host.placedSince, more) }), asked],
    [host, needing(asked, more)],
    [host, { ...asked, ceilings: { cpu: 0.1, ram: 0.1, bandwidth: 0.1 } }],
  ],
}
