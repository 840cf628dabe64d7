/** Sessions of nodes over plain HTTP (N5). What the frames say is the gateway's; here they only come in and go out. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { parseDurationMs } from '../../cloud/duration.js'
import { CloudError } from '../../cloud/errors.js'
import { digestOf } from '../../hypervisor/actors.js'
import { frameBytesMax } from '../../protocol/messages.js'
import { pollType } from '../../protocol/poll.js'
import { secretOf } from '../conventions.js'
import { type ApiPorts, define, nodesOnly, pathParams, unknownThing } from '../route.js'

/** One frame, or more that are smaller. */
const bodyBytesMax = frameBytesMax + 64 * 1024

const query = {
  connection: Type.Optional(
    Type.String({
      pattern: '^[0-9a-z]{1,64}$',
      description: 'as the answer to the first poll named it; absent: open one',
    }),
  ),
  hold: Type.Optional(
    Type.String({ pattern: '^\\d{1,9}(ms|s|m)$', description: 'how long the answer may wait for something to say' }),
  ),
  last: Type.Optional(Type.Boolean({ description: 'the node closes after this' })),
}

export function pollRoutes(app: FastifyInstance, ports: ApiPorts): void {
  app.register(async scope => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyBytesMax }, (_request, body, done) =>
      done(null, body),
    )
    define(scope, {
      method: 'POST',
      url: '/nodes/:id/poll',
      access: nodesOnly,
      tag: 'platform',
      summary: 'The session of a node whose websockets do not pass: frames for frames',
      consumes: pollType,
      produces: pollType,
      bodyLimit: bodyBytesMax,
      params: { id: pathParams.node },
      query,
      answers: {
        200: Type.String({ description: 'frames, possibly none', format: 'binary' }),
        201: Type.Object({ connection: Type.String() }),
      },
      handle: async ({ actor, params, query: { connection, hold, last = false }, request, reply }) => {
        const { node } = actor
        if (!node || node.id !== params.id) throw new CloudError('forbidden', 'the credential is that of another node')
        const polls = ports.polls?.()
        if (!polls) throw unknownThing('session of nodes at', request.url)
        // Some proxies keep whatever is not forbidden to be kept.
        reply.header('cache-control', 'no-store')
        if (connection === undefined) {
          reply.code(201)
          return { connection: polls.open(node, digestOf(secretOf(request) ?? '')) }
        }
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
        const holdMs = parseDurationMs(hold ?? '0ms') ?? 0
        const call = { node, connection, body, holdMs, last, whenOver: reply.whenOver.bind(reply) }
        return reply.type(pollType).send(await polls.poll(call))
      },
    })
  })
}
