/**
 * A bare server of node's own that has every page finished, and answers after the timer that fragments would have run:
 * what any page costs at least, whatever puts it together. Arguments: port, ms, and what makes a fragment (a module with
 * `fragmentHtml`), or nothing for the benchmark's own.
 */
import { createServer } from 'node:http'
import { headOf, tail } from '../../src/rain-server/document.js'
import { ownFragment, sizes } from '../pages/parts.js'

const [port, timerMs, module] = process.argv.slice(2)
const { fragmentHtml } = module
  ? ((await import(module)) as { fragmentHtml: (n: number) => string })
  : { fragmentHtml: ownFragment }
const head = headOf({ title: undefined, locale: 'en', css: [], js: [] })
const pages = new Map(
  sizes.map(k => [
    `/page/${k}`,
    head + Array.from({ length: k }, (_, n) => `<div>${fragmentHtml(n)}</div>`).join('') + tail,
  ]),
)
const server = createServer((request, response) => {
  const page = pages.get(request.url ?? '')
  if (page === undefined) return void response.writeHead(404).end()
  setTimeout(() => {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(page)
  }, Number(timerMs))
})
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'))
