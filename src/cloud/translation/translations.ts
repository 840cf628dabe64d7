/**
 * A component's translations: which of its languages serve a reader, and a message in the first of them that has it. The
 * reader's language comes first, then the platform's default one, then the message itself, as in RAIN. Pure.
 */
import { filled } from './placeholders.js'
import { type Catalog, keyOf, unescaped } from './po.js'

export interface Message {
  /** What the author wrote, shown where nothing is translated. */
  readonly text: string
  /** Under which it stands in .po files, when that is not the text. */
  readonly id?: string | undefined
  readonly context?: string | undefined
  /** The text for many, with how many there are. */
  readonly plural?: { readonly text: string; readonly count: number } | undefined
  readonly args?: readonly unknown[] | undefined
}

/** As RAIN writes languages: `de_DE`. */
export const languageKey = (language: string): string => language.replaceAll('-', '_')

export class Translations {
  readonly #chains = new Map<string, readonly Catalog[]>()

  /** By language as RAIN writes it; several catalogs where a language has several files, the last one first. */
  constructor(private readonly catalogs: ReadonlyMap<string, readonly Catalog[]>) {}

  /** `languages`: best first. */
  translate(message: Message, languages: readonly string[]): string {
    const { text, plural, args = [] } = message
    const key = keyOf(message.id ?? text, message.context)
    for (const catalog of this.#chain(languages)) {
      const forms = catalog.messages.get(key) ?? catalog.messages.get(unescaped(key))
      const form = forms?.[plural ? catalog.plural.formOf(plural.count) : 0]
      if (form !== undefined && form !== '') return filled(form, args)
    }
    return filled(plural && plural.count !== 1 ? plural.text : text, args)
  }

  #chain(languages: readonly string[]): readonly Catalog[] {
    const name = languages.join(' ')
    let found = this.#chains.get(name)
    if (!found) {
      found = [...new Set(languages.flatMap(each => this.#serving(each)))]
      // Who asks for ever other languages does not fill the memory.
      if (this.#chains.size >= chainsMax) this.#chains.clear()
      this.#chains.set(name, found)
    }
    return found
  }

  /** Of `de_AT`: itself, then `de`, then what is spoken elsewhere, in order of names. */
  #serving(language: string): Catalog[] {
    const asked = languageKey(language).toLowerCase()
    const primary = asked.split('_', 1)[0]!
    const rank = (name: string): number => (name === asked ? 0 : name === primary ? 1 : 2)
    return [...this.catalogs]
      .map(([name, catalogs]) => ({ name: languageKey(name).toLowerCase(), catalogs }))
      .filter(({ name }) => name.split('_', 1)[0] === primary)
      .sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1))
      .flatMap(each => each.catalogs)
  }
}

const chainsMax = 200
