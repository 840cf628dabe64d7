import { describe, expect, it } from 'vitest'
import { localeErrors, translationsOf } from '../../../src/cloud/component/locales.js'
import { readPackage } from '../../../src/cloud/component/package.js'
import { filled } from '../../../src/cloud/translation/placeholders.js'
import type { Message } from '../../../src/cloud/translation/translations.js'
import { aPackage } from '../../support/packages.js'

const files = {
  'locale/de_DE/messages.po': `msgid "Hello"
msgstr "Hallo"

msgid "one car"
msgid_plural "%d cars"
msgstr[0] "ein Auto"
msgstr[1] "%d Autos"

msgid "cart.button"
msgstr "In den Korb"

msgctxt "verb"
msgid "open"
msgstr "öffnen"

msgid "two\\nlines"
msgstr "zwei\\nZeilen"

msgid "not yet"
msgstr ""

msgid "Twice"
msgstr "das erste Mal"
`,
  'locale/de_DE/more/again.po': 'msgid "Bye"\nmsgstr "Tschüss"\n\nmsgid "Twice"\nmsgstr "das zweite Mal"',
  'locale/de.po': 'msgid "Bye"\nmsgstr "Auf Wiedersehen"\n\nmsgid "Thanks"\nmsgstr "Danke"',
  'locale/de_AT/messages.po': 'msgid "Bye"\nmsgstr "Servus"',
  'locale/en_US/messages.po': 'msgid "not yet"\nmsgstr "soon"\n\nmsgid "Hello"\nmsgstr "Howdy"',
  'locale/pl_PL/messages.po': `msgid ""
msgstr "Plural-Forms: nplurals=3; plural=n==1 ? 0 : n<5 ? 1 : 2;\\n"

msgid "one car"
msgid_plural "%d cars"
msgstr[0] "auto"
msgstr[1] "%d auta"
msgstr[2] "%d aut"
`,
  'locale/README.md': 'no translation',
}
const bytes = Object.entries(files).map(([path, text]): [string, Buffer] => [path, Buffer.from(text)])
const translations = translationsOf(bytes)
const say = (text: string, languages: readonly string[] = ['de_DE', 'en_US'], more: Partial<Message> = {}): string =>
  translations.translate({ text, ...more }, languages)

describe('a message', () => {
  it("is in the reader's language, or else in the platform's, or else as it was written", () => {
    expect(['Hello', 'not yet', 'Never seen'].map(text => say(text))).toEqual(['Hallo', 'soon', 'Never seen'])
    expect(say('Hello', ['fr', 'en_US'])).toBe('Howdy')
    expect(say('Hello', [])).toBe('Hello')
  })

  it('is taken from the language as it is spoken elsewhere, when it is not in the very one', () => {
    expect(say('Bye', ['de_AT'])).toBe('Servus')
    expect(say('Thanks', ['de-at'])).toBe('Danke')
    expect(say('Hello', ['de_CH'])).toBe('Hallo')
    expect(say('Bye', ['de_DE'])).toBe('Tschüss')
  })

  it('is the one of the later file, when a language has several', () => {
    expect(say('Twice')).toBe('das zweite Mal')
  })

  it('takes the plural form of its language', () => {
    const cars = (count: number, language: string): string =>
      say('one car', [language], { plural: { text: '%d cars', count }, args: [count] })
    expect([1, 3, 7].map(count => cars(count, 'pl_PL'))).toEqual(['auto', '3 auta', '7 aut'])
    expect([1, 3].map(count => cars(count, 'de_DE'))).toEqual(['ein Auto', '3 Autos'])
    expect([1, 0].map(count => cars(count, 'sv'))).toEqual(['one car', '0 cars'])
  })

  it('may have an id, and a context', () => {
    expect(say('Add', ['de_DE'], { id: 'cart.button' })).toBe('In den Korb')
    expect(say('Add', ['de_DE'], { id: 'cart.other' })).toBe('Add')
    expect(say('open', ['de_DE'], { context: 'verb' })).toBe('öffnen')
    expect(say('open', ['de_DE'])).toBe('open')
  })

  it('is found as a template writes it, which knows no escapes', () => {
    expect(say('two\\nlines')).toBe('zwei\nZeilen')
    expect(say('two\nlines')).toBe('zwei\nZeilen')
  })
})

describe('places in a text', () => {
  it.each([
    ['%s and %s', ['a', 'b'], 'a and b'],
    ['%2$s, %1$s', ['Ada', 'Lovelace'], 'Lovelace, Ada'],
    ['%d%% of %s', [50, 'it'], '50% of it'],
    ['%.2f', [1.005e2], '100.50'],
    ['%05d|%+d|%-4s|%4s', [42, 7, 'a', 'b'], '00042|+7|a   |   b'],
    ["%'*6d", [42], '****42'],
    ['%x %X %o %b %c', [255, 255, 8, 5, 65], 'ff FF 10 101 A'],
    ['%(user.name)s', [{ user: { name: 'Ada' } }], 'Ada'],
    ['%(constructor)s', [{}], '%(constructor)s'],
    ['%s and %s', ['a'], 'a and %s'],
    ['%d', ['many'], 'many'],
    ['100% sure', [], '100% sure'],
    ['%s', [], '%s'],
    ['%-05d|', [42], '42   |'],
  ])('of %j are filled with %j', (text, args, expected) => {
    expect(filled(text, args)).toBe(expected)
  })
})

describe('translations of a package', () => {
  it('that cannot be read are told with file and line', () => {
    const bad = new Map([
      ['locale/de_DE/messages.po', Buffer.from('msgid "a"\n\nmsgstr "b')],
      ['locale/what ever/messages.po', Buffer.from('')],
      ['client/messages.po', Buffer.from('nothing of ours')],
    ])
    expect(localeErrors(bad)).toEqual([
      { path: 'locale/de_DE/messages.po', line: 3, message: 'a string that does not end, or is followed by something' },
      { path: 'locale/what ever/messages.po', message: '"what ever" is not a language like "de" or "de_DE"' },
    ])
    expect(localeErrors(bytes)).toEqual([])
  })

  it('that are broken are refused when it is deployed', async () => {
    const reading = await readPackage(
      await aPackage({
        'meta.json': JSON.stringify({ id: 'news', version: '1.0' }),
        'locale/de_DE/messages.po': 'msgid "a"\nmsgstr "b"\n\nmsgid "c"\n',
      }),
    )
    expect(reading).toEqual({
      kind: 'bad',
      errors: [{ path: 'locale/de_DE/messages.po', line: 4, message: 'a msgid without msgstr' }],
    })
  })
})
