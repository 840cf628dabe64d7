/** The fragment that every system serves, about 1 KiB: its parts, and its html. Fragment n is the same everywhere. */

const subjects = ['Rain', 'Wind', 'Snow', 'Hail', 'Fog', 'Frost', 'Dew', 'Mist', 'Sleet', 'Thunder']

export const fragmentsMax = 50

/** What a data provider gives to a template. */
export function fragmentParts(n) {
  const items = subjects.map((subject, i) => ({
    href: `/cards/${n}/${i}`,
    text: `${subject} over station ${n * 10 + i}, as it was told early this morning`,
  }))
  return { n, items }
}

/** What the template makes of it (OpenComponents: oc-fragment/template.hbs). */
export function fragmentHtml(n) {
  const items = fragmentParts(n).items.map(({ href, text }) => `<li><a href="${href}">${text}</a></li>`)
  return `<section class="card" data-n="${n}"><h2>Fragment ${n}</h2><ul>${items.join('')}</ul></section>`
}
