import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyOf, readPo } from '../../../src/cloud/translation/po.js'

const read = (text: string): ReturnType<typeof readPo> => readPo(Buffer.from(text))

function messages(text: string): Record<string, readonly string[]> {
  const reading = read(text)
  if (reading.kind === 'bad') throw new Error(JSON.stringify(reading.errors))
  return Object.fromEntries(reading.catalog.messages)
}

describe('a .po file', () => {
  it('is read as gettext writes it', () => {
    const found = messages(`# Translations of the shop
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=3; plural=n==1 ? 0 : n<5 ? 1 : 2;\\n"

#. for who comes in
#: client/templates/index.html:3
#, fuzzy, c-format
#| msgid "Hi"
msgid "Hello, %s"
msgstr "Dzień dobry, %s"
#~ msgid "gone"
#~ msgstr "precz"
msgctxt "month"
msgid "May"
msgstr "maj"

msgid "one car"
msgid_plural "%d cars"
msgstr[0] "auto"
msgstr[1] "%d auta"
msgstr[2] "%d aut"

msgid ""
"long "
"text\\n"
msgstr ""
"d\\"łu\\"gi "
"tekst\\n"
`)
    expect(found).toEqual({
      'Hello, %s': ['Dzień dobry, %s'],
      [keyOf('May', 'month')]: ['maj'],
      'one car': ['auto', '%d auta', '%d aut'],
      'long text\n': ['d"łu"gi tekst\n'],
    })
  })

  it("is read as RAIN's components have it: no header, with a mark at its beginning, Windows' line ends, none at its end", () => {
    expect(messages('\uFEFFmsgid "Sincerely,"\r\nmsgstr "Cu stimă,"\r\n\r\nmsgid "%1$s"\r\nmsgstr "%1$s"')).toEqual({
      'Sincerely,': ['Cu stimă,'],
      '%1$s': ['%1$s'],
    })
    expect(messages('')).toEqual({})
  })

  it('keeps the later one of two messages with one key', () => {
    expect(messages('msgid "a"\nmsgstr "1"\n\nmsgid "a"\nmsgstr "2"\n')).toEqual({ a: ['2'] })
  })

  const fine = 'msgid "a"\nmsgstr "b"\n\n'
  it.each([
    ['a line that is none', `${fine}mgsid "a"`, 4, 'not a line'],
    ['a string without an end', `${fine}msgid "a\nmsgstr "b"`, 4, 'does not end'],
    ['a quote within', `${fine}msgid "a"b"\nmsgstr "b"`, 4, 'does not end'],
    ['a backslash at the end', `${fine}msgid "a\\"\nmsgstr "b"`, 4, 'does not end'],
    ['a string that belongs to nothing', `${fine}"alone"`, 4, 'belongs to nothing'],
    ['a string after an empty line', 'msgid "a"\n\n"alone"\nmsgstr "b"', 3, 'belongs to nothing'],
    ['no msgstr', `${fine}msgid "c"\n`, 4, 'without msgstr'],
    ['no msgstr before the next', 'msgid "c"\nmsgid "d"\nmsgstr "e"', 1, 'without msgstr'],
    ['no msgid', `${fine}msgstr "c"`, 4, 'msgstr twice'],
    ['msgstr at the very beginning', 'msgstr "c"', 1, 'before msgid'],
    ['a context of nothing', `${fine}msgctxt "c"\n`, 4, 'without msgid'],
    ['a form that is missing', 'msgid "a"\nmsgid_plural "b"\nmsgstr[1] "c"', 3, 'msgstr[0] is missing'],
    ['a form without a plural', 'msgid "a"\nmsgstr[0] "b"\nmsgstr[1] "c"', 3, 'without msgid_plural'],
    ['a form too many', 'msgid "a"\nmsgid_plural "b"\nmsgstr[0] ""\nmsgstr[1] ""\nmsgstr[2] ""', 5, 'knows 2 forms'],
    ['a wrong rule', 'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=m;\\n"', 1, 'Plural-Forms'],
    ['another charset', 'msgid ""\nmsgstr "Content-Type: text/plain; charset=ISO-8859-1\\n"', 1, 'ISO-8859-1'],
  ])('with %s is refused with the line', (_name, text, line, message) => {
    const reading = read(text)
    expect(reading.kind === 'bad' && reading.errors[0]).toEqual({ line, message: expect.stringContaining(message) })
  })

  it('that is not UTF-8 is refused with the line', () => {
    const bytes = Buffer.concat([Buffer.from(fine), Buffer.from([0x6d, 0xe4, 0x0a])])
    expect(readPo(bytes)).toEqual({ kind: 'bad', errors: [{ line: 4, message: 'not UTF-8' }] })
  })

  it('tells several lines at once, in order, and no more than some', () => {
    const reading = read('a\nb\n'.repeat(50))
    const lines = reading.kind === 'bad' ? reading.errors.map(each => each.line) : []
    expect([lines.length, lines.slice(0, 3)]).toEqual([20, [1, 2, 3]])
  })

  it('never throws, whatever is in it', () => {
    const pieces = fc.constantFrom(
      'msgid ',
      'msgstr',
      '[1]',
      '"',
      '\\',
      '\n',
      '\r',
      'a',
      '#~',
      'msgctxt "x"',
      '%',
      '\0',
    )
    fc.assert(fc.property(fc.array(pieces), list => void read(list.join(''))))
    fc.assert(fc.property(fc.uint8Array(), bytes => void readPo(bytes)))
  })

  it('comes back as it was written', () => {
    const quoted = (text: string): string =>
      JSON.stringify(text).replace(/\\u([0-9a-f]{4})/g, (_, hex: string) => {
        return `\\${Number.parseInt(hex, 16).toString(8).padStart(3, '0')}`
      })
    const text = fc.string({ unit: 'binary-ascii', minLength: 1 })
    fc.assert(
      fc.property(text, text, (id, form) => {
        expect(messages(`msgid ${quoted(id)}\nmsgstr ${quoted(form)}\n`)).toEqual({ [id]: [form] })
      }),
    )
  })
})
