/** The finished document around a page's html. Pure. */
import type { Assets } from './piece.js'

const special = /[&<>"']/
export const escapeHtml = (text: string): string =>
  special.test(text) ? text.replace(/[&<>"']/g, each => `&#${each.charCodeAt(0)};`) : text

export interface HeadParts extends Assets {
  readonly title: string | undefined
  readonly locale: string
}

/** Up to where the page's html begins. */
export const headOf = ({ title, locale, ...assets }: HeadParts): string =>
  `<!DOCTYPE html>\n<html lang="${escapeHtml(locale)}">\n<head>\n<meta charset="utf-8">\n` +
  `<meta name="viewport" content="width=device-width, initial-scale=1">\n` +
  `<title>${escapeHtml(title ?? 'RAIN')}</title>\n${assetsOf(assets)}</head>\n<body>\n`

export const tail = '\n</body>\n</html>\n'

/** Both may stand in the body as well: a script waits for the end of the page wherever it is. */
export const assetsOf = ({ css, js }: Assets): string =>
  css.map(linkOf).join('') + js.map(src => `<script src="${escapeHtml(src)}" defer></script>\n`).join('')

/** An url, and after a blank the media that it is for. */
function linkOf(sheet: string): string {
  const [, href = sheet, media] = /^(\S+) (.+)$/.exec(sheet) ?? []
  const only = media === undefined ? '' : ` media="${escapeHtml(media)}"`
  return `<link rel="stylesheet" href="${escapeHtml(href)}"${only}>\n`
}

/** What comes after the page's html, and has to go where something else stands until then. */
export const placeholderOf = (name: string, html: string): string =>
  `<div data-rain-late="${name}"${html === '' ? ' hidden' : ''}>${html}</div>`
export const lateOf = (name: string, html: string): string =>
  `\n<template id="${name}">${html}</template>` +
  `<script>{const t=document.getElementById("${name}");` +
  `document.querySelector('[data-rain-late="${name}"]').replaceWith(t.content);t.remove()}</script>`

const messages: Readonly<Record<number, string>> = {
  400: 'This address cannot be understood.',
  401: 'You are not allowed to see this page.',
  404: 'There is no such page.',
  405: 'This page cannot be asked for in that way.',
  501: 'This is not served here.',
  503: 'This page is not available at the moment.',
  504: 'This page took too long.',
}

/** For a page of which nothing could be shown. */
export function errorDocument(status: number): string {
  const message = messages[status] ?? 'This page could not be made.'
  const style = 'font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#333'
  const html = `<main style="${style}"><h1 style="font-size:1.5rem">${message}</h1><p>Status ${status}</p></main>`
  return headOf({ title: message, css: [], js: [], locale: 'en' }) + html + tail
}
