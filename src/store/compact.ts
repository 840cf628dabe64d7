/**
 * Instances as memory keeps them: there may be a million of them, so what many have in common is there once: ids of
 * components and motherships, needs, lists. For the rest they are plain records. Nobody may change them in place, which
 * holds for every record of the map.
 */
import type { InstanceRecord } from '../cloud/records.js'

/** More different values than this, and sharing begins anew: it saves memory, and must not become a leak. */
const sharedMax = 50_000

/** One of each, by a key that says everything about it. */
export class Shared<V> {
  readonly #known = new Map<string, V>()

  constructor(private readonly make: (key: string) => V) {}

  get(key: string): V {
    let found = this.#known.get(key)
    if (found === undefined) {
      if (this.#known.size >= sharedMax) this.#known.clear()
      const own = Buffer.from(key).toString() // a part of a longer text would keep all of it
      this.#known.set(own, (found = this.make(own)))
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

const shared: { readonly [F in keyof InstanceRecord]?: (value: never) => InstanceRecord[F] } = {
  component: (id: string) => words.get(id),
  version: (text: string) => words.get(text),
  owner: (name: string) => words.get(name),
  need: shareObject<InstanceRecord['need']>,
  placement: (wish: InstanceRecord['placement']) => (isEmpty(wish) ? noWish : shareObject(wish)),
  primary: (id: string) => words.get(id),
  inSync: shareIds,
  learners: shareIds,
}
const sharedFields = Object.entries(shared) as [string, (value: unknown) => unknown][]

/** The same object, with what others have too in place of its own; fields that this release does not know stay. */
export function compactInstance<R extends Partial<InstanceRecord>>(record: R): R {
  const fields = record as Record<string, unknown>
  for (const [field, share] of sharedFields) if (fields[field] !== undefined) fields[field] = share(fields[field])
  return record
}
