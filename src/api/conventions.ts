/** What holds for every call: who asks, what the reads wait for, what every answer carries, how errors look. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Settings as Validation } from 'typebox/system'
import Value from 'typebox/value'
import { CloudError } from '../cloud/errors.js'
import { fieldErrors, type SchemaErrors } from '../cloud/field-errors.js'
import { formatOrder } from '../cloud/order.js'
import { actorOf } from '../hypervisor/actors.js'
import { problemOf, problemType, refusalOf, statusOf } from './problems.js'
import type { Access, ApiPorts } from './route.js'
import type { ReadQuery } from './schemas.js'
import { beforeRead, useDraining, useWaiting, waitPorts } from './waiting.js'

/** A body may have more wrong with it than the eight things that are told unless one asks for more. */
Validation.Set({ maxErrors: 100 })

/** Queries come as text, so they are converted; bodies are taken as they are. */
export function useSchemas(app: FastifyInstance): void {
  app.setValidatorCompiler(({ schema, httpPart }) => {
    const type = schema as TSchema
    const check = Compile(type)
    return (value: unknown) => {
      const given = httpPart === 'querystring' ? converted(type, value) : (value ?? {})
      if (check.Check(given)) return { value: given }
      return { error: invalid(httpPart ?? 'body', check.Errors(given)) }
    }
  })
  app.setSerializerCompiler(({ schema }) => {
    const check = Compile(schema as TSchema)
    return (value: unknown) => {
      if (check.Check(value)) return JSON.stringify(value)
      const [first] = check.Errors(value)
      throw new CloudError('internal', `an answer does not match its schema: ${first?.instancePath}: ${first?.message}`)
    }
  })
}

/** Whole numbers are written in digits: what else could be taken for one (nothing, `true`, `0x10`) is a mistake. */
function converted(type: TSchema, query: unknown): unknown {
  if (isEmpty(query)) return {}
  const { properties } = type as { properties?: Readonly<Record<string, { type?: unknown }>> }
  const odd = Object.entries(query ?? {}).filter(
    ([name, text]) => properties?.[name]?.type === 'integer' && !/^-?\d{1,15}$/.test(String(text)),
  )
  return { ...(Value.Convert(type, query) as object), ...Object.fromEntries(odd) }
}

/** Most queries are: then nothing of them has to be looked at. */
function isEmpty(query: unknown): boolean {
  for (const _ in query as object) return false
  return true
}

const prefixes: Readonly<Record<string, string>> = { querystring: 'query', params: 'params', headers: 'headers' }

function invalid(part: string, found: SchemaErrors): CloudError {
  const prefix = prefixes[part]
  const errors = fieldErrors(found)
    .slice(0, 20)
    .map(({ path, message }) => ({ path: prefix === undefined ? path : `${prefix}${path}`, message }))
  const first = errors[0]
  const message = `${first?.path || 'the body'}: ${first?.message ?? 'wrong'}`
  // What cannot be an id names nothing.
  return new CloudError(part === 'params' ? 'unknown-thing' : 'bad-request', message, { errors })
}

export function useConventions(app: FastifyInstance, ports: ApiPorts): void {
  const { hypervisor, clock, log, onRequest } = ports
  const { maps } = hypervisor
  app.decorateRequest('startedMs', 0)
  app.decorateRequest('actor', undefined)
  useWaiting(app)
  useDraining(app, clock)

  // By callback: most reads wait for nothing, and a promise for each step is a third of what they cost.
  app.addHook('onRequest', (request, _reply, done) => {
    request.startedMs = clock.nowMs()
    const access = request.routeOptions.config.access
    done(access === undefined ? undefined : refusalFor(request, access, ports))
  })
  app.addHook('preHandler', (request, reply, done) => {
    const query = request.query as ReadQuery | undefined
    const reads = request.method === 'GET' || request.method === 'HEAD'
    if (!reads || !query || !needsWait(query)) return done()
    beforeRead(waitPorts(ports, reply), query).then(() => done(), done)
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-rain-revision', formatOrder(maps.map.order))
    const staleMs = maps.staleForMs()
    if (staleMs > 0) reply.header('x-rain-stale-for', `${Math.round(staleMs)}ms`)
    done(null, typeof payload === 'string' ? withTag(request, reply, payload) : payload)
  })
  app.addHook('onResponse', (request, reply, done) => {
    onRequest(request.method, request.routeOptions.url, reply.statusCode, clock.nowMs() - request.startedMs)
    done()
  })
  app.setErrorHandler((error, request, reply) => {
    const cause = error instanceof Error ? error : new Error(String(error))
    const { error: refusal, status } = refusalOf(cause)
    if (statusOf[refusal.code] === 500) log.error({ err: cause, url: request.url }, 'a call failed')
    return sendProblem(request, reply, refusal, status)
  })
}

const needsWait = (query: ReadQuery): boolean =>
  query.minRevision !== undefined ||
  query.consistency !== undefined ||
  query.block !== undefined ||
  query.after !== undefined

export function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  error: CloudError,
  status?: number,
): FastifyReply {
  const problem = problemOf(error, request.url.split('?')[0]!, status)
  const { retryAfterS } = error.details
  if (retryAfterS !== undefined || problem.status === 503) reply.header('retry-after', String(retryAfterS ?? 1))
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer realm="rain"')
  return reply.code(problem.status).type(problemType).serializer(JSON.stringify).send(problem)
}

/** The seed's header, or the standard one. */
export function secretOf(request: FastifyRequest): string | undefined {
  const bearer = /^Bearer\s+(\S{1,512})$/i.exec(request.headers.authorization ?? '')?.[1]
  const { user } = request.headers
  return bearer ?? (typeof user === 'string' && user.length <= 512 ? user : undefined)
}

/** Undefined when the call is allowed: then the request knows who asks. */
function refusalFor(request: FastifyRequest, access: Access, ports: ApiPorts): CloudError | undefined {
  if (access === 'open' || (access === 'metrics' && !ports.privateMetrics)) return undefined
  const secret = secretOf(request)
  const actor = secret && actorOf(ports.hypervisor.maps.map, secret, ports.clock.wallMs())
  if (!actor) {
    const what = secret === undefined ? 'send a token in the header `user`' : 'the token is unknown, expired or revoked'
    return new CloudError('unauthenticated', what)
  }
  const allowed: readonly string[] = access === 'metrics' ? ['admin', 'operator', 'viewer'] : access
  if (!allowed.includes(actor.role)) {
    return new CloudError(
      'forbidden',
      `a token with role ${actor.role} may not do this, one of ${allowed.join(', ')} may`,
    )
  }
  request.actor = actor
  return undefined
}

/** `ETag` is a hash of the body; who has it already gets none. */
function withTag(request: FastifyRequest, reply: FastifyReply, payload: string): string {
  if ((request.method !== 'GET' && request.method !== 'HEAD') || reply.statusCode !== 200) return payload
  const tag = `"${createHash('sha1').update(payload).digest('base64url')}"`
  reply.header('etag', tag)
  const known = request.headers['if-none-match']
  if (known === undefined || !known.split(',').some(each => each.trim().replace(/^W\//, '') === tag)) return payload
  reply.code(304)
  return ''
}
