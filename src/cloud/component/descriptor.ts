/**
 * The descriptor of a component, `meta.json`: RAIN's fields as its loader took them, with our additions. Unknown fields
 * are kept and ignored; historic forms are refused with how to write them today.
 */
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { FieldError } from '../errors.js'
import { PlacementWish, Resources } from '../records.js'
import { normaliseVersion } from '../version.js'

const permissions = Type.Optional(Type.Array(Type.String()))

/** A controller as a plain string is a historic form that was taken, and ignored. */
const Controller = Type.Union([
  Type.Object({ client: Type.Optional(Type.String()), server: Type.Optional(Type.String()) }),
  Type.String(),
])
const View = Type.Object({
  view: Type.Optional(Type.String()),
  controller: Type.Optional(Controller),
  permissions,
})
const ListedView = Type.Object({
  viewid: Type.Optional(Type.String()),
  viewId: Type.Optional(Type.String()),
  view: Type.Optional(Type.String()),
  controller: Type.Optional(Controller),
  permissions,
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
})
export type Descriptor = Static<typeof Descriptor>

const shape = Compile(Descriptor)

export interface DescribedView {
  readonly id: string
  readonly view?: string
  readonly client?: string
  readonly server?: string
  readonly permissions?: readonly string[]
}

/** The views, whatever form they are written in. */
export function viewsOf({ views }: Descriptor): DescribedView[] {
  const entries = Array.isArray(views)
    ? views.map((each, index): [string, Static<typeof View>] => [each.viewid ?? each.viewId ?? String(index), each])
    : Object.entries(views ?? {})
  return entries.map(([id, { view, controller, permissions }]) => ({
    id,
    ...(view === undefined ? {} : { view }),
    ...(permissions === undefined ? {} : { permissions }),
    ...(typeof controller === 'object' ? controller : {}),
  }))
}

export type DescriptorReading =
  | { readonly kind: 'good'; readonly descriptor: Descriptor; readonly normalised: string }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

const bad = (...errors: readonly FieldError[]): DescriptorReading => ({ kind: 'bad', errors })

export function readDescriptor(text: string): DescriptorReading {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return bad({ path: '/', message: jsonProblem(text, error as Error) })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return bad({ path: '/', message: 'must be a JSON object' })
  }
  const fields = value as Record<string, unknown>
  const unfilled = ['id', 'version'].filter(name => /\{\{.*\}\}|<.*>/.test(String(fields[name] ?? '')))
  if (unfilled.length > 0) {
    return bad(...unfilled.map(name => ({ path: `/${name}`, message: 'unfilled template: put in what it stands for' })))
  }
  const historic = historicForms(fields)
  if (historic.length > 0) return bad(...historic)
  const wrong = identityErrors(fields)
  if (wrong.length > 0) return bad(...wrong)
  if (!shape.Check(value)) {
    return bad(...shape.Errors(value).map(each => ({ path: each.instancePath || '/', message: each.message })))
  }
  return { kind: 'good', descriptor: value, normalised: normaliseVersion(value.version)! }
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

/** The parser's complaint with line and column. */
export function jsonProblem(text: string, error: Error): string {
  const position = /position (\d+)/.exec(error.message)?.[1]
  const at = position === undefined ? text.length : Number(position)
  const before = text.slice(0, at).split('\n')
  const line = before.length
  const column = before.at(-1)!.length + 1
  return `not JSON at line ${line}, column ${column}: ${error.message.replace(/ in JSON at position.*$/s, '').replace(/,? ?"[\s\S]*$/, '')}`
}
