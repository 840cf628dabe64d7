/**
 * A .po file as messages by key. As strict as gettext's own tools where a file is broken, with the line; as generous as
 * RAIN where it is only untidy: messages marked `fuzzy` count, of two with one key the later one does. Pure.
 *
 * Why not a library: those that are kept bring tables of old character sets (RAIN reads UTF-8 alone) and tell no line
 * for most of what can be wrong.
 */
import { type PluralForms, readPluralForms, twoForms } from './plural.js'

export interface Catalog {
  readonly plural: PluralForms
  /** By `keyOf`; a form that is not translated is empty, or missing at the end. */
  readonly messages: ReadonlyMap<string, readonly string[]>
}

export interface LineError {
  /** From 1. */
  readonly line: number
  readonly message: string
}

export type PoReading =
  | { readonly kind: 'good'; readonly catalog: Catalog }
  | { readonly kind: 'bad'; readonly errors: readonly LineError[] }

/** As gettext and RAIN put context and message together. */
export const keyOf = (message: string, context?: string): string =>
  context === undefined || context === '' ? message : `${context}\u0004${message}`

const keyword = /^(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d{1,3})\])?)\s*(".*)$/
const errorsMax = 20

interface Entry {
  readonly line: number
  context?: string
  id?: string
  plural?: string
  readonly forms: string[]
  /** Line of each form. */
  readonly at: number[]
}

type Field = 'context' | 'id' | 'plural' | number

export function readPo(bytes: Uint8Array): PoReading {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return { kind: 'bad', errors: [{ line: lineOfBadByte(bytes), message: 'not UTF-8' }] }
  }
  const reader = new Reader()
  for (const [index, line] of text.split(/\r\n|\n|\r/).entries()) reader.line(line, index + 1)
  reader.end()
  return reader.reading()
}

class Reader {
  readonly #entries: Entry[] = []
  readonly #errors: LineError[] = []
  #entry: Entry | undefined
  #field: Field | undefined

  line(line: string, number: number): void {
    const text = line.trim()
    if (text === '') this.#field = undefined
    else if (text.startsWith('#')) return
    else if (text.startsWith('"')) this.#continued(text, number)
    else this.#begin(text, number)
  }

  end(): void {
    this.#close()
  }

  reading(): PoReading {
    const plural = this.#pluralForms()
    const messages = new Map<string, string[]>()
    for (const { id, context, forms, at } of this.#entries) {
      if (id === undefined || (id === '' && context === undefined)) continue
      if (forms.length > plural.count) {
        this.#refuse(at.at(-1)!, `msgstr[${forms.length - 1}], but Plural-Forms knows ${plural.count} forms`)
      }
      messages.set(keyOf(id, context), forms)
    }
    if (this.#errors.length > 0) return { kind: 'bad', errors: this.#errors.sort((a, b) => a.line - b.line) }
    return { kind: 'good', catalog: { plural, messages } }
  }

  #begin(text: string, line: number): void {
    const found = keyword.exec(text)
    if (!found) {
      this.#field = undefined
      return this.#refuse(line, `"${text.slice(0, 40)}" is not a line of a .po file`)
    }
    const [, name = '', form, quoted = ''] = found
    const field = fieldOf(name, form)
    if (field === 'context' || (field === 'id' && this.#entry?.id !== undefined)) this.#close()
    this.#entry ??= { line, forms: [], at: [] }
    const wrong = misplaced(this.#entry, field, name)
    if (wrong !== undefined) this.#refuse(line, wrong)
    this.#field = field
    this.#put(this.#entry, field, this.#string(quoted, line), line)
  }

  #continued(text: string, line: number): void {
    if (this.#entry && this.#field !== undefined)
      this.#put(this.#entry, this.#field, this.#string(text, line), line, true)
    else this.#refuse(line, 'a string that belongs to nothing')
  }

  #put(entry: Entry, field: Field, value: string, line: number, more = false): void {
    if (typeof field === 'number') {
      entry.forms[field] = (more ? (entry.forms[field] ?? '') : '') + value
      entry.at[field] ??= line
    } else entry[field] = (more ? (entry[field] ?? '') : '') + value
  }

  #close(): void {
    const entry = this.#entry
    this.#entry = undefined
    this.#field = undefined
    if (!entry) return
    if (entry.id === undefined) return this.#refuse(entry.line, 'a message without msgid')
    if (entry.forms.length === 0) return this.#refuse(entry.line, 'a msgid without msgstr')
    for (let form = 0; form < entry.forms.length; form++) {
      if (entry.forms[form] === undefined) return this.#refuse(entry.at.at(-1)!, `msgstr[${form}] is missing`)
    }
    this.#entries.push(entry)
  }

  #string(quoted: string, line: number): string {
    const inner = /^"((?:[^"\\]|\\.)*)"$/.exec(quoted.trimEnd())?.[1]
    if (inner === undefined) {
      this.#refuse(line, 'a string that does not end, or is followed by something')
      return ''
    }
    return unescaped(inner)
  }

  #pluralForms(): PluralForms {
    const header = this.#entries.find(each => each.id === '' && each.context === undefined)
    const fields = new Map((header?.forms[0] ?? '').split('\n').map(each => splitField(each)))
    const charset = /charset=([^\s;]+)/i.exec(fields.get('content-type') ?? '')?.[1]
    if (charset !== undefined && !/^(utf-?8|us-ascii|ascii|charset)$/i.test(charset)) {
      this.#refuse(header!.line, `the charset ${charset}: write the file as UTF-8`)
    }
    const written = fields.get('plural-forms') ?? fields.get('plural_forms')
    if (written === undefined || /nplurals=INTEGER/.test(written)) return twoForms
    const reading = readPluralForms(written)
    if (reading.kind === 'good') return reading.forms
    this.#refuse(header!.line, reading.message)
    return twoForms
  }

  #refuse(line: number, message: string): void {
    if (this.#errors.length < errorsMax) this.#errors.push({ line, message })
  }
}

function fieldOf(name: string, form: string | undefined): Field {
  if (name === 'msgctxt') return 'context'
  if (name === 'msgid') return 'id'
  if (name === 'msgid_plural') return 'plural'
  return Number(form ?? 0)
}

function misplaced(entry: Entry, field: Field, name: string): string | undefined {
  if (field === 'context' || field === 'id') return undefined
  if (entry.id === undefined) return `${name} before msgid`
  if (field === 'plural') {
    if (entry.plural !== undefined) return 'msgid_plural twice'
    return entry.forms.length > 0 ? 'msgid_plural after msgstr' : undefined
  }
  if (entry.forms[field] !== undefined) return `${name} twice`
  if (field > 0 && entry.plural === undefined) return `${name} without msgid_plural`
  return undefined
}

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\u0007' }

/** What C's strings have; an escape that means nothing is left as it is. */
export const unescaped = (text: string): string =>
  text.replace(/\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)/gs, (whole, code: string) => {
    if (/^x./.test(code)) return String.fromCharCode(Number.parseInt(code.slice(1), 16))
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8))
    return escapes[code] ?? (/["'\\?]/.test(code) ? code : whole)
  })

function splitField(line: string): [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, Math.max(0, colon)).trim().toLowerCase(), line.slice(colon + 1).trim()]
}

/** The first line that cannot be read; no character goes over the end of a line. */
function lineOfBadByte(bytes: Uint8Array): number {
  let line = 1
  let from = 0
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && bytes[at] !== 0x0a) continue
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(from, at))
    } catch {
      return line
    }
    line++
    from = at + 1
  }
  return line
}
