/**
 * What pages under a rain server's urls can be made of. Rather too much than too little: a version is left out only
 * when no page can come to it, because a page that reaches what is not wired has a hole. So a child whose name only run
 * time shows can be every active version.
 */
import { offeredIntents } from '../component/deployed.js'
import { byId } from '../ids.js'
import { type CloudMap, sortedIds } from '../map.js'
import type { ComponentRecord, RainServerRecord } from '../records.js'

/** Component versions (`id/version`, normalised, sorted), nested ones included. */
export function reachable(map: CloudMap, server: Pick<RainServerRecord, 'urls'>): string[] {
  const found = new Set<string>()
  const open: string[] = []
  const reach = (key: string): void => {
    if (found.has(key) || !map.get('components', key)) return
    found.add(key)
    open.push(key)
  }
  let all = false
  for (const key of named(map, server)) reach(key)
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    const component = map.get('components', key)!.value
    for (const child of childrenOf(map, component)) reach(child)
    if (all || !namesAny(component)) continue
    all = true
    for (const each of activeVersions(map)) reach(each)
  }
  return [...found].sort(byId)
}

/** What the urls name themselves (`/*` everything, `/shop/…` versions of `shop`), and what stands in for failures. */
function* named(map: CloudMap, { urls }: Pick<RainServerRecord, 'urls'>): Iterable<string> {
  yield* standIns(map)
  for (const url of urls) {
    yield* namedBy(map, url)
    if (firstOf(url) === everything) yield* sortedIds(map, 'components')
    if (firstOf(url) === core) yield* sortedIds(map, 'components').filter(key => offersIntents(map, key))
  }
}

export const everything = '*'
/** Where scripts of pages send their intents: whoever serves that has to know all that answer. */
export const core = 'core'

export const firstOf = (url: string): string => url.split('/')[1] ?? ''

/** Components of the platform itself, which any page may hold. */
export function standInsOf(map: CloudMap): string[] {
  const settings = map.get('settings')?.value
  return [settings?.errorComponent, settings?.loadingComponent].filter(each => typeof each === 'string')
}

/** Their versions. */
export const standIns = (map: CloudMap): string[] => standInsOf(map).flatMap(each => [...map.versionsOf(each)])

export function namedBy(map: CloudMap, url: string): Iterable<string> {
  const [, component = '', second = ''] = url.split('/')
  return versionsNamed(map, component, second)
}

export const offersIntents = (map: CloudMap, key: string): boolean => {
  const component = map.get('components', key)?.value
  return component !== undefined && offeredIntents(component).length > 0
}

/** `/shop/1.2/…` means versions 1.2.x; where there is none, the second part is the name of a view. */
function versionsNamed(map: CloudMap, component: string, second: string): readonly string[] {
  const all = [...map.versionsOf(component)]
  const matching = all.filter(key => isMeant(map, key, second))
  return matching.length > 0 ? matching : all
}

export const namesAny = ({ views }: ComponentRecord): boolean => views.some(view => view.uses.some(use => use.any))

export function* activeVersions(map: CloudMap): Iterable<string> {
  for (const [key, { value }] of map.all('components')) if (value.active) yield key
}

export function* childrenOf(map: CloudMap, component: ComponentRecord): Iterable<string> {
  for (const view of component.views) {
    for (const use of view.uses) {
      if (use.component === undefined) continue
      for (const key of map.versionsOf(use.component)) {
        if (use.version === undefined ? map.get('components', key)?.value.active : isMeant(map, key, use.version)) {
          yield key
        }
      }
    }
  }
}

const fragment = /^\d{1,9}(\.\d{1,9}){0,2}$/

/** Whether a text may resolve to this version: as its exact name, or as a fragment, today or when others go. */
function isMeant(map: CloudMap, key: string, text: string): boolean {
  const component = map.get('components', key)?.value
  const version = key.slice(key.indexOf('/') + 1)
  if (!component || component.version === text || version === text) return component !== undefined
  if (!component.active || !fragment.test(text)) return false
  const parts = version.split('.')
  return text.split('.').every((part, index) => Number(part) === Number(parts[index]))
}
