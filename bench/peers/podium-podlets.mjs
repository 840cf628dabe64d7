/**
 * Podium, the serving side: one server with the podlets 0..49, each at `/podlet-N/`, as its documentation builds them
 * with Fastify (@podium/fastify-podlet). The content is prepared, so that waiting is all that a fragment costs here.
 */
import './production.mjs'
import { setTimeout as wait } from 'node:timers/promises'
import podletPlugin from '@podium/fastify-podlet'
import Podlet from '@podium/podlet'
import Fastify from 'fastify'
import { fragmentHtml, fragmentsMax } from './fragment.mjs'
import { argumentsNamed, host, ready, wholeNumber } from './serving.mjs'

const [port, timerMs] = argumentsNamed('PORT', 'TIMER_MS')
const waitMs = wholeNumber('TIMER_MS', timerMs)
// A podlet's content is at its pathname; layouts ask for it with a slash behind it.
const app = Fastify({ routerOptions: { ignoreTrailingSlash: true } })

for (let n = 0; n < fragmentsMax; n++) app.register(podletServer, { n })

await app.listen({ port: wholeNumber('PORT', port), host })
ready()

/** In a scope of its own: the plugin is for one podlet in each. */
async function podletServer(scope, { n }) {
  const podlet = new Podlet({ name: `fragment-${n}`, version: '1.0.0', pathname: `/podlet-${n}` })
  const html = fragmentHtml(n)
  scope.register(podletPlugin, podlet)
  scope.get(podlet.manifest(), async (_request, reply) => reply.send(podlet))
  scope.get(podlet.content(), async (_request, reply) => {
    await wait(waitMs)
    reply.podiumSend(html)
    return reply
  })
}
