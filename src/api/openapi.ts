/** The OpenAPI document, made of the very schemas that check what comes in and goes out. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { TObject, TSchema } from 'typebox'
import { Problem } from './problems.js'

interface Documented {
  readonly method: string
  readonly url: string
  readonly options: RouteOptions
}

export interface OpenApi {
  /** To be called before the routes are made. */
  watch(app: FastifyInstance): void
  document(): Record<string, unknown>
}

export function createOpenApi(version: string): OpenApi {
  const routes: Documented[] = []
  let made: Record<string, unknown> | undefined
  return {
    watch: app =>
      void app.addHook('onRoute', options => {
        const method = String(options.method)
        if (method !== 'HEAD' && options.config?.summary) routes.push({ method, url: options.url, options })
      }),
    document: () => (made ??= documentOf(routes, version)),
  }
}

function documentOf(routes: readonly Documented[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const { method, url, options } of [...routes].sort((a, b) => (a.url < b.url ? -1 : a.url > b.url ? 1 : 0))) {
    const path = url.replace(/:(\w+)/g, '{$1}')
    const operations = (paths[path] ??= {})
    operations[method.toLowerCase()] = operationOf(method, path, options)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'RAIN Cloud',
      version,
      description:
        'The hypervisor of a RAIN cloud. Every replica answers every call. Errors are problem documents (RFC 9457); ' +
        'every answer carries X-Rain-Revision, which ?minRevision= takes back at any replica.',
    },
    paths,
    components: {
      schemas: { Problem },
      securitySchemes: {
        user: { type: 'apiKey', in: 'header', name: 'user' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  }
}

function operationOf(method: string, path: string, options: RouteOptions): Record<string, unknown> {
  const { summary, tag, access, answers = {}, produces = 'application/json', consumes } = options.config ?? {}
  const { params, querystring, body } = (options.schema ?? {}) as {
    params?: TObject
    querystring?: TObject
    body?: TSchema
  }
  const open = access === 'open'
  const roles = typeof access === 'string' || !access ? [] : access
  return {
    operationId: operationId(method, path),
    summary,
    tags: [tag],
    ...(roles.length > 0 ? { description: `For tokens with role ${roles.join(', ')}.` } : {}),
    security: open ? [] : [...(access === 'metrics' ? [{}] : []), { user: [] }, { bearer: [] }],
    parameters: [
      ...parameters(params, 'path'),
      ...parameters(querystring, 'query'),
      ...headers(method, options.config?.ifMatch === true),
    ],
    ...requestBody(body, consumes),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, schema]) => [status, answer(schema, produces)])),
      default: {
        description: 'What went wrong',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

const operationId = (method: string, path: string): string =>
  `${method.toLowerCase()}${path.replace(/[{}]/g, '').replace(/\/(\w?)/g, (_all, first: string) => first.toUpperCase())}`

function parameters(schema: TObject | undefined, where: 'path' | 'query'): unknown[] {
  return Object.entries(schema?.properties ?? {}).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path',
    ...((property as { description?: string }).description === undefined
      ? {}
      : { description: (property as { description?: string }).description }),
    schema: property,
  }))
}

function headers(method: string, ifMatch: boolean): unknown[] {
  if (method === 'GET') return []
  const schema = { type: 'string' }
  const key = {
    name: 'Idempotency-Key',
    in: 'header',
    description: 'makes the call exactly-once, at any replica',
    schema,
  }
  const match = { name: 'If-Match', in: 'header', description: "the object's revision", schema }
  return ifMatch ? [key, match] : [key]
}

function requestBody(body: TSchema | undefined, consumes: string | undefined): Record<string, unknown> {
  if (consumes !== undefined) {
    return {
      requestBody: { required: true, content: { [consumes]: { schema: { type: 'string', format: 'binary' } } } },
    }
  }
  if (!body) return {}
  const required = ((body as { required?: readonly string[] }).required?.length ?? 0) > 0
  return { requestBody: { required, content: { 'application/json': { schema: body } } } }
}

const answer = (schema: TSchema | null, produces: string): Record<string, unknown> => ({
  description: schema === null ? 'Done' : 'The answer',
  ...(schema === null ? {} : { content: { [isText(schema) ? produces : 'application/json']: { schema } } }),
})

/** Whatever is no text is JSON. */
const isText = (schema: TSchema): boolean => (schema as { type?: unknown }).type === 'string'
