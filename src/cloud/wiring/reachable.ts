/**
 * What pages under a rain server's urls can be made of. Rather too much than too little: a version is left out only
 * when no page can come to it, because a page that reaches what is not wired has a hole.
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
  for (const key of named(map, server)) reach(key)
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    for (const child of childrenOf(map, map.get('components', key)!.value)) reach(child)
  }
  return [...found].sort(byId)
}

/** What the urls name themselves (`/*` everything, `/shop/…` versions of `shop`), and what stands in for failures. */
function* named(map: CloudMap, { urls }: Pick<RainServerRecord, 'urls'>): Iterable<string> {
  const settings = map.get('settings')?.value
  for (const standIn of [settings?.errorComponent, settings?.loadingComponent]) {
    if (standIn) yield* map.versionsOf(standIn)
  }
  for (const url of urls) {
    const [, component = '', second = ''] = url.split('/')
    if (component === '*') yield* sortedIds(map, 'components')
    else yield* versionsNamed(map, component, second)
    if (component === core) yield* sortedIds(map, 'components').filter(key => offersIntents(map, key))
  }
}

/** Where scripts of pages send their intents: whoever serves that has to know all that answer. */
const core = 'core'

const offersIntents = (map: CloudMap, key: string): boolean =>
  offeredIntents(map.get('components', key)!.value).length > 0

/** `/shop/1.2/…` means versions 1.2.x; where there is none, the second part is the name of a view. */
function versionsNamed(map: CloudMap, component: string, second: string): readonly string[] {
  const all = [...map.versionsOf(component)]
  const matching = all.filter(key => isMeant(map, key, second))
  return matching.length > 0 ? matching : all
}

function* childrenOf(map: CloudMap, component: ComponentRecord): Iterable<string> {
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
