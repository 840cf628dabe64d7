/** The template helpers that RAIN has beside `component`: what they make belongs to the render that they are called in. */
import Handlebars from 'handlebars'
import type { Descriptor } from '../cloud/component/descriptor.js'
import type { Message, Translations } from '../cloud/translation/translations.js'
import type { GuestRequest, ViewRequest } from '../protocol/messages.js'
import { formats } from './formats.js'
import { countOf } from './speech.js'

/** What helpers know of the render that they are called in, and put into it. */
export interface Rendering {
  readonly nonce: string
  readonly children: Omit<ViewRequest, 'at'>[]
  /** Views within blocks, at whatever depth. */
  readonly guests: GuestRequest[]
  /** Of the block that is being rendered. */
  readonly items?: Record<string, unknown>[]
  /** Style sheets that the view names. */
  readonly css: string[]
  /** Best first. */
  readonly languages: readonly string[]
}

export const renderingOf = (options: Handlebars.HelperOptions): Rendering => (options.data as { rain: Rendering }).rain

/** Only what can travel: children on other motherships get it too. */
export const plain = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (JSON.parse(JSON.stringify(value)) as Record<string, unknown>) : {}

type Handlebars_ = typeof Handlebars

export interface HelperParts {
  readonly descriptor: Descriptor
  readonly translations: Translations
}

export function registerHelpers(handlebars: Handlebars_, parts: HelperParts): void {
  handlebars.registerHelper('t', tHelper(parts))
  handlebars.registerHelper('nt', ntHelper(parts))
  handlebars.registerHelper('css', cssHelper(parts))
  handlebars.registerHelper('url', urlHelper(parts))
  handlebars.registerHelper('partial', partialHelper(handlebars))
  for (const [name, format] of Object.entries(formats)) {
    handlebars.registerHelper(name, (...all: unknown[]) => {
      const options = all.pop() as Handlebars.HelperOptions
      return format(all, renderingOf(options).languages[0] ?? 'en', options.hash)
    })
  }
}

/**
 * `{{css path="index.css" name="button" version="1.1" media="print"}}`: a view that names its style sheets has those. After
 * a blank, the media that it is for.
 */
const cssHelper =
  ({ descriptor }: HelperParts): Handlebars.HelperDelegate =>
  (options: Handlebars.HelperOptions) => {
    const { path, media } = options.hash as Record<string, unknown>
    if (typeof path !== 'string' || path === '') throw new Error('{{css}} without a path')
    const url = `${placeOf(descriptor, options)}/css/${encodeURI(path.replace(/^\/+/, ''))}`
    renderingOf(options).css.push(media === undefined ? url : `${url} ${String(media)}`)
    return ''
  }

/** `{{url path="images/a.png" localized=true}}`, and as it was before: `{{url "images/a.png" true}}`. */
const urlHelper =
  ({ descriptor }: HelperParts): Handlebars.HelperDelegate =>
  (...all: unknown[]) => {
    const options = all.pop() as Handlebars.HelperOptions
    const { path = all[0], localized = all[1] } = options.hash as Record<string, unknown>
    if (typeof path !== 'string') return ''
    const asOf = (url: string): string => (localized === true ? `${url}${url.includes('?') ? '&' : '?'}loc=1` : url)
    if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(path)) return path
    if (options.hash['path'] === undefined && path.startsWith('/')) return asOf(path)
    return asOf(`${placeOf(descriptor, options)}/resources/${encodeURI(path.replace(/^\/+/, ''))}`)
  }

/** Of the component that `name` and `version` mean: none of them this one, a name alone its latest version. */
function placeOf({ id, version: own }: Descriptor, { hash }: Handlebars.HelperOptions): string {
  const { name, version } = hash as Record<string, unknown>
  if (name === undefined && version !== undefined) throw new Error('a version without a name')
  if (name === undefined) return `/${id}/${own}`
  return `/${encodeURIComponent(String(name))}${version === undefined ? '' : `/${encodeURIComponent(String(version))}`}`
}

/** `{{partial name}}`: what `{{> name}}` shows, by a name that may come from the context; nothing where there is none. */
const partialHelper = (handlebars: Handlebars_): Handlebars.HelperDelegate =>
  function (this: unknown, name: unknown, options: Handlebars.HelperOptions) {
    const partial = Object.hasOwn(handlebars.partials, String(name)) ? handlebars.partials[String(name)] : undefined
    if (typeof partial !== 'function') return ''
    return new Handlebars.SafeString(partial(this, { data: options.data }))
  }

/** `{{t "How are you, %s?" name id="greeting" context="informal" var="greeted"}}`. */
const tHelper = ({ translations }: HelperParts): Handlebars.HelperDelegate =>
  function (this: unknown, ...all: unknown[]) {
    const options = all.pop() as Handlebars.HelperOptions
    const [text, ...args] = all
    return said(this, options, translations, { text: String(text ?? ''), args })
  }

/** `{{nt "one car" "%d cars" count count}}`, and what `t` takes. */
const ntHelper = ({ translations }: HelperParts): Handlebars.HelperDelegate =>
  function (this: unknown, ...all: unknown[]) {
    const options = all.pop() as Handlebars.HelperOptions
    const [text, many, count, ...args] = all
    const plural = { text: String(many ?? ''), count: countOf(count) }
    return said(this, options, translations, { text: String(text ?? ''), plural, args })
  }

/** With `var`, the text is put into the context under that name, for later, and nothing is shown here. */
function said(
  context: unknown,
  options: Handlebars.HelperOptions,
  translations: Translations,
  message: Omit<Message, 'id' | 'context'>,
): string {
  const { id, context: sense, var: name } = options.hash as Record<string, unknown>
  const whole = { ...message, ...textsOf({ id, context: sense }) }
  const text = translations.translate(whole, renderingOf(options).languages)
  if (name === undefined) return text
  if (typeof context === 'object' && context !== null) Object.assign(context, { [String(name)]: text })
  return ''
}

const textsOf = (given: { id: unknown; context: unknown }): { id?: string; context?: string } =>
  Object.fromEntries(Object.entries(given).flatMap(([name, value]) => (value ? [[name, String(value)]] : [])))
