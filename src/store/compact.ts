/**
 * Instances as memory keeps them: there may be a million of them, so what many have in common is there once: ids of
 * components and motherships, needs, lists. For the rest they are plain records. Nobody may change them in place, which
 * holds for every record of the map.
 */
import type { InstanceRecord } from '../cloud/records.js'

/** More different values than this, and sharing begins anew: it saves memory, and must not become a leak. */
const sharedMax = 50_000

/** One of each, by a key that says everything about it. */
class Shared<V> {
  readonly #known = new Map<string, V>()

  constructor(private readonly make: (key: string) => V) {}

  get(key: string): V {
    let found = this.#known.get(key)
    if (found === undefined) {
      if (this.#known.size >= sharedMax) this.#known.clear()
      this.#known.set(key, (found = this.make(key)))
    }
    return found
  }
}

const words = new Shared(text => text)
const objects = new Shared(text => Object.freeze(JSON.parse(text)) as unknown)
const shareObject = <V>(value: V): V => objects.get(JSON.stringify(value)) as V
const empty: string[] = Object.freeze([]) as unknown as string[]
const single = new Shared(id => Object.freeze([id]) as unknown as string[])
const noWish: InstanceRecord['placement'] = Object.freeze({})

function shareIds(ids: string[]): string[] {
  if (ids.length === 0) return empty
  return ids.length === 1 ? single.get(ids[0]!) : shareObject(ids)
}

const isEmpty = (value: object): boolean => {
  for (const _ in value) return false
  return true
}

/** The same record; fields that this release does not know stay. */
export function compactInstance(record: InstanceRecord): InstanceRecord {
  const { component, version, owner, need, placement, primary, inSync, learners } = record
  return Object.assign(record, {
    component: words.get(component),
    version: words.get(version),
    ...(owner === undefined ? {} : { owner: words.get(owner) }),
    need: shareObject(need),
    placement: isEmpty(placement) ? noWish : shareObject(placement),
    primary: words.get(primary),
    inSync: shareIds(inSync),
    learners: shareIds(learners),
  })
}
