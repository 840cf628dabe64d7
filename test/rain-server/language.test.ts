import { describe, expect, it } from 'vitest'
import { languageFor, platformLanguages } from '../../src/rain-server/language.js'
import { nothingWanted } from '../../src/rain-server/wanted.js'

const of = (byDefault: string, offered: string[]): Parameters<typeof languageFor>[0] => ({
  ...nothingWanted.server,
  languages: { default: byDefault, offered },
})

describe('the language of a page', () => {
  it.each([
    ['what the browser wants most', 'fr;q=0.3, de-CH, de;q=0.9', 'de-CH'],
    ['by weight, not by place', 'fr;q=0.3,de;q=0.9', 'de'],
    ['the default when it wants nothing', '', 'en-US'],
    ['the default when it wants anything', '*', 'en-US'],
    ['the default for what is no language', '<script>, ;;;q=x', 'en-US'],
    ['never what is not wanted', 'de;q=0, fr;q=0.1', 'fr'],
  ])('is %s', (_name, accept, expected) => {
    expect(languageFor(of('en_US', []), accept)).toBe(expected)
  })

  it.each([
    ['the very one', 'fr, de-at', 'de-AT'],
    ['the language itself', 'de-CH', 'de'],
    ['the language as it is spoken elsewhere', 'pt', 'pt-BR'],
    ['the second wish when the first is not offered', 'ja, pt-PT;q=0.5', 'pt-BR'],
    ['the default when nothing wished is offered', 'ja, zh', 'en-US'],
  ])('is of those that are offered %s', (_name, accept, expected) => {
    expect(languageFor(of('en_US', ['de', 'de_AT', 'pt_BR']), accept)).toBe(expected)
  })

  it('is what the session was told, when that is offered', () => {
    expect(languageFor(of('en_US', ['de', 'fr']), 'fr', 'de_DE')).toBe('de')
    expect(languageFor(of('en_US', ['de', 'fr']), 'fr', 'ja')).toBe('fr')
  })

  it('is not what the session was told, when that is no language', () => {
    expect(languageFor(of('en_US', []), 'fr', '"><script>')).toBe('fr')
    expect(languageFor(of('en_US', []), 'fr', 'de_DE')).toBe('de-DE')
  })

  it('is named to components with all that the platform offers', () => {
    expect(platformLanguages(of('en_US', ['de', 'en_US']))).toEqual(['en_US', 'de'])
    expect(platformLanguages(nothingWanted.server)).toEqual([])
  })
})
