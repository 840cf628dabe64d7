import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Draft } from '../../src/cloud/draft.js'
import type { CloudMap } from '../../src/cloud/map.js'
import { type Change, put, remove } from '../../src/cloud/records.js'
import { apply, contentOf, mapOf } from '../support/clouds.js'
import { aComponent, aMothership, anInstance } from '../support/records.js'

const motherships = ['m1', 'm2', 'm3'] as const
const instances = ['news.a', 'news.b', 'shop.a', 'shop.b'] as const

const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .tuple(fc.constantFrom(...instances), fc.subarray([...motherships], { minLength: 1 }), fc.boolean())
    .map(([id, on, old]) => put('instances', id, anInstance(id, on, { version: old ? '1.0.0' : '2.0.0' }))),
  fc.constantFrom(...instances).map(id => remove('instances', id)),
  fc.constantFrom(...motherships).map(id => put('motherships', id, aMothership(id))),
  fc.constantFrom(...motherships).map(id => remove('motherships', id)),
  fc
    .constantFrom('1.0', '2.0')
    .chain(version =>
      fc.constantFrom(
        put('components', `news/${version}.0`, aComponent('news', version)),
        remove('components', `news/${version}.0`),
      ),
    ),
)

function viewOf(map: CloudMap): object {
  const sorted = (ids: Iterable<string>): string[] => [...ids].sort()
  return {
    content: contentOf(map),
    counts: (['instances', 'motherships', 'components'] as const).map(kind => map.count(kind)),
    one: instances.map(id => map.get('instances', id)?.value),
    of: ['news/1.0.0', 'news/2.0.0', 'shop/1.0.0'].map(key => sorted(map.instancesOf(key))),
    on: motherships.map(id => sorted(map.instancesOn(id))),
    held: motherships.map(id => map.heldOn(id)),
    versions: sorted(map.versionsOf('news')),
  }
}

describe('a draft', () => {
  it('reads like the map to which its changes were applied, whatever the changes and however deep it stands', () => {
    fc.assert(
      fc.property(fc.array(change), fc.array(change), fc.array(change), (before, first, second) => {
        const base = mapOf(...before)
        const lower = new Draft(base)
        lower.add(first)
        const upper = new Draft(lower)
        upper.add(second)
        const after = mapOf(...before)
        apply(after, first)

        expect(viewOf(lower)).toEqual(viewOf(after))
        apply(after, second)
        expect(viewOf(upper)).toEqual(viewOf(after))
        expect(viewOf(base)).toEqual(viewOf(mapOf(...before)))
      }),
    )
  })

  it('hands out one last word for each key, and everything that was said', () => {
    const draft = new Draft(mapOf(put('motherships', 'm1', aMothership('m1'))))
    const changes = [
      put('motherships', 'm1', aMothership('m1', { cordoned: true })),
      put('motherships', 'm2', aMothership('m2')),
      remove('motherships', 'm1'),
    ]
    draft.add(changes)

    expect(draft.changes()).toEqual([remove('motherships', 'm1'), put('motherships', 'm2', aMothership('m2'))])
    expect(draft.log).toMatchObject(changes)
  })

  it('shows no revision of what it changes, because it has none yet', () => {
    const draft = new Draft(mapOf(put('motherships', 'm1', aMothership('m1'))))
    draft.add([
      put('motherships', 'm1', aMothership('m1', { cordoned: true })),
      put('motherships', 'm2', aMothership('m2')),
    ])

    expect(draft.get('motherships', 'm1')).toMatchObject({ created: 1, modified: 0, value: { cordoned: true } })
    expect(draft.get('motherships', 'm2')).toMatchObject({ created: 0, modified: 0 })
  })
})
