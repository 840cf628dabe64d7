/**
 * What a component offers to do for others: `{category, action, provider}`, where the provider is one of its views, or
 * `file.js#method` below `server/controller/`. Pure.
 */
import type { FieldError } from '../errors.js'
import { viewsOf } from './described.js'
import type { Described, Descriptor } from './descriptor.js'

export interface OfferedIntent {
  readonly category: string
  readonly action: string
  readonly provider: string
}

export type Provider =
  | { readonly kind: 'view'; readonly view: string }
  | { readonly kind: 'server'; readonly file: string; readonly method: string }

/** Undefined for more than one `#`, or nothing on a side of it. */
export function readProvider(provider: string): Provider | undefined {
  const [first = '', method, ...more] = provider.split('#')
  if (method === undefined) return { kind: 'view', view: first }
  if (more.length > 0 || first === '' || method === '') return undefined
  // As node's `require` would find it.
  return { kind: 'server', file: first.endsWith('.js') ? first : `${first}.js`, method }
}

/** With a provider; those without are a historic form that does nothing, and those of a container RAIN passes over. */
export const intentsOf = ({ type, intents = [] }: Descriptor): (OfferedIntent & { permissions?: string[] })[] =>
  type === 'container'
    ? []
    : intents.flatMap(({ provider, ...intent }) => (provider === undefined ? [] : [{ ...intent, provider }]))

/** Providers that are not in the package, and intents that come twice. */
export function intentErrors(descriptor: Described, files: ReadonlyMap<string, unknown>): FieldError[] {
  if (descriptor.type === 'container') return []
  const errors: FieldError[] = []
  const views = new Set(viewsOf(descriptor).map(each => each.id))
  const seen = new Set<string>()
  for (const [index, { category, action, provider }] of (descriptor.intents ?? []).entries()) {
    const path = `meta.json#/intents/${index}`
    const name = JSON.stringify([category, action])
    if (seen.has(name)) errors.push({ path, message: `${category} ${action} comes twice` })
    seen.add(name)
    const wrong = provider === undefined ? undefined : providerProblem(provider, views, files)
    if (wrong !== undefined) errors.push({ path: `${path}/provider`, message: wrong })
  }
  return errors
}

function providerProblem(
  provider: string,
  views: ReadonlySet<string>,
  files: ReadonlyMap<string, unknown>,
): string | undefined {
  const found = readProvider(provider)
  if (!found) return `"${provider}" is neither a view nor "<file>.js#<method>"`
  if (found.kind === 'view') {
    if (views.has(found.view)) return undefined
    const file = provider.endsWith('.js') ? ': for code of the server write "<file>.js#<method>"' : ''
    return `there is no view ${provider}${file}`
  }
  const file = `server/controller/${found.file}`
  return files.has(file) ? undefined : `${file} is missing`
}
