/** What components show and say in the reader's language, in processes of their own. */
import { describe, expect, it } from 'vitest'
import { type Files, running } from '../support/component.js'

const locales: Files = {
  'locale/de_DE/messages.po': `msgid "Hello, %s"
msgstr "Hallo, %s"

msgid "one book"
msgid_plural "%d books"
msgstr[0] "ein Buch"
msgstr[1] "%d Bücher"

msgid "shop.title"
msgstr "Laden & mehr"

msgctxt "verb"
msgid "open"
msgstr "öffnen"
`,
  'locale/en_US/messages.po': 'msgid "only English"\nmsgstr "English only"',
}

const one = (template: string, more: Files = {}): Files => ({
  'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } }),
  'client/templates/index.html': template,
  ...locales,
  ...more,
})
const german = { locale: 'de-DE', languages: ['en_US', 'de_DE'] }

describe('a template', () => {
  it('is in the language that is asked for, then in the default one, then as it is written', async () => {
    const { show } = await running(one('{{t "Hello, %s" who}}|{{t "only English"}}|{{t "100% as it is"}}'))
    expect(await show(german, { who: '<Ada>' })).toBe('Hallo, &lt;Ada&gt;|English only|100% as it is')
    expect(await show({}, { who: 'Ada' })).toBe('Hello, Ada|English only|100% as it is')
    expect(await show({ locale: 'fr' }, { who: 'Ada' })).toBe('Hello, Ada|only English|100% as it is')
  })

  it('has plurals, ids, contexts and texts for later', async () => {
    const { show } = await running(
      one(
        '{{#each counts}}{{nt "one book" "%d books" this this}};{{/each}}{{t "Shop" id="shop.title" var="title"}}' +
          '<{{title}}>{{{title}}}|{{t "open" context="verb"}}|{{nt "a" "b" "no number"}}',
      ),
    )
    expect(await show(german, { counts: [1, 2] })).toBe('ein Buch;2 Bücher;<Laden &amp; mehr>Laden & mehr|öffnen|a')
  })
})

describe('code of the server', () => {
  it('has t and nt, in the language of the call, after waiting too, also where calls cross', async () => {
    const { show } = await running(
      one('{{text}}', {
        'server/data.js': `
          let waiting = []
          exports.index = async (environment, callback, { who }) => {
            const before = t('Hello, %s', [who])
            await new Promise(resolve => { waiting.push(resolve); if (waiting.length === 2) waiting.forEach(go => go()) })
            const after = [nt('one book', '%d books', 2, [2]), t('shop.title', 'Shop'), nt('no.id', 'x', 'xs', 3)]
            return { text: [before, ...after, environment.language].join('|') }
          }`,
      }),
    )
    const [one_, two] = await Promise.all([show(german, { who: 'Ada' }), show({ locale: 'en-US' }, { who: 'Bob' })])
    expect(one_).toBe('Hallo, Ada|2 Bücher|Laden &amp; mehr|xs|de_DE')
    expect(two).toBe('Hello, Bob|2 books|Shop|xs|en_US')
  })

  it('has them in ES modules and in controllers, too', async () => {
    const { show, control } = await running(
      one('{{text}}', {
        'package.json': '{"type":"module"}',
        'server/data.js': "export const index = (_, callback) => callback(null, { text: t('Hello, %s', ['Ada']) })",
        'server/controller/say.js': "export const get = (_, response) => response.end(nt('one book', '%d books', 1))",
      }),
    )
    expect(await show(german)).toBe('Hallo, Ada')
    expect((await control('say', german)).text).toBe('ein Buch')
  })

  it('is told what the platform offers, by their own names', async () => {
    const { show } = await running(
      one('{{{text}}}', {
        'server/data.js':
          'exports.index = ({ languages }, callback) => callback(null, { text: JSON.stringify(languages) })',
      }),
    )
    expect(JSON.parse(await show({ languages: ['en', 'de', 'xx_NO_SUCH'] }))).toEqual([
      { key: 'en', text: 'English' },
      { key: 'de', text: 'Deutsch' },
      { key: 'xx_NO_SUCH', text: expect.any(String) },
    ])
  })
})
