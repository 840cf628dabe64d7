/** Where urls go: the whole table, for other balancers than ours, and one url with the reasons. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { CloudError } from '../../cloud/errors.js'
import { formatOrder } from '../../cloud/order.js'
import { cookieName, dynamicCookieKey } from '../../cloud/routing/cookie.js'
import { replicasOf, routeFor, routingTable, visitorOf } from '../../cloud/routing/table.js'
import { type ApiPorts, anyone, define } from '../route.js'
import { Route, Routes } from '../routing-schemas.js'

const tag = 'routing'
const how =
  'XXH64 (seed 0, 16 hexadecimal digits) of key, address (4 or 16 bytes) and port (4 bytes, big-endian), as HAProxy 2.6 makes dynamic cookies: set it with the first answer, and send who has it to that server while that is healthy'
const sessionCookie = 'rain-sid'

export function routingRoutes(app: FastifyInstance, ports: ApiPorts): void {
  const { maps } = ports.hypervisor
  const table = () => routingTable(maps.map, ports.weights?.() ?? {})

  define(app, {
    method: 'GET',
    url: '/routes',
    access: anyone,
    tag,
    summary: 'The routing table, for balancers of every kind',
    answers: { 200: Routes },
    handle: () => ({
      revision: formatOrder(maps.map.order),
      cookie: { name: cookieName, key: dynamicCookieKey, how },
      health: { pages: '/healthz', api: '/readyz' },
      routes: table(),
      replicas: replicasOf(maps.map),
    }),
  })

  define(app, {
    method: 'GET',
    url: '/route',
    access: anyone,
    tag,
    summary: 'Which rain server, and which copy of the component, a url would go to, and why',
    query: {
      url: Type.String({ minLength: 1, maxLength: 8192, description: 'a path, or an url' }),
      session: Type.Optional(
        Type.String({
          maxLength: 8192,
          description: `the value of the cookie ${cookieName}, that of ${sessionCookie}, or a whole Cookie header`,
        }),
      ),
    },
    answers: { 200: Route },
    handle: ({ query: { url, session } }) => {
      const path = pathOf(url)
      const visitor = visitorOf(session, sessionCookie)
      const routing = routeFor(table(), path, visitor.cookie)
      const at = routing.chosen ?? routing.candidates.find(each => each.share > 0)?.id
      const page = at === undefined ? undefined : ports.pageAt?.(at, path, visitor.session)
      return { revision: formatOrder(maps.map.order), path, ...routing, page: page ?? null }
    },
  })
}

/** As it stands in a request: without the query, and not decoded. */
function pathOf(url: string): string {
  if (/^https?:\/\//i.test(url) && URL.canParse(url)) return new URL(url).pathname
  const path = url.split(/[?#]/, 1)[0]!
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (path.startsWith('/') && !/[\s\x00-\x1f\x7f]/.test(path)) return path
  const errors = [{ path: 'query/url', message: 'a path, like /shop/index, or an http url' }]
  throw new CloudError('bad-request', `query/url: ${JSON.stringify(url.slice(0, 100))} is no path`, { errors })
}
