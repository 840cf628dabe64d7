/**
 * Who answers an intent, of the components that this rain server knows. Of one component the version that pages would
 * take answers; two components that both offer it are not chosen between: whoever asks has to name one. Pure.
 */
import { type OfferedIntent, type Provider, readProvider } from '../cloud/component/intents.js'
import type { WantedComponent } from '../protocol/messages.js'
import { pick } from './route.js'
import type { ServerState } from './wanted.js'

/** Where scripts of pages send intents. */
export const intentsPath = '/core/controller/intents'

export interface IntentAsked {
  readonly category: string
  readonly action: string
  readonly context: Readonly<Record<string, unknown>>
  /** Of the one that is to answer. */
  readonly component?: string
  readonly version?: string
}

export type IntentReading =
  | { readonly kind: 'intent'; readonly intent: IntentAsked }
  | { readonly kind: 'bad'; readonly reason: string }

export type Resolution =
  | { readonly kind: 'found'; readonly component: WantedComponent; readonly provider: Provider }
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'ambiguous'; readonly components: readonly string[] }

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The body of a request, as JSON. */
export function readIntent(text: string): IntentReading {
  let value: unknown
  try {
    value = JSON.parse(text, (key, each: unknown) => (key === '__proto__' ? undefined : each))
  } catch {
    return { kind: 'bad', reason: 'an intent has to be JSON' }
  }
  if (!isObject(value)) return { kind: 'bad', reason: 'an intent has to be an object' }
  const { category, action, context = {}, component, version } = value
  for (const [name, field] of Object.entries({ category, action })) {
    if (typeof field !== 'string' || field === '') return { kind: 'bad', reason: `an intent needs a ${name}` }
  }
  for (const [name, field] of Object.entries({ component, version })) {
    if (field !== undefined && typeof field !== 'string') return { kind: 'bad', reason: `${name} has to be a text` }
  }
  if (!isObject(context)) return { kind: 'bad', reason: 'the context of an intent has to be an object' }
  return { kind: 'intent', intent: { ...value, category, action, context } as IntentAsked }
}

export function resolveIntent(state: ServerState, asked: IntentAsked): Resolution {
  const { category, action, component, version } = asked
  const found = [...state.components]
    .filter(([id]) => component === undefined || component === id)
    .flatMap(([, versions]) => answering(versions, asked, version) ?? [])
  if (found.length > 1) return { kind: 'ambiguous', components: found.map(each => each.component.id).sort() }
  if (found[0]) return { kind: 'found', ...found[0] }
  const where = component === undefined ? '' : ` of ${component}${version === undefined ? '' : ` ${version}`}`
  return { kind: 'unknown', reason: `nobody here answers to the intent ${category} ${action}${where}` }
}

function answering(
  versions: readonly WantedComponent[],
  asked: IntentAsked,
  version: string | undefined,
): { component: WantedComponent; provider: Provider } | undefined {
  const component = pick(
    versions.filter(each => offerOf(each, asked)),
    version,
  )
  const provider = component && readProvider(offerOf(component, asked)?.provider ?? '')
  return component && provider ? { component, provider } : undefined
}

const offerOf = ({ intents = [] }: WantedComponent, asked: IntentAsked): OfferedIntent | undefined =>
  intents.find(each => each.category === asked.category && each.action === asked.action)
