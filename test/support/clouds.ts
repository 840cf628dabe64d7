/**
 * Generated clouds: a handful of motherships and components, and a run of what operators and nodes do. Small enough
 * that things collide often.
 */
import fc from 'fast-check'
import type { CloudMap } from '../../src/cloud/map.js'
import { type Applied, MemoryMap } from '../../src/cloud/map.js'
import type { MeasuredLoad } from '../../src/cloud/placement/host.js'
import {
  type Change,
  defaultSettings,
  type MothershipRecord,
  type PlacementWish,
  put,
  type Resources,
  type Settings,
} from '../../src/cloud/records.js'
import { aComponent, aMothership, session } from './records.js'

export function apply(map: MemoryMap, changes: readonly Change[]): readonly Applied[] {
  const revision = map.order.revision + 1
  const applied = changes.map(change => ({
    ...change,
    created: map.get(change.kind, change.id)?.created ?? revision,
    modified: revision,
  })) as Applied[]
  map.apply(applied, revision)
  return applied
}

export function mapOf(...changes: readonly Change[]): MemoryMap {
  const map = new MemoryMap()
  apply(map, changes)
  return map
}

export const contentOf = (map: CloudMap): object =>
  Object.fromEntries(
    (['components', 'motherships', 'rainservers', 'instances', 'sessions', 'settings', 'wiring'] as const).map(kind => [
      kind,
      Object.fromEntries([...map.all(kind)].map(([id, entry]) => [id, entry.value])),
    ]),
  )

export const componentNames = ['news', 'shop', 'chat'] as const
const versions = ['1.0', '1.1', '2.0'] as const

const amount = (max: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc.integer({ min: 0, max }),
    fc.integer({ min: 0, max: max * 10 }).map(tenths => tenths / 10),
  )

export const resources: fc.Arbitrary<Resources> = fc.record({
  cpu: amount(1000),
  ram: amount(2048),
  bandwidth: amount(5000),
})

export const capacities: fc.Arbitrary<Resources> = fc.record({
  cpu: fc.constantFrom(0, 500, 2000),
  ram: fc.constantFrom(1024, 4096),
  bandwidth: fc.constantFrom(0, 10_000, 20_000),
})

export const wishes: fc.Arbitrary<PlacementWish> = fc.record(
  {
    labels: fc.constantFrom({}, { disk: 'ssd' }),
    zones: fc.constantFrom([], ['a'], ['a', 'b']),
    copies: fc.integer({ min: 1, max: 4 }),
    antiAffinity: fc.constantFrom('none' as const, 'component' as const),
  },
  { requiredKeys: [] },
)

export const settings: fc.Arbitrary<Settings> = fc
  .record({
    policy: fc.constantFrom('spread' as const, 'pack' as const, 'balanced' as const),
    overcommit: fc.constantFrom({ cpu: 1, ram: 1, bandwidth: 1 }, { cpu: 2, ram: 1, bandwidth: 1.5 }),
  })
  .map(some => ({ ...defaultSettings, ...some }))

const mothership = (id: string): fc.Arbitrary<Change[]> =>
  fc
    .record({
      capacity: capacities,
      zone: fc.constantFrom(undefined, 'a', 'b'),
      ssd: fc.boolean(),
      cordoned: fc.integer({ min: 0, max: 9 }).map(n => n === 0),
      draining: fc.integer({ min: 0, max: 9 }).map(n => n === 0),
      connected: fc.integer({ min: 0, max: 5 }).map(n => n > 0),
    })
    .map(({ capacity, zone, ssd, cordoned, draining, connected }) => {
      const record: MothershipRecord = aMothership(id, {
        capacity,
        cordoned,
        draining: draining ? { deadline: null } : null,
        labels: ssd ? { disk: 'ssd' } : {},
        ...(zone === undefined ? {} : { zone }),
      })
      return [put('motherships', id, record), ...(connected ? [session('mothership', id)] : [])]
    })

/** Motherships, some of them not to be used, and every component in three versions, nested at random. */
export const clouds: fc.Arbitrary<Change[]> = fc
  .tuple(
    fc
      .integer({ min: 0, max: 6 })
      .chain(count => fc.tuple(...Array.from({ length: count }, (_, i) => mothership(`m${i}`)))),
    settings,
    fc.uniqueArray(fc.tuple(fc.constantFrom(...componentNames), fc.constantFrom(...versions), fc.boolean(), uses()), {
      minLength: 1,
      maxLength: 9,
      selector: ([id, version]) => `${id}/${version}`,
    }),
  )
  .map(([hosts, some, components]) => [
    ...hosts.flat(),
    put('settings', '', some),
    ...components.map(([id, version, active, used]) =>
      put(
        'components',
        `${id}/${version}.0`,
        aComponent(id, version, { active, views: [{ id: 'index', uses: used }] }),
      ),
    ),
  ])

function uses(): fc.Arbitrary<{ component?: string; version?: string }[]> {
  const use = fc.record(
    { component: fc.constantFrom(...componentNames, 'ghost'), version: fc.constantFrom('1', '1.0', '2') },
    { requiredKeys: [] },
  )
  return fc.array(use, { maxLength: 2 })
}

export const urls = fc.uniqueArray(
  fc.constantFrom('/*', '/news/*', '/news/index', '/shop/1/*', '/shop/1.1/index', '/chat/*', '/ghost/*', '/'),
  { minLength: 1, maxLength: 3 },
)

/** The same loads whoever asks: by mothership. */
export const loads: fc.Arbitrary<(id: string) => MeasuredLoad | undefined> = fc
  .array(
    fc.option(
      fc.record({
        cpu: amount(600),
        ram: amount(1200),
        bandwidth: amount(10_000),
        ageMs: fc.integer({ min: 0, max: 12_000 }),
      }),
    ),
    {
      minLength: 7,
      maxLength: 7,
    },
  )
  .map(known => id => known[Number(id.slice(1))] ?? undefined)
