import Handlebars from 'handlebars'
import { expect, it } from 'vitest'
import { helperNames } from '../../src/cloud/component/templates.js'
import { Translations } from '../../src/cloud/translation/translations.js'
import { registerChildHelpers } from '../../src/mothership/child-helpers.js'
import { registerHelpers } from '../../src/mothership/helpers.js'

it('are those that packages are looked over for', () => {
  const handlebars = Handlebars.create()
  const descriptor = { id: 'news', version: '1.0' }
  registerChildHelpers(handlebars, descriptor)
  registerHelpers(handlebars, { descriptor, translations: new Translations(new Map()) })
  const { helpers } = handlebars as unknown as { helpers: object }
  expect(new Set(Object.keys(helpers))).toEqual(helperNames)
})
