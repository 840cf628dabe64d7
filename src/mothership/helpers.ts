/** The template helpers that RAIN has beside `component`: what they make belongs to the render that they are called in. */
import type Handlebars from 'handlebars'
import type { Descriptor } from '../cloud/component/descriptor.js'
import type { Message, Translations } from '../cloud/translation/translations.js'
import type { ViewRequest } from '../protocol/messages.js'
import { countOf } from './speech.js'

/** What helpers know of the render that they are called in, and put into it. */
export interface Rendering {
  readonly nonce: string
  readonly children: Omit<ViewRequest, 'at'>[]
  /** Best first. */
  readonly languages: readonly string[]
}

export const renderingOf = (options: Handlebars.HelperOptions): Rendering => (options.data as { rain: Rendering }).rain

type Handlebars_ = typeof Handlebars

export interface HelperParts {
  readonly descriptor: Descriptor
  readonly translations: Translations
}

export function registerHelpers(handlebars: Handlebars_, parts: HelperParts): void {
  handlebars.registerHelper('t', tHelper(parts))
  handlebars.registerHelper('nt', ntHelper(parts))
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
