/**
 * What is wrong with a body or a query, field by field, as people say it: each field once, with what it may be, from
 * what the schema's validator finds.
 */
import type { FieldError } from './errors.js'

export type SchemaErrors = readonly {
  readonly keyword: string
  readonly instancePath: string
  readonly message: string
  readonly params?: unknown
}[]

export function fieldErrors(found: SchemaErrors): FieldError[] {
  const told = new Map<string, string>()
  const say = (path: string, message: string): void => {
    if (!told.has(path)) told.set(path, message)
  }
  for (const { keyword, instancePath, message, params } of found) {
    const { requiredProperties = [], additionalProperties = [] } = (params ?? {}) as Params
    if (keyword === 'required') for (const name of requiredProperties) say(`${instancePath}/${name}`, 'is needed')
    else if (keyword === 'additionalProperties') {
      for (const name of additionalProperties) say(`${instancePath}/${name}`, 'there is no such field')
      // One too many is told by the object that does not have it, too.
    } else if (message !== 'schema is false') say(instancePath, choiceOf(found, instancePath) ?? message)
  }
  return [...told].map(([path, message]) => ({ path, message }))
}

interface Params {
  readonly requiredProperties?: readonly string[]
  readonly additionalProperties?: readonly string[]
  readonly allowedValue?: unknown
  readonly allowedValues?: readonly unknown[]
}

const ofFields: ReadonlySet<string> = new Set(['anyOf', 'required', 'additionalProperties'])

/** Of a field that may be one of several things: which. */
function choiceOf(found: SchemaErrors, path: string): string | undefined {
  const here = found.filter(each => each.instancePath === path)
  if (!here.some(({ keyword }) => keyword === 'anyOf' || keyword === 'enum' || keyword === 'const')) return undefined
  const values = here.flatMap(({ params }) => {
    const { allowedValue, allowedValues } = (params ?? {}) as Params
    return allowedValues ?? (allowedValue === undefined ? [] : [allowedValue])
  })
  if (values.length > 0) return `must be ${values.length > 1 ? 'one of ' : ''}${values.join(', ')}`
  // What it lacks or has too much of, if it is to be an object, is told of its fields.
  const messages = here.filter(({ keyword }) => !ofFields.has(keyword)).map(each => each.message)
  return [...new Set(messages)].join(' or ')
}
