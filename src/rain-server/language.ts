/** In which language a page is: what the session was told, what the browser asks for, the platform's default. Pure. */
import type { WantedServer } from '../protocol/messages.js'

const wish = /^\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,3}|\*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/
const wishesMax = 30
const lastResort = 'en'

/** Languages that a browser names, best first; those with `q=0` are not wanted. */
function wishesOf(acceptLanguage: string): string[] {
  return acceptLanguage
    .split(',', wishesMax)
    .flatMap(each => {
      const found = wish.exec(each)
      return found && found[1] !== '*' ? [{ tag: found[1]!, weight: Number(found[2] ?? 1) }] : []
    })
    .filter(each => each.weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .map(each => each.tag)
}

const plain = (language: string): string => language.replaceAll('_', '-').toLowerCase()
const primary = (language: string): string => plain(language).split('-', 1)[0]!

/** As in html's `lang`: `de-DE`. `told`: by the session. */
export function languageFor(server: WantedServer, acceptLanguage: string, told?: string): string {
  const { default: byDefault = lastResort, offered = [] } = server.languages ?? {}
  const wishes = [...wishesOf(told?.replaceAll('_', '-') ?? ''), ...wishesOf(acceptLanguage)]
  const found = offered.length === 0 ? wishes[0] : first(wishes, each => offeredFor(each, offered))
  return (found ?? byDefault).replaceAll('_', '-')
}

function offeredFor(wished: string, offered: readonly string[]): string | undefined {
  return (
    offered.find(each => plain(each) === plain(wished)) ??
    offered.find(each => plain(each) === primary(wished)) ??
    offered.find(each => primary(each) === primary(wished))
  )
}

function first<In, Out>(list: readonly In[], find: (each: In) => Out | undefined): Out | undefined {
  for (const each of list) {
    const found = find(each)
    if (found !== undefined) return found
  }
  return undefined
}

/** The platform's, the default one first, as components are told. */
export const platformLanguages = ({ languages }: WantedServer): string[] =>
  languages ? [...new Set([languages.default, ...languages.offered])] : []
