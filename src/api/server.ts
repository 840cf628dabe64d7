/** The REST API of a replica: a factory, apart from listening, so that tests can call it without a socket. */
import Fastify, { type FastifyInstance } from 'fastify'
import { CloudError } from '../cloud/errors.js'
import { formatOrder } from '../cloud/order.js'
import { consolePage } from './console-page.js'
import { sendProblem, useConventions, useSchemas } from './conventions.js'
import { docsPage } from './docs-page.js'
import { createOpenApi } from './openapi.js'
import type { ApiPorts } from './route.js'
import { activationRoutes } from './routes/activations.js'
import { componentRoutes } from './routes/components.js'
import { instanceRoutes } from './routes/instances.js'
import { mothershipRoutes } from './routes/motherships.js'
import { platformRoutes } from './routes/platform.js'
import { pollRoutes } from './routes/polls.js'
import { rainServerRoutes } from './routes/rainservers.js'
import { rebalanceRoutes } from './routes/rebalance.js'
import { rolloutRoutes } from './routes/rollouts.js'
import { routingRoutes } from './routes/routing.js'

const bodyMax = 1024 * 1024
const paramMax = 300

export type { ApiPorts } from './route.js'

/** Complete but not listening; `ready()` it before the first injected call. */
export function createApi(ports: ApiPorts): FastifyInstance {
  const app = Fastify({
    bodyLimit: bodyMax,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    http: { maxHeaderSize: 16 * 1024, headersTimeout: 10_000 },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: paramMax },
    // Only HAProxy on loopback is believed when it says for whom it asks.
    trustProxy: 'loopback',
    logger: false,
    // What comes over a connection that is open is served to the end; the answer says that it closes.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      reply.header('x-rain-revision', formatOrder(ports.hypervisor.maps.map.order))
      sendProblem(request, reply, new CloudError('bad-request', error.message))
    },
  })
  useJson(app)
  useSchemas(app)
  useConventions(app, ports)
  const openApi = createOpenApi(ports.software)
  openApi.watch(app)
  const methods = watchMethods(app)
  rainServerRoutes(app, ports)
  mothershipRoutes(app, ports)
  activationRoutes(app, ports)
  componentRoutes(app, ports)
  instanceRoutes(app, ports)
  rebalanceRoutes(app, ports)
  rolloutRoutes(app, ports)
  routingRoutes(app, ports)
  platformRoutes(app, ports)
  pollRoutes(app, ports)
  pages(app, () => openApi.document())
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!
    const allowed = methods(path)
    if (allowed.length === 0) {
      return sendProblem(request, reply, new CloudError('unknown-thing', `there is nothing at ${path}: see /docs`))
    }
    reply.header('allow', allowed.join(', '))
    const message = `${request.method} is not for ${path}: ${allowed.join(', ')} are`
    return sendProblem(request, reply, new CloudError('bad-request', message), 405)
  })
  return app
}

/** An empty body is none, whatever the headers say: the seed's calls send a content type always. */
function useJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.toString().trim() === '') done(null, undefined)
    else parse(request, body.toString(), done)
  })
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    if (body.length === 0) return done(null, undefined)
    const error = Object.assign(new Error('unsupported media type'), { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' })
    done(error)
  })
}

/** Which methods there are for a path: for an answer that helps (405). */
function watchMethods(app: FastifyInstance): (path: string) => string[] {
  const known: { method: string; pattern: RegExp }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    const pattern = new RegExp(`^${url.replace(/\/$/, '').replace(/\*/g, '.*').replace(/:\w+/g, '[^/]+')}/?$`)
    for (const each of [method].flat()) known.push({ method: each, pattern })
  })
  return path => [...new Set(known.filter(each => each.pattern.test(path)).map(each => each.method))].sort()
}

const html = 'text/html; charset=utf-8'
const policy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"

function pages(app: FastifyInstance, document: () => Record<string, unknown>): void {
  const open = { config: { access: 'open' as const } }
  app.get('/openapi.json', open, (_request, reply) =>
    reply.type('application/json; charset=utf-8').serializer(JSON.stringify).send(document()),
  )
  app.get('/docs', open, (_request, reply) =>
    reply.type(html).header('content-security-policy', policy).send(docsPage(document())),
  )
  for (const url of ['/console', '/console/*']) {
    app.get(url, open, (_request, reply) =>
      reply.type(html).header('content-security-policy', policy).send(consolePage),
    )
  }
}
