/**
 * A visitor's session as a component has it: its own part only, and RAIN's methods. What it changes goes back with the
 * answer of the call.
 */

import { languageKey } from '../cloud/translation/translations.js'
import { changed, type SessionChange, type SessionData, sessionBytesMax } from '../protocol/session-change.js'

export class ComponentSession {
  #data: SessionData
  #cleared = false
  readonly #set = new Map<string, unknown>()
  readonly #removed = new Set<string>()

  constructor(
    readonly id: string | undefined,
    data: SessionData = {},
  ) {
    this.#data = data
  }

  /** A copy: what is to be kept has to be set. */
  get(key: string): unknown {
    const value = Object.hasOwn(this.#data, key) ? this.#data[key] : undefined
    return value === undefined ? undefined : structuredClone(value)
  }

  /** As JSON has it. Throws when the component has more in the session than it may. */
  set(key: string, value: unknown): void {
    if (value === undefined) return this.remove(key)
    const kept: unknown = JSON.parse(JSON.stringify(value))
    const data = changed(this.#data, { set: { [key]: kept }, removed: [] })
    const bytes = Buffer.byteLength(JSON.stringify(data))
    if (bytes > sessionBytesMax) {
      throw new Error(`the session of a component holds ${sessionBytesMax} bytes at most, not ${bytes}`)
    }
    this.#data = data
    this.#set.set(key, kept)
    this.#removed.delete(key)
  }

  remove(key: string): void {
    if (!Object.hasOwn(this.#data, key)) return
    this.#data = changed(this.#data, { set: {}, removed: [key] })
    this.#set.delete(key)
    this.#removed.add(key)
  }

  removeAll(): void {
    this.#data = {}
    this.#cleared = true
    this.#set.clear()
    this.#removed.clear()
  }

  isEmpty(): boolean {
    return Object.keys(this.#data).length === 0
  }

  /** What has changed since this was asked last; undefined for nothing. */
  change(): SessionChange | undefined {
    if (!this.#cleared && this.#set.size === 0 && this.#removed.size === 0) return undefined
    const change = { cleared: this.#cleared, set: Object.fromEntries(this.#set), removed: [...this.#removed] }
    this.#cleared = false
    this.#set.clear()
    this.#removed.clear()
    return change
  }
}

/** RAIN's session of the whole platform. A component can change one thing in it: the visitor's language. */
export class GlobalSession {
  #changed = false

  constructor(private language: string) {}

  get(key: string): unknown {
    return key === 'userLanguage' ? this.language : undefined
  }

  set(key: string, value: unknown): void {
    if (key !== 'userLanguage') throw new Error(`only userLanguage can be set for all components, not ${key}`)
    if (typeof value !== 'string' || !/^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}$/.test(value)) {
      throw new Error('userLanguage has to be a language like "de" or "de_DE"')
    }
    this.language = languageKey(value)
    this.#changed = true
  }

  /** What is new since this was asked last. */
  change(): string | undefined {
    const language = this.#changed ? this.language : undefined
    this.#changed = false
    return language
  }
}

/** Both sessions of one call. */
export class CallSession {
  readonly own: ComponentSession | { readonly id: string | undefined }
  readonly all: GlobalSession

  /** Without `useSession` in its descriptor a component has the session's id only. */
  constructor(id: string | undefined, data: SessionData | undefined, language: string, used: boolean) {
    this.own = used ? new ComponentSession(id, data) : { id }
    this.all = new GlobalSession(language)
  }

  change(): SessionChange | undefined {
    const own = this.own instanceof ComponentSession ? this.own.change() : undefined
    const language = this.all.change()
    if (!own && language === undefined) return undefined
    return { ...(own ?? { set: {}, removed: [] }), ...(language === undefined ? {} : { language }) }
  }
}
