/**
 * What rain servers can reach, kept in step with the map: rain servers with the same urls share it, and a version that
 * comes, goes, or becomes active is looked at only where something names its component. A cache of `reachable`, with
 * which the tests compare it.
 */
import { byId } from '../ids.js'
import type { CloudMap } from '../map.js'
import { Flags, type Names } from './names.js'
import {
  activeVersions,
  childrenOf,
  core,
  everything,
  firstOf,
  namedBy,
  namesAny,
  offersIntents,
  standIns,
  standInsOf,
} from './reachable.js'

/** What is the same for all rain servers with these urls. */
export interface Territory {
  readonly key: string
  readonly servers: Set<number>
  /** By number of the version. */
  readonly reaches: Flags
  list: readonly number[]
}

interface Known extends Territory {
  readonly urls: readonly string[]
  /** Components that its urls name; `*` and `core` among them. */
  readonly names: ReadonlySet<string>
  entries: readonly number[]
  any: boolean
}

/** Versions that are reached now, or not any more. */
export interface Shift {
  readonly territory: Territory
  readonly added: readonly number[]
  readonly removed: readonly number[]
}

interface Children {
  readonly versions: readonly number[]
  readonly any: boolean
  readonly names: readonly string[]
}

const componentOf = (key: string): string => key.slice(0, key.lastIndexOf('/'))

export class Reach {
  readonly #territories = new Map<string, Known>()
  readonly #children = new Map<number, Children>()
  /** By component: the versions whose views name it, of those whose children are known. */
  readonly #usedBy = new Map<string, Set<number>>()
  /** By version. */
  readonly #reaching: Set<Known>[] = []
  /** By component that urls name; `*` and `core` among them. */
  readonly #naming = new Map<string, Set<Known>>()
  /** Those that reach all that is active. */
  readonly #anywhere = new Set<Known>()
  /** Versions with intents. */
  readonly #answering = new Set<number>()
  /** When a version was last met: by round. */
  #met = new Uint32Array(64)
  #round = 0
  #active: readonly number[] | undefined

  constructor(
    private readonly map: CloudMap,
    private readonly versions: Names,
  ) {
    for (const [key] of map.all('components')) if (offersIntents(map, key)) this.#answering.add(versions.number(key))
  }

  /** Where a version is reached. */
  reaching(version: number): Iterable<Territory> {
    return (this.#reaching[version] ??= new Set())
  }

  join(urls: readonly string[], server: number): Territory {
    const whole = urls.some(url => firstOf(url) === everything)
    const key = whole ? everything : JSON.stringify([...new Set(urls)].sort(byId))
    let known = this.#territories.get(key)
    if (!known) this.#territories.set(key, (known = this.#made(key, urls)))
    known.servers.add(server)
    return known
  }

  leave(territory: Territory, server: number): void {
    territory.servers.delete(server)
    if (territory.servers.size > 0) return
    const known = territory as Known
    this.#territories.delete(known.key)
    this.#anywhere.delete(known)
    for (const each of known.list) this.#reaching[each]!.delete(known)
    for (const each of known.names) {
      const naming = this.#naming.get(each)!
      naming.delete(known)
      if (naming.size === 0) this.#naming.delete(each)
    }
  }

  /** These versions (`id/version`) came, went, or are others now. */
  refresh(keys: Iterable<string>): Shift[] {
    const changed = [...keys].map(key => this.versions.number(key))
    const components = new Set(changed.map(each => componentOf(this.versions.name(each))))
    const touched = new Set(changed)
    this.#active = undefined
    for (const each of changed) this.#forget(each)
    for (const component of components) for (const user of this.#usedBy.get(component) ?? []) touched.add(user)
    for (const each of touched) this.#forgetChildren(each)
    const renamed = this.#renamed(components)
    for (const known of renamed) if (known.key !== everything) known.entries = this.#entries(known.urls)
    const shifted = new Set([...renamed, ...this.#anywhere])
    for (const each of touched) for (const known of this.#reaching[each] ?? []) shifted.add(known)
    return [...shifted].flatMap(
      known => (known.key === everything ? this.#take(known, changed) : this.#walk(known)) ?? [],
    )
  }

  /** Where other versions than before may be what urls mean. */
  #renamed(components: ReadonlySet<string>): Set<Known> {
    if (standInsOf(this.map).some(each => components.has(each))) return new Set(this.#territories.values())
    return new Set([...components, core, everything].flatMap(each => [...(this.#naming.get(each) ?? [])]))
  }

  /** What stands in for failures is another one. */
  refreshAll(): Shift[] {
    return [...this.#territories.values()].flatMap(known => {
      if (known.key === everything) return []
      known.entries = this.#entries(known.urls)
      return this.#walk(known) ?? []
    })
  }

  #forget(version: number): void {
    if (offersIntents(this.map, this.versions.name(version))) this.#answering.add(version)
    else this.#answering.delete(version)
  }

  #forgetChildren(version: number): void {
    for (const name of this.#children.get(version)?.names ?? []) this.#usedBy.get(name)?.delete(version)
    this.#children.delete(version)
  }

  #made(key: string, urls: readonly string[]): Known {
    const whole = key === everything
    const names = new Set(whole ? [everything] : urls.map(firstOf))
    const known: Known = {
      ...{ key, urls: [...urls], servers: new Set(), reaches: new Flags(), list: [], any: false },
      ...{ names, entries: whole ? [] : this.#entries(urls) },
    }
    for (const each of names) {
      const naming = this.#naming.get(each)
      if (naming) naming.add(known)
      else this.#naming.set(each, new Set([known]))
    }
    if (!whole) this.#walk(known)
    else
      this.#take(
        known,
        Array.from(this.map.all('components'), ([each]) => this.versions.number(each)),
      )
    return known
  }

  #entries(urls: readonly string[]): number[] {
    const keys = [...standIns(this.map), ...urls.flatMap(url => [...namedBy(this.map, url)])]
    const named = keys.map(key => this.versions.number(key))
    return urls.some(url => firstOf(url) === core) ? [...named, ...this.#answering] : named
  }

  #exists(version: number): boolean {
    return this.map.get('components', this.versions.name(version)) !== undefined
  }

  /** Where everything is reached, what is there is. */
  #take(known: Known, changed: readonly number[]): Shift | undefined {
    const added = changed.filter(each => this.#exists(each) && !known.reaches.has(each))
    const removed = changed.filter(each => !this.#exists(each) && known.reaches.has(each))
    return this.#shifted(known, added, removed, [...known.list.filter(each => !removed.includes(each)), ...added])
  }

  /** Goes through all that can be reached. */
  #walk(known: Known): Shift | undefined {
    const round = ++this.#round
    const found: number[] = []
    const meet = (version: number): void => {
      if (version >= this.#met.length) this.#met = longer(this.#met, version)
      if (this.#met[version] === round || !this.#exists(version)) return
      this.#met[version] = round
      found.push(version)
    }
    known.any = false
    this.#anywhere.delete(known)
    for (const each of known.entries) meet(each)
    for (let index = 0; index < found.length; index++) {
      const { versions, any } = this.#childrenOf(found[index]!)
      for (const child of versions) meet(child)
      if (!any || known.any) continue
      known.any = true
      this.#anywhere.add(known)
      for (const each of this.#allActive()) meet(each)
    }
    const added = found.filter(each => !known.reaches.has(each))
    const removed = known.list.filter(each => this.#met[each] !== round)
    return this.#shifted(known, added, removed, found)
  }

  #shifted(
    known: Known,
    added: readonly number[],
    removed: readonly number[],
    list: readonly number[],
  ): Shift | undefined {
    if (added.length + removed.length === 0) return undefined
    for (const each of added) {
      known.reaches.set(each, true)
      const reaching = this.#reaching[each]
      if (reaching) reaching.add(known)
      else this.#reaching[each] = new Set([known])
    }
    for (const each of removed) {
      known.reaches.set(each, false)
      this.#reaching[each]!.delete(known)
    }
    known.list = list
    return { territory: known, added, removed }
  }

  #allActive(): readonly number[] {
    this.#active ??= [...activeVersions(this.map)].map(key => this.versions.number(key))
    return this.#active
  }

  #childrenOf(version: number): Children {
    let children = this.#children.get(version)
    if (!children) this.#children.set(version, (children = this.#read(version)))
    return children
  }

  #read(version: number): Children {
    const component = this.map.get('components', this.versions.name(version))!.value
    const names = [...new Set(component.views.flatMap(view => view.uses.flatMap(use => use.component ?? [])))]
    for (const name of names) {
      const users = this.#usedBy.get(name)
      if (users) users.add(version)
      else this.#usedBy.set(name, new Set([version]))
    }
    const versions = new Set([...childrenOf(this.map, component)].map(key => this.versions.number(key)))
    return { versions: [...versions], any: namesAny(component), names }
  }
}

function longer(numbers: Uint32Array<ArrayBuffer>, index: number): Uint32Array<ArrayBuffer> {
  const more = new Uint32Array(Math.max(index + 1, numbers.length * 2))
  more.set(numbers)
  return more
}
