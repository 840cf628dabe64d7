/**
 * Instances as memory keeps them: there may be a million of them, so what many have in common is there once (ids of
 * components and motherships, needs, lists), and the decision stays text until it is asked for. They look and act like
 * the plain record: own properties, spread, written and compared alike; only that nobody may change them in place, which
 * holds for every record of the map.
 */
import type { Decision, InstanceRecord } from '../cloud/records.js'
import { parseDecision } from './decisions.js'

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

/** Own and enumerable, like any other property of a record, but one function for all of them. */
const decisionProperty: PropertyDescriptor = {
  enumerable: true,
  get(this: CompactInstance): Decision {
    return CompactInstance.decisionOf(this)
  },
}

class CompactInstance {
  readonly schema: number
  readonly id: string
  readonly component: string
  readonly version: string
  declare readonly owner?: string
  readonly need: InstanceRecord['need']
  readonly placement: InstanceRecord['placement']
  readonly epoch: number
  readonly primary: string
  readonly inSync: string[]
  readonly learners: string[]
  readonly generation: number
  readonly createdAt: string
  declare readonly decision?: Decision
  readonly #decision: string

  constructor(head: Omit<InstanceRecord, 'decision'>, decision: string) {
    this.schema = head.schema
    this.id = head.id
    this.component = words.get(head.component)
    this.version = words.get(head.version)
    if (head.owner !== undefined) this.owner = words.get(head.owner)
    this.need = shareObject(head.need)
    this.placement = isEmpty(head.placement) ? noWish : shareObject(head.placement)
    this.epoch = head.epoch
    this.primary = words.get(head.primary)
    this.inSync = shareIds(head.inSync)
    this.learners = shareIds(head.learners)
    this.generation = head.generation
    this.createdAt = head.createdAt
    this.#decision = decision
    if (decision !== '') Object.defineProperty(this, 'decision', decisionProperty)
  }

  static decisionOf(instance: CompactInstance): Decision {
    return parseDecision(instance.#decision)
  }
}

const fields = 12

/**
 * From a checked record without its decision, and the text of that (empty: it has none). Undefined when the record has
 * a field that this release does not know: it is kept whole then.
 */
export function compactInstance(head: Omit<InstanceRecord, 'decision'>, decision: string): InstanceRecord | undefined {
  const known = fields + (head.owner === undefined ? 0 : 1)
  return Object.keys(head).length === known ? (new CompactInstance(head, decision) as InstanceRecord) : undefined
}
