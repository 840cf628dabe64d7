/**
 * OpenComponents, the page: `GET /page/K` renders the component `fragment` for 0..K-1 with oc-client on the server.
 *
 * As its documentation has it: one call for all components, so that one request goes to the registry; the template is
 * fetched once and kept (`init` warms it up); an exact version. With several registries, calls take turns. A call has 30 s
 * instead of 5 s, as with Podium.
 */
import './production.mjs'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import Client from 'oc-client'
import handlebars from 'oc-template-handlebars'
import { fragmentsMax } from './fragment.mjs'
import { pageOf, wantedCount } from './page.mjs'
import { argumentsNamed, host, ready, wholeNumber } from './serving.mjs'

const [port, urls] = argumentsNamed('PORT', 'REGISTRY_URL,…')
const registries = urls.split(',').map(url => ({ serverRendering: url.endsWith('/') ? url : `${url}/` }))
const client = new Client({
  registries: registries[0],
  components: { fragment: '1.0.0' },
  templates: [handlebars],
})
const components = Array.from({ length: fragmentsMax }, (_, n) => ({ name: 'fragment', parameters: { n } }))
let turn = 0

/** The html of each, or an error when one of them failed. */
const rendered = count =>
  new Promise((resolve, reject) => {
    const at = registries[turn++ % registries.length]
    const options = { container: false, renderInfo: false, timeout: 30, registries: at }
    client.renderComponents(components.slice(0, count), options, (errors, htmls) =>
      errors ? reject(errors.find(error => error !== null)) : resolve(htmls),
    )
  })

const app = Fastify()
app.get('/page/:count', async (request, reply) => {
  const count = wantedCount(request.params.count, fragmentsMax)
  if (count === undefined) return reply.code(404).send()
  const htmls = await rendered(count)
  return reply.type('text/html; charset=utf-8').send(pageOf(htmls.join('')))
})

await promisify(client.init)({})
await app.listen({ port: wholeNumber('PORT', port), host })
ready()
