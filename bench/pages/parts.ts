/** The pages that are measured: k fragments from three motherships, each made after a timer. */
import type { Part } from './cloud.js'

export const sizes = [1, 5, 20, 50] as const
const items = Array.from({ length: 10 }, (_, i) => i)

/** The fragment of `bench/peers/fragment.mjs`, as a template. */
const template = `<section class="card" data-n="{{n}}"><h2>Fragment {{n}}</h2>{{{body}}}</section>`

/** `bodyOf`: what is within the section, as the code of a component. */
export function partsOf(fragmentHtml: (n: number) => string, timerMs: number): Part[] {
  const bodies = Array.from({ length: 50 }, (_, n) => bodyOf(fragmentHtml(n), n))
  const fragments = [1, 2, 3].map(
    (on, index): Part => ({
      id: `part${index}`,
      on: [on],
      files: {
        'meta.json': JSON.stringify({ id: `part${index}`, version: '1.0', views: { index: {} } }),
        'client/templates/index.html': template,
        'server/data.js': `
          const bodies = ${JSON.stringify(bodies)}
          exports.index = (environment, callback, context) =>
            setTimeout(() => callback(null, { n: context.n, body: bodies[context.n] }), ${timerMs})
        `,
      },
    }),
  )
  const children = (k: number): string =>
    Array.from({ length: k }, (_, n) => `{{component name="part${n % 3}" n=${n}}}`).join('')
  const page: Part = {
    id: 'page',
    on: [1],
    files: {
      'meta.json': JSON.stringify({
        id: 'page',
        version: '1.0',
        views: Object.fromEntries(sizes.map(k => [`k${k}`, {}])),
      }),
      ...Object.fromEntries(sizes.map(k => [`client/templates/k${k}.html`, children(k)])),
    },
  }
  return [page, ...fragments]
}

function bodyOf(html: string, n: number): string {
  const [open, close] = [`<section class="card" data-n="${n}"><h2>Fragment ${n}</h2>`, '</section>']
  if (!html.startsWith(open) || !html.endsWith(close)) throw new Error(`not the fragment that was expected: ${html}`)
  return html.slice(open.length, -close.length)
}

/** Of about the same size, where the peers are not there. */
export const ownFragment = (n: number): string =>
  `<section class="card" data-n="${n}"><h2>Fragment ${n}</h2><ul>` +
  items.map(i => `<li>Item ${i} of fragment ${n}: ${'some text that says nothing much. '.repeat(2)}</li>`).join('') +
  '</ul></section>'

/** Of a finished page: whether all its fragments are there, in order. */
export function countOf(html: string): number {
  const found = [...html.matchAll(/data-n="(\d+)"/g)].map(each => Number(each[1]))
  return found.every((n, index) => n === index) ? found.length : -1
}
