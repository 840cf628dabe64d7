/** From an url to what is asked for (rain-facts, section 6). Pure. */
import { resolveVersion } from '../cloud/version.js'
import { patternMatches } from '../cloud/wiring/wiring.js'
import type { WantedComponent } from '../protocol/messages.js'
import type { ServerState } from './wanted.js'

export type Route =
  | ({ readonly kind: 'view'; readonly view: string } & Named)
  | ({ readonly kind: 'resource'; readonly path: string } & Named)
  | { readonly kind: 'socket'; readonly component: WantedComponent; readonly channel: string }
  | { readonly kind: 'controller'; readonly component: WantedComponent; readonly name: string }
  | { readonly kind: 'none'; readonly status: 404 | 400; readonly reason: string }

/** `exact`: by its exact version, so that the url means the same for ever. */
interface Named {
  readonly component: WantedComponent
  readonly exact: boolean
}

const versionText = /^\d{1,9}(\.\d{1,9}){0,2}$/
const staticPlaces: ReadonlySet<string> = new Set(['css', 'js', 'resources', 'locale'])

const none = (reason: string, status: 404 | 400 = 404): Route => ({ kind: 'none', status, reason })

/** `path` as in the request, without the query. */
export function routeOf(state: ServerState, path: string): Route {
  const parts = decode(path)
  if (!parts) return none('the path cannot be decoded', 400)
  if (parts.some(part => part === '..' || part === '.' || /[\\\0]/.test(part))) return none('no such path')
  if (!reaches(state, path)) return none('not an url of this rain server')
  const [id = '', ...rest] = parts
  const versions = state.components.get(id)
  if (!versions) return none(`there is no component ${id}`)
  const versioned = rest[0] !== undefined && versionText.test(rest[0]) && !hasView(versions, rest)
  const component = pick(versions, versioned ? rest[0] : undefined)
  if (!component) return none(`there is no version ${versioned ? rest[0] : ''} of ${id} that may be shown`)
  const exact = versioned && (rest[0] === component.exact || rest[0] === component.version)
  return within({ component, exact }, versioned ? rest.slice(1) : rest)
}

export const reaches = ({ server }: ServerState, path: string): boolean =>
  server.urls.some(pattern => patternMatches(pattern, path))

/** Undefined when it is not valid percent-encoding, or hides a slash. */
function decode(path: string): string[] | undefined {
  try {
    const parts = path.split('/').slice(1).map(decodeURIComponent)
    if (parts.some(part => part.includes('/'))) return undefined
    while (parts.length > 1 && parts.at(-1) === '') parts.pop()
    return parts
  } catch {
    return undefined
  }
}

/** A view may be called `404`: then it is that, not a version, where nothing follows. */
const hasView = (versions: readonly WantedComponent[], rest: readonly string[]): boolean =>
  rest.length === 1 && pick(versions, undefined)?.views.includes(rest[0]!) === true

/**
 * An exact version even when it is not active; fragments and none at all mean active ones only, and one that runs
 * rather than a higher one that does not: who deploys a version and then starts it leaves no hole in pages meanwhile.
 */
export function pick(versions: readonly WantedComponent[], version: string | undefined): WantedComponent | undefined {
  let known = picked.get(versions)
  if (!known) picked.set(versions, (known = new Map()))
  const before = known.get(version)
  if (before) return before
  const found = pickFrom(versions, version)
  if (found && known.size < pickedMax) known.set(version, found)
  return found
}

/** A page asks for the same again and again; a list of versions stays as it is, and a change of the cloud makes another. */
const picked = new WeakMap<readonly WantedComponent[], Map<string | undefined, WantedComponent>>()
const pickedMax = 100

function pickFrom(versions: readonly WantedComponent[], version: string | undefined): WantedComponent | undefined {
  if (version !== undefined) {
    const exact = versions.find(each => each.exact === version || each.version === version)
    if (exact) return exact
  }
  const active = versions.filter(each => each.active)
  const running = active.filter(each => each.copies.length > 0)
  return resolveVersion(version, running) ?? resolveVersion(version, active)
}

function within({ component, exact }: Named, rest: readonly string[]): Route {
  const [place, ...further] = rest
  if (place !== undefined && staticPlaces.has(place) && further.length > 0) {
    return { kind: 'resource', component, exact, path: rest.join('/') }
  }
  if (place === 'websockets' && further.length > 0) return { kind: 'socket', component, channel: further.join('/') }
  if (place === 'controller' && further.length > 0) return { kind: 'controller', component, name: further.join('/') }
  const view = rest.length === 0 ? 'index' : rest.join('/')
  if (!component.views.includes(view)) return none(`${component.id} has no view ${view}`)
  return { kind: 'view', component, exact, view }
}
