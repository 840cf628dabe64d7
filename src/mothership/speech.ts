/**
 * In which languages the component speaks while it answers a call: those of the call, wherever its code has got to in the
 * meantime (RAIN knew them before the first asynchronous step only). `t` and `nt` are globals of the component's process,
 * as RAIN put them into every module on the server's side.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Message, Translations } from '../cloud/translation/translations.js'
import { languageKey } from '../cloud/translation/translations.js'

/** What a call says of languages. */
export interface Languages {
  /** Of who looks. */
  readonly locale?: string | undefined
  /** Those of the platform, the default one first. */
  readonly languages?: readonly string[] | undefined
}

const languageMax = 60
const fallback = 'en'

/** As RAIN writes it: `de_DE`. */
export const languageOf = ({ locale, languages }: Languages): string =>
  languageKey((locale ?? languages?.[0] ?? fallback).slice(0, languageMax))

/** Best first: of who looks, then the platform's default one. */
export const languagesOf = (said: Languages): readonly string[] => {
  const own = languageOf(said)
  const platform = said.languages?.[0]
  return platform === undefined ? [own] : [own, languageKey(platform)]
}

/** `environment.languages`: each called as those do who speak it. */
export function offeredLanguages({ languages = [fallback] }: Languages): { key: string; text: string }[] {
  return languages.map(each => ({ key: languageKey(each), text: nameOf(each.replaceAll('_', '-')) }))
}

function nameOf(tag: string): string {
  try {
    return new Intl.DisplayNames([tag], { type: 'language' }).of(tag) ?? tag
  } catch {
    return tag
  }
}

const spoken = new AsyncLocalStorage<readonly string[]>()

export const speaking = <Result>(said: Languages, run: () => Result): Result => spoken.run(languagesOf(said), run)

type Arguments = readonly unknown[]

/** `t(message, [args])` and `t(id, message, [args])`. */
function singular(args: Arguments): Message {
  const [first, second, third] = args
  if (typeof second !== 'string') return { text: String(first), args: listOf(second) }
  return { id: String(first), text: second, args: listOf(third) }
}

/** `nt(message, plural, count, [args])` and `nt(id, message, plural, count, [args])`. */
function plural(args: Arguments): Message {
  const [first, second, third, ...more] = args
  const own = typeof third === 'string' && typeof second === 'string'
  const [count, list] = own ? more : [third, more[0]]
  const [text, many] = own ? [second, third] : [String(first), String(second)]
  return {
    ...(own ? { id: String(first) } : {}),
    text,
    plural: { text: many, count: countOf(count) },
    args: listOf(list),
  }
}

const listOf = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]

/** What is no number is one: the singular, as in RAIN. */
export const countOf = (value: unknown): number => {
  const count = Number.parseInt(String(value), 10)
  return Number.isNaN(count) ? 1 : count
}

/** Makes `t` and `nt` known to all code of the component. */
export function installSpeech(translations: Translations): void {
  const say = (message: Message): string => translations.translate(message, spoken.getStore() ?? [])
  Object.assign(globalThis, {
    t: (...args: unknown[]) => say(singular(args)),
    nt: (...args: unknown[]) => say(plural(args)),
  })
}
