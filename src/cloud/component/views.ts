/** The views of a package: that their files are there, and what their templates say. */
import { parseDurationMs } from '../duration.js'
import type { FieldError } from '../errors.js'
import type { ComponentRecord, ViewTerms } from '../records.js'
import type { Files } from './archive.js'
import { type DescribedView, viewsOf } from './described.js'
import type { Described } from './descriptor.js'
import { type Named, readTemplate, type Use } from './templates.js'

/** Where a view's template is: relative to `client/templates/`, by default named as the view. */
export const templatePath = (viewId: string, view: { view?: string } | undefined): string =>
  `client/templates/${view?.view ?? `${viewId}.html`}`

export interface ViewsReading {
  readonly views: ComponentRecord['views']
  /** Their path is a pointer into meta.json where no file is to blame. */
  readonly errors: readonly FieldError[]
}

/** Without a descriptor that can be read, of the partials alone. */
export function readViews(described: Described, files: Files): ViewsReading {
  const templates = new Map<string, Template>()
  const views: ComponentRecord['views'] = []
  const errors: FieldError[] = []
  for (const view of viewsOf(described)) {
    const path = templatePath(view.id, view)
    const bytes = files.get(path)
    if (bytes) {
      const template = templates.get(path) ?? readOne(path, bytes)
      templates.set(path, template)
      const terms = termsOf(view)
      views.push({ id: view.id, uses: [...template.uses], ...(terms ? { terms } : {}) })
    }
    errors.push(...missingFiles(view, files))
  }
  const partials: Use[] = []
  for (const [path, bytes] of files) {
    if (!path.startsWith('client/partials/') || !path.endsWith('.html')) continue
    const partial = readOne(path, bytes)
    templates.set(path, partial)
    partials.push(...partial.uses)
  }
  // Which partials a view comes to, run time may decide: each may show what any of them names.
  for (const view of views) view.uses = unique([...view.uses, ...partials])
  for (const template of templates.values()) errors.push(...template.errors)
  return { views, errors: [...errors, ...missingPartials([...templates.values()], files)] }
}

const unique = (uses: readonly Use[]): Use[] => [...new Map(uses.map(use => [JSON.stringify(use), use])).values()]

interface Template {
  readonly path: string
  readonly errors: readonly FieldError[]
  readonly uses: readonly Use[]
  readonly partials: readonly Named[]
  readonly inline: readonly string[]
}

function readOne(path: string, bytes: Uint8Array): Template {
  const reading = readTemplate(path, bytes)
  if (reading.kind === 'bad') return { path, errors: reading.errors, uses: [], partials: [], inline: [] }
  return { path, errors: [], ...reading }
}

/** Durations were checked with the descriptor. */
function termsOf({ cache, deadline, fallback, required }: DescribedView): ViewTerms | undefined {
  const terms: ViewTerms = {
    ...(cache ? { maxAgeMs: parseDurationMs(cache.maxAge) ?? 0 } : {}),
    ...(cache?.stale === undefined ? {} : { staleMs: parseDurationMs(cache.stale) ?? 0 }),
    ...(cache?.query === undefined ? {} : { query: [...cache.query] }),
    ...(deadline === undefined ? {} : { deadlineMs: Math.max(1, parseDurationMs(deadline) ?? 1) }),
    ...(fallback === undefined ? {} : { fallback: true }),
    ...(required === true ? { required } : {}),
  }
  return Object.keys(terms).length > 0 ? terms : undefined
}

/** The template, and whatever else the view names. */
function missingFiles(view: DescribedView, files: Files): FieldError[] {
  const { id, client, server, fallback } = view
  const pointer = `meta.json#/views/${id.replaceAll('~', '~0').replaceAll('/', '~1')}`
  const missing = (path: string, file: string, what = ''): FieldError[] =>
    files.has(file) ? [] : [{ path, message: `${what}${file} is missing` }]
  return [
    ...missing(view.view === undefined ? pointer : `${pointer}/view`, templatePath(id, view), 'its template '),
    ...(client ? missing(`${pointer}/controller/client`, `client/js/${client}`) : []),
    ...(server ? missing(`${pointer}/controller/server`, `server/controller/${server}`) : []),
    ...(fallback ? missing(`${pointer}/fallback`, `client/templates/${fallback}`, 'its fallback ') : []),
  ]
}

/** Partials that are asked for and neither in the package nor brought inline by a template that may include them. */
function missingPartials(templates: readonly Template[], files: Files): FieldError[] {
  const inline = new Set(templates.flatMap(each => each.inline))
  const there = (name: string): boolean =>
    name.startsWith('@') || inline.has(name) || files.has(`client/partials/${name}.html`)
  return templates.flatMap(({ path, partials }) =>
    partials
      .filter(({ name }) => !there(name))
      .map(({ name, line, column }) => {
        return { path, line, column, message: `{{> ${name}}}: client/partials/${name}.html is missing` }
      }),
  )
}
