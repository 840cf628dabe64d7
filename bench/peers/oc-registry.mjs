/**
 * OpenComponents, the serving side: a registry with the component `fragment`, its library in DIR.
 *
 * As its documentation has it for production: a storage (oc-files.mjs says why not `local`), no reloading, the library
 * polled every 5 s, quiet. `executionTimeout` is left out, which spares a timer for each component; `compileClient` too, as
 * pages are rendered on servers only.
 *
 * The template is handlebars, which the registry and oc-client bring. `oc init` proposes oc-template-es6, but that does not
 * put a page together on a server: its newest renderer (2.0.0) keeps the html of one fragment and gives it for every other
 * (check.mjs found fifty times fragment 0), and the one within oc-client 4.0.2 (1.0.6) leaves rendering to the browser.
 */
import './production.mjs'
import { mkdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { resolve } from 'node:path'
import oc from 'oc'
import { filesAdapter } from './oc-files.mjs'
import { packagedOnce } from './oc-packaging.mjs'
import { argumentsNamed, host, ready, wholeNumber } from './serving.mjs'

const [portText, timerMs, dir] = argumentsNamed('PORT', 'TIMER_MS', 'DIR')
const port = wholeNumber('PORT', portText)
const directory = resolve(dir)
const componentsDir = 'components'
await mkdir(directory, { recursive: true })
const files = await staticFiles()
const options = { directory, componentsDir, path: `http://${host}:${files.address().port}/` }
await packagedOnce(filesAdapter(options), directory, componentsDir)

const registry = oc.Registry({
  // It hands this to `listen` as it is, and would listen on all addresses with a number alone.
  port: { port, host },
  baseUrl: `http://${host}:${port}/`,
  storage: { adapter: filesAdapter, options },
  refreshInterval: 600,
  pollingInterval: 5,
  hotReloading: false,
  compileClient: false,
  discovery: false,
  verbosity: 0,
  // Kept connections of page servers are not closed between rounds.
  keepAliveTimeout: 65_000,
  env: { name: 'production', timerMs: wholeNumber('TIMER_MS', timerMs) },
})
registry.on('error', problem => process.stderr.write(`${JSON.stringify(problem)}\n`))
registry.start(error => {
  if (error) throw new Error(`the registry did not start: ${error.message ?? error}`)
  ready()
})

/** What a CDN is for: page servers fetch a template once from here. */
async function staticFiles() {
  const server = createServer(async ({ url }, response) => {
    const text = await readFile(resolve(directory, `.${new URL(url, 'http://files').pathname}`)).catch(() => undefined)
    response.writeHead(text === undefined ? 404 : 200, { 'content-length': text?.length ?? 0 }).end(text)
  })
  await new Promise(done => server.listen(0, host, done))
  return server
}
