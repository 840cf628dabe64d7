/** Which path goes to which group: two maps of HAProxy, as rows of key and group. Pure. */
import type { Shape } from './shape.js'

export const exactMapFile = 'paths.map'
export const prefixMapFile = 'prefixes.map'

export type Rows = (readonly [key: string, group: string])[]

const patternsOf = ({ pages }: Shape): { readonly pattern: string; readonly name: string }[] =>
  pages
    .flatMap(({ pattern, name }) => (pattern === null ? [] : [{ pattern, name }]))
    .sort((a, b) => (a.pattern < b.pattern ? -1 : 1))

/** Whole paths. A prefix `/shop/*` is also the path `/shop`. */
export function exactRows(shape: Shape): Rows {
  const all = patternsOf(shape)
  return all.flatMap(({ pattern, name }): Rows => {
    const path = pattern.endsWith('/*') ? pattern.slice(0, -2) : pattern
    const own = !pattern.endsWith('/*') || !all.some(each => each.pattern === path)
    return path === '' || !own ? [] : [[path, name]]
  })
}

/** Prefixes; HAProxy takes the longest one that matches. */
export const prefixRows = (shape: Shape): Rows =>
  patternsOf(shape).flatMap(({ pattern, name }): Rows => (pattern.endsWith('/*') ? [[pattern.slice(0, -1), name]] : []))

const mapOf = (rows: Rows): string => rows.map(row => `${row.join(' ')}\n`).join('')
export const renderExactMap = (shape: Shape): string => mapOf(exactRows(shape))
export const renderPrefixMap = (shape: Shape): string => mapOf(prefixRows(shape))
