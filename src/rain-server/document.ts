/** The finished document around a page's html. Pure. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, each => `&#${each.charCodeAt(0)};`)

export interface DocumentParts {
  readonly title: string | undefined
  readonly html: string
  readonly css: readonly string[]
  readonly js: readonly string[]
  readonly locale: string
}

export function documentOf({ title, html, css, js, locale }: DocumentParts): string {
  const links = css.map(linkOf).join('')
  const scripts = js.map(src => `<script src="${escapeHtml(src)}" defer></script>\n`).join('')
  return (
    `<!DOCTYPE html>\n<html lang="${escapeHtml(locale)}">\n<head>\n<meta charset="utf-8">\n` +
    `<meta name="viewport" content="width=device-width, initial-scale=1">\n` +
    `<title>${escapeHtml(title ?? 'RAIN')}</title>\n${links}${scripts}</head>\n<body>\n${html}\n</body>\n</html>\n`
  )
}

/** An url, and after a blank the media that it is for. */
function linkOf(sheet: string): string {
  const [, href = sheet, media] = /^(\S+) (.+)$/.exec(sheet) ?? []
  const only = media === undefined ? '' : ` media="${escapeHtml(media)}"`
  return `<link rel="stylesheet" href="${escapeHtml(href)}"${only}>\n`
}

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
  return documentOf({ title: message, html, css: [], js: [], locale: 'en' })
}
