/** What stands in the place of a fragment that could not be had, and what is told of it. Pure. */
import { escapeHtml } from './document.js'
import type { Fragment } from './fragment-cache.js'
import type { Piece } from './piece.js'

/** What became of a fragment, and why what was wanted first did not. */
export type Step = 'copy' | 'other copy' | 'kept' | 'stale' | 'fallback' | 'error' | 'empty'
export type Because = 'timeout' | 'unreachable' | 'failed' | 'refused' | 'missing' | 'limit'

/** A package's own fallback. */
export const standing = (html: string): Fragment => ({
  t: 'fragment',
  r: 0,
  instance: 'fallback',
  mothership: '',
  html,
  css: [],
  js: [],
  context: {},
  children: [],
})

export function becauseOf(status: number): Because {
  if (status === 504) return 'timeout'
  if (status === 508) return 'limit'
  if (status === 502 || status === 503) return 'unreachable'
  return status === 404 ? 'missing' : status < 500 ? 'refused' : 'failed'
}

/** The platform's error view. */
export const around = (component: string, status: number, { texts, ...piece }: Piece): Piece => ({
  ...piece,
  texts: [
    `<div class="rain-error" data-rain-component="${escapeHtml(component)}" data-rain-status="${status}"` +
      ` role="note">${texts.join('')}</div>`,
  ],
})

/** Nothing, with a note for who looks closer, and for programs that look for what is missing on a page. */
export const nothingFor = (what: { component: string; view: string; status: number; reason: string }): string => {
  const { component, view, status, reason } = what
  const marks = `data-rain-component="${component}" data-rain-status="${status}" data-rain-view="${view}"`
  return `<!-- ${commented(`${marks} ${reason}`)} -->`
}

/** Within a comment nothing may end it. */
const commented = (text: string): string =>
  text
    .slice(0, 300)
    .replace(/[<>]/g, each => (each === '<' ? '‹' : '›'))
    .replace(/--+/g, '–')
    .replace(/-$/, '–')
