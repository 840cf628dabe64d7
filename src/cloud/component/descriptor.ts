/**
 * The descriptor of a component, `meta.json`: RAIN's fields as its loader took them, with our additions. Unknown fields
 * are kept and ignored; historic forms are refused with how to write them today.
 */
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { FieldError } from '../errors.js'
import { fieldErrors } from '../field-errors.js'
import { PlacementWish, Resources } from '../records.js'
import { normaliseVersion } from '../version.js'
import { placesIn, readJson } from './json-text.js'

const permissions = Type.Optional(Type.Array(Type.String()))

/** A controller as a plain string is a historic form that was taken, and ignored. */
const Controller = Type.Union([
  Type.Object({ client: Type.Optional(Type.String()), server: Type.Optional(Type.String()) }),
  Type.String(),
])
const duration = Type.String({ pattern: '^\\d{1,9}(ms|s|m|h)$', description: 'like 10s' })
/**
 * For how long a fragment may be shown again: as good as new, and after that while no copy answers. `query`: which
 * parameters of the url its view looks at (all of them, unless they are named).
 */
const Cache = Type.Object(
  { maxAge: duration, stale: Type.Optional(duration), query: Type.Optional(Type.Array(Type.String())) },
  { additionalProperties: false },
)
const viewFields = {
  view: Type.Optional(Type.String()),
  controller: Type.Optional(Controller),
  permissions,
  cache: Type.Optional(Cache),
  /** How long a page waits for it, instead of the platform's `fragmentDeadlineMs`. */
  deadline: Type.Optional(duration),
  /** Plain html, relative to `client/templates/`: stands in for the view where no copy answers. */
  fallback: Type.Optional(Type.String({ minLength: 1 })),
  /** A page without it is no page: its failure is that of the page. */
  required: Type.Optional(Type.Boolean()),
}
const View = Type.Object(viewFields)
const ListedView = Type.Object({
  viewid: Type.Optional(Type.String()),
  viewId: Type.Optional(Type.String()),
  ...viewFields,
})

/** Without a provider it is the historic form (type, view, controller, method), which was taken, and ignored. */
const Intent = Type.Object({
  category: Type.String({ minLength: 1 }),
  action: Type.String({ minLength: 1 }),
  provider: Type.Optional(Type.String({ minLength: 1 })),
  permissions,
})

const Descriptor = Type.Object({
  id: Type.String(),
  version: Type.String(),
  type: Type.Optional(Type.Enum(['component', 'container'])),
  description: Type.Optional(Type.String()),
  pageTitle: Type.Optional(Type.String()),
  permissions,
  useSession: Type.Optional(Type.Boolean()),
  /** A list with the view's id in each entry is a historic form that was taken. */
  views: Type.Optional(Type.Union([Type.Record(Type.String(), View), Type.Array(ListedView)])),
  intents: Type.Optional(Type.Array(Intent)),
  need: Type.Optional(Type.Partial(Resources)),
  placement: Type.Optional(PlacementWish),
  isolation: Type.Optional(Type.Enum(['shared', 'exclusive'])),
  state: Type.Optional(Type.Enum(['none', 'kept'])),
  /** What runs its code. */
  runtime: Type.Optional(Type.Enum(['node'])),
})
export type Descriptor = Static<typeof Descriptor>

const shape = Compile(Descriptor)

export type DescriptorReading =
  | { readonly kind: 'good'; readonly descriptor: Descriptor; readonly normalised: string }
  /** `described`: as far as it can be read, so that the files can be looked at all the same. */
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[]; readonly described?: Described }

export type Described = Pick<Descriptor, 'type' | 'views' | 'intents'>

/** All that is wrong, each with its place in the text. */
export function readDescriptor(text: string): DescriptorReading {
  const reading = readJson(text)
  if (reading.kind === 'bad') {
    const { place, message } = reading
    const at = `line ${place.line}, column ${place.column}`
    return { kind: 'bad', errors: [{ path: '/', ...place, message: `not JSON at ${at}: ${message}` }] }
  }
  const { value } = reading
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { kind: 'bad', errors: [{ path: '/', line: 1, column: 1, message: 'must be a JSON object' }] }
  }
  const found = errorsIn(value as Record<string, unknown>)
  const placeOf = placesIn(text)
  const errors = found.map(each => ({ ...each, ...placeOf(each.path) }))
  if (errors.length === 0 && shape.Check(value)) {
    return { kind: 'good', descriptor: value, normalised: normaliseVersion(value.version)! }
  }
  const unclear = errors.some(each => /^\/(type|views|intents)/.test(each.path))
  return { kind: 'bad', errors, ...(unclear ? {} : { described: value }) }
}

function errorsIn(fields: Record<string, unknown>): FieldError[] {
  const unfilled = ['id', 'version']
    .filter(name => /\{\{.*\}\}|<.*>/.test(String(fields[name] ?? '')))
    .map(name => ({ path: `/${name}`, message: 'unfilled template: put in what it stands for' }))
  const historic = historicForms(fields)
  const identity = unfilled.length + historic.length > 0 ? [] : identityErrors(fields)
  const others = shape.Check(fields) ? [] : fieldErrors(shape.Errors(fields))
  const told = [...unfilled, ...historic, ...identity]
  // What is wrong within a field that may be one of two things is told of what it is, not of what it could be instead.
  const isTold = (path: string): boolean =>
    path === '/id' ||
    path === '/version' ||
    told.some(each => each.path === path) ||
    others.some(each => each.path.startsWith(`${path}/`))
  return [...told, ...others.filter(each => !isTold(each.path))]
}

function identityErrors({ id, version }: Record<string, unknown>): FieldError[] {
  const errors: FieldError[] = []
  if (typeof id !== 'string' || id === '') errors.push({ path: '/id', message: 'a non-empty string is needed' })
  else if (!/^[\w-]{1,128}$/.test(id) || id === 'all') {
    errors.push({ path: '/id', message: 'letters, digits, `_` and `-` only, at most 128, and not `all`' })
  }
  if (typeof version !== 'string') {
    const note = typeof version === 'number' ? ` (a string: "${version}")` : ''
    errors.push({ path: '/version', message: `a version like "1.0" or "1.0.2" is needed${note}` })
  } else if (normaliseVersion(version) === undefined) {
    errors.push({
      path: '/version',
      message: `"${version}" is not a version: two or three numbers, like "1.0" or "1.0.2"`,
    })
  }
  return errors
}

/** What RAIN wrote before it settled on today's form, and how to write it now. */
function historicForms(fields: Record<string, unknown>): FieldError[] {
  const errors: FieldError[] = []
  const name = fields['moduleId'] ?? fields['id']
  const combined = typeof name === 'string' ? /^([\w-]+);(.+)$/.exec(name) : null
  if (combined) {
    const path = fields['moduleId'] === undefined ? '/id' : '/moduleId'
    errors.push({
      path,
      message: `the version has its own field: write "id": "${combined[1]}", "version": "${combined[2]}"`,
    })
  } else if (fields['moduleId'] !== undefined && fields['id'] === undefined) {
    errors.push({ path: '/moduleId', message: 'is called "id" today' })
  }
  if (errors.length > 0 && Array.isArray(fields['views'])) {
    errors.push({
      path: '/views',
      message: 'is a map today: "views": {"<view id>": {"view": "<file>"}}',
    })
  }
  if (errors.length > 0 && fields['taglib'] !== undefined) {
    errors.push({
      path: '/taglib',
      message: 'tag libraries are gone: name children in templates by {{component name="…"}}',
    })
  }
  return errors
}
