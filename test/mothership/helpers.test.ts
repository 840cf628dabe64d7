/** RAIN's template helpers, in a component's process. */
import { describe, expect, it } from 'vitest'
import { formats } from '../../src/mothership/formats.js'
import { type Files, running } from '../support/component.js'

const one = (template: string, more: Files = {}): Files => ({
  'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } }),
  'client/templates/index.html': template,
  'client/css/a.css': '',
  'client/css/b.css': '',
  ...more,
})

describe('css', () => {
  it('names the style sheets of the view, its own, those of others, and for what media', async () => {
    const { rendered } = await running(
      one(
        '{{css path="b.css"}}{{css path="b.css"}}{{css path="print page.css" media="print"}}' +
          '{{css name="button" version="1.1" path="index.css"}}{{css name="button" path="index.css"}}text',
      ),
    )
    expect(await rendered()).toMatchObject({
      html: 'text',
      css: [
        '/news/1.0/css/b.css',
        '/news/1.0/css/print%20page.css print',
        '/button/1.1/css/index.css',
        '/button/css/index.css',
      ],
    })
  })

  it('is not needed: without it a view has all style sheets of its package', async () => {
    const { rendered } = await running(one('text'))
    expect((await rendered()).css).toEqual(['/news/1.0/css/a.css', '/news/1.0/css/b.css'])
  })

  it('without a path, or with a version and no name, fails the view', async () => {
    await expect((await running(one('{{css}}'))).rendered()).rejects.toThrow('500: {{css}} without a path')
    await expect((await running(one('{{css path="a" version="1"}}'))).rendered()).rejects.toThrow('without a name')
  })
})

describe('url', () => {
  it.each([
    ['path="images/a b.png"', '/news/1.0/resources/images/a%20b.png'],
    ['path="/a.png" localized=true', '/news/1.0/resources/a.png?loc=1'],
    ['path="a.png" name="other" version="2.0"', '/other/2.0/resources/a.png'],
    ['path="a.png" name="other"', '/other/resources/a.png'],
    ['path="http://example.com/a.png" localized=true', 'http://example.com/a.png'],
    ['"a.png" true', '/news/1.0/resources/a.png?loc=1'],
    ['"/other/resources/a.png"', '/other/resources/a.png'],
    ['nothing', ''],
  ])('of %s is %s', async (args, expected) => {
    const { show } = await running(one(`{{{url ${args}}}}`))
    expect(await show()).toBe(expected)
  })
})

describe('partial', () => {
  it('shows a partial by a name of the context, deep ones too, and nothing where there is none', async () => {
    const { show } = await running(
      one('{{partial "deep/item"}}|{{partial which}}|{{partial "gone"}}|{{> deep/item}}', {
        'client/partials/deep/item.html': '<b>{{text}}{{t "Hi"}}</b>',
      }),
    )
    const item = '<b>&lt;a&gt;Hi</b>'
    expect(await show({}, { text: '<a>', which: 'deep/item' })).toBe(`${item}|${item}||${item}`)
  })
})

describe('what is written as who looks does', () => {
  const at = new Date(2013, 6, 16, 17, 5)
  it.each([
    ['number', [345989.3452], 'de_DE', '345.989,3452'],
    ['number', ['1234.5'], 'en_US', '1,234.5'],
    ['number', ['many'], 'en_US', 'many'],
    ['number', [undefined], 'en_US', ''],
    ['percentage', [12.345], 'en_US', '12.35%'],
    ['percentage', ['?'], 'en_US', '?'],
    ['currency', [1234.5], 'en_US', '$1,234.50'],
    ['currency', [1234.5], 'de', '1.234,50 €'],
    ['currency', [2], 'pl_PL', '2,00 zł'],
    ['date', [at], 'de_DE', '16.07.2013'],
    ['date', [at.getTime()], 'en_US', '07/16/2013'],
    ['date', ['whenever'], 'en_US', 'whenever'],
    ['time', [at], 'de_DE', '17:05'],
    ['range', [at, new Date(2013, 6, 18)], 'en_US', 'July 16 – 18, 2013'],
    ['range', ['a', 'b'], 'en_US', 'a - b'],
    ['number', [1.5], 'no language', '1.5'],
  ])('%s of %j in %s', (name, values, language, expected) => {
    expect(formats[name]!(values, language, {}).replace(/[\u00a0\u2009\u202f]/g, ' ')).toBe(expected)
  })

  it('is in the language of the call, and of the currency that is named', async () => {
    const { show } = await running(one('{{number n}} {{currency n code="chf"}}'))
    const text = await show({ locale: 'de-DE' }, { n: 1.5 })
    expect(text.replaceAll('\u00a0', ' ')).toBe('1,5 1,50 CHF')
  })
})
