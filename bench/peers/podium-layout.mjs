/**
 * Podium, the page: `GET /page/K` fetches the podlets 0..K-1 side by side and puts them in order.
 *
 * As its documentation has it for production: each podlet is registered once, its manifest is read before the first page
 * and kept (24 h by default), contents are fetched with the client's own undici, which keeps connections. With Fastify, as
 * our own servers are; @podium/fastify-layout could not be had from npm, so what it does for each request stands here: an
 * HttpIncoming, processed by the layout without the proxy, which no podlet here asks for.
 *
 * A fragment that fails fails the page (`throwable`), and has 30 s instead of 1 s: what is measured is whole pages, and
 * crowds shall make them slow rather than empty.
 */
import './production.mjs'
import Layout from '@podium/layout'
import { HttpIncoming } from '@podium/utils'
import Fastify from 'fastify'
import { fragmentsMax } from './fragment.mjs'
import { pageOf, wantedCount } from './page.mjs'
import { argumentsNamed, host, ready, wholeNumber } from './serving.mjs'

const [port, urls] = argumentsNamed('PORT', 'PODLETS_URL,PODLETS_URL,…')
const servers = urls.split(',').map(url => url.replace(/\/$/, ''))
const layout = new Layout({ name: 'pages', pathname: '/' })
layout.view((_incoming, body) => pageOf(body))

const podlets = Array.from({ length: fragmentsMax }, (_, n) =>
  layout.client.register({
    name: `fragment${n}`,
    uri: `${servers[n % servers.length]}/podlet-${n}/manifest.json`,
    throwable: true,
    timeout: 30_000,
  }),
)

const app = Fastify()
app.get('/page/:count', async (request, reply) => {
  const count = wantedCount(request.params.count, fragmentsMax)
  if (count === undefined) return reply.code(404).send()
  const incoming = await layout.process(new HttpIncoming(request.raw, reply.raw, {}), { proxy: false })
  const parts = await Promise.all(podlets.slice(0, count).map(podlet => podlet.fetch(incoming)))
  const html = layout.render(incoming, parts.map(({ content }) => content).join(''))
  return reply.type('text/html; charset=utf-8').send(html)
})

await layout.client.refreshManifests()
const manifests = layout.client.dump().length
if (manifests !== fragmentsMax) throw new Error(`only ${manifests} of ${fragmentsMax} podlets gave their manifests`)
await app.listen({ port: wholeNumber('PORT', port), host })
ready()
