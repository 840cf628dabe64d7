/**
 * A whole package, read and checked: nothing that can be known from its files is left to fail at the start. The same
 * reading is used where a package is deployed and where it is fetched to run.
 */
import { Script } from 'node:vm'
import type { FieldError } from '../errors.js'
import type { ComponentRecord } from '../records.js'
import { digestOfPackage, type Files, unpack } from './archive.js'
import { type Descriptor, jsonProblem, readDescriptor, viewsOf } from './descriptor.js'
import { intentErrors } from './intents.js'
import { localeErrors } from './locales.js'
import { readTemplate, type Use } from './templates.js'

export interface Package {
  readonly descriptor: Descriptor
  /** `1.0.0` */
  readonly normalised: string
  readonly digest: string
  /** Bytes of the archive. */
  readonly size: number
  /** meta.json as it is written. */
  readonly meta: string
  readonly views: ComponentRecord['views']
  readonly files: Files
}

export type PackageReading =
  | { readonly kind: 'good'; readonly package: Package }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

const metaBytesMax = 64 * 1024
const errorsMax = 50

export async function readPackage(bytes: Uint8Array): Promise<PackageReading> {
  const unpacked = await unpack(bytes)
  if (unpacked.kind === 'bad') return unpacked
  const { files } = unpacked
  const meta = files.get('meta.json')
  if (!meta) return bad([{ path: 'meta.json', message: 'is missing: every package has one at its top' }])
  if (meta.byteLength > metaBytesMax) return bad([{ path: 'meta.json', message: `larger than ${metaBytesMax} bytes` }])
  const reading = readDescriptor(meta.toString())
  if (reading.kind === 'bad') return bad(reading.errors.map(each => ({ ...each, path: `meta.json#${each.path}` })))
  const { descriptor, normalised } = reading
  if (descriptor.state === 'kept') {
    const message = 'this release runs components without kept state only: write "none" or leave it out'
    return bad([{ path: 'meta.json#/state', message }])
  }
  const views = readViews(descriptor, files)
  const errors = [
    ...views.errors,
    ...partialErrors(files, views.templates),
    ...scriptErrors(files),
    ...manifestErrors(files),
    ...localeErrors(files),
    ...intentErrors(descriptor, files),
  ]
  if (errors.length > 0) return bad(errors)
  const digest = digestOfPackage(bytes)
  return {
    kind: 'good',
    package: {
      descriptor,
      normalised,
      digest,
      size: bytes.byteLength,
      meta: meta.toString(),
      views: views.views,
      files,
    },
  }
}

const bad = (errors: readonly FieldError[]): PackageReading => ({ kind: 'bad', errors: errors.slice(0, errorsMax) })

/** Where a view's template is: relative to `client/templates/`, by default named as the view. */
export const templatePath = (viewId: string, view: { view?: string } | undefined): string =>
  `client/templates/${view?.view ?? `${viewId}.html`}`

function readViews(
  descriptor: Descriptor,
  files: Files,
): { views: ComponentRecord['views']; templates: Included[]; errors: FieldError[] } {
  const templates: Included[] = []
  const views: ComponentRecord['views'] = []
  const errors: FieldError[] = []
  for (const view of viewsOf(descriptor)) {
    const { id, client, server } = view
    const path = templatePath(id, view)
    const template = files.get(path)
    if (template) {
      const reading = readTemplate(path, template.toString())
      if (reading.kind === 'bad') errors.push(...reading.errors)
      else {
        views.push({ id, uses: reading.uses.map(use => whole(use, descriptor)) })
        templates.push({ path, ...reading })
      }
    } else
      errors.push({ path: `meta.json#/views/${id.replaceAll('/', '~1')}`, message: `its template ${path} is missing` })
    for (const controller of [client && `client/js/${client}`, server && `server/controller/${server}`]) {
      if (controller && !files.has(controller)) {
        errors.push({
          path: `meta.json#/views/${id.replaceAll('/', '~1')}/controller`,
          message: `${controller} is missing`,
        })
      }
    }
  }
  return { views, templates, errors }
}

/** Neither name nor version: the same component in the same version. */
const whole = (use: Use, { id, version }: Descriptor): Use =>
  use.component === undefined ? { ...use, component: id, version } : use

interface Included {
  readonly path: string
  readonly partials: readonly string[]
  readonly inline: readonly string[]
}

/** Partials that cannot be parsed, and those that are asked for and neither in the package nor inline. */
function partialErrors(files: Files, templates: readonly Included[]): FieldError[] {
  const errors: FieldError[] = []
  const all = [...templates]
  for (const [path, text] of files) {
    if (!path.startsWith('client/partials/') || !path.endsWith('.html')) continue
    const reading = readTemplate(path, text.toString())
    if (reading.kind === 'bad') errors.push(...reading.errors)
    else all.push({ path, ...reading })
  }
  const inline = new Set(all.flatMap(each => each.inline))
  const there = (name: string): boolean =>
    name.startsWith('@') || inline.has(name) || files.has(`client/partials/${name}.html`)
  for (const { path, partials } of all) {
    for (const name of partials.filter(each => !there(each))) {
      errors.push({ path, message: `{{> ${name}}}: client/partials/${name}.html is missing` })
    }
  }
  return errors
}

/** CommonJS is parsed without being run; ES modules are left to the self-test at their start. */
function scriptErrors(files: Files): FieldError[] {
  const errors: FieldError[] = []
  for (const [path, text] of files) {
    if (!path.startsWith('server/') || !path.endsWith('.js') || isModule(text.toString())) continue
    try {
      new Script(`(function (exports, require, module, __filename, __dirname) {${text.toString()}\n})`, {
        filename: path,
      })
    } catch (error) {
      const line = /:(\d+)\n/.exec((error as Error).stack ?? '')?.[1]
      errors.push({ path, message: `${line ? `line ${line}: ` : ''}${(error as Error).message}` })
    }
  }
  return errors
}

/** Node reads it before the first line of code. */
function manifestErrors(files: Files): FieldError[] {
  const text = files.get('package.json')
  try {
    const value: unknown = text === undefined ? {} : JSON.parse(text.toString())
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return []
    return [{ path: 'package.json', message: 'must be a JSON object' }]
  } catch (error) {
    return [{ path: 'package.json', message: jsonProblem(text?.toString() ?? '', error as Error) }]
  }
}

/** By its statements: a package needs no package.json to use ES modules. */
export const isModule = (text: string): boolean => /^\s*(export\s|import\s+[\w{*'"])/m.test(text)

/** What the `deploy` command says of the package; chunks are known once it is stored. */
export function componentOf(
  read: Package,
  chunks: number,
): Omit<ComponentRecord, 'schema' | 'active' | 'activation' | 'deployedAt' | 'deployedBy'> {
  const { descriptor, digest, size, meta, views } = read
  const { id, version, description, pageTitle, placement, need } = descriptor
  return {
    id,
    version,
    digest,
    size,
    chunks,
    meta,
    views,
    isolation: descriptor.isolation ?? 'shared',
    state: descriptor.state ?? 'none',
    ...(description === undefined ? {} : { description }),
    ...(pageTitle === undefined ? {} : { pageTitle }),
    ...(placement === undefined ? {} : { placement }),
    ...(need === undefined ? {} : { need }),
  }
}
