/**
 * How a route is made: it must say who may call it, what it takes and what it answers. Everything that comes in is
 * checked by these schemas, everything that goes out too, and the OpenAPI document is made of them.
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type, { type Static, type TObject, type TProperties, type TSchema } from 'typebox'
import type { Actor, Answer, Command } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import { componentIdPattern, instanceIdPattern, nodeIdPattern } from '../cloud/ids.js'
import { type Role, roles } from '../cloud/records.js'
import type { Hypervisor } from '../hypervisor/hypervisor.js'
import type { Polls } from '../hypervisor/polls.js'
import type { Chance, Clock, Log } from '../hypervisor/ports.js'
import type { ViewPorts } from '../hypervisor/views.js'
import type { PageAt } from './routing-schemas.js'
import { readQuery } from './schemas.js'

/** Who may call: `open` nobody is asked, `metrics` as the setting says, else the roles that may. */
export type Access = 'open' | 'metrics' | readonly Role[]
export const anyone: Access = ['admin', 'operator', 'viewer']
export const changers: Access = ['admin', 'operator']
export const admins: Access = ['admin']
/** A node registers itself too, and fetches packages. */
export const changersAndNodes: Access = ['admin', 'operator', 'node']
export const everyToken: Access = roles
export const nodesOnly: Access = ['node']

export interface ApiPorts {
  readonly hypervisor: Hypervisor
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly software: string
  readonly privateMetrics: boolean
  /** How it goes with the Prometheus that is asked for load; absent where none is. */
  readonly prometheus?: () => { readonly kind: string }
  /** Of rain servers, by id; who is not named has the usual one. */
  readonly weights?: () => Readonly<Record<string, number>>
  /** What a rain server would make of a path: what is told of pages where it is absent is nothing. */
  readonly pageAt?: PageAt
  readonly metrics: { readonly contentType: string; metrics(): Promise<string> }
  /** Sessions of nodes over polls; absent where nodes are not taken. */
  readonly polls?: () => Polls
  readonly onRequest: (method: string, route: string | undefined, status: number, ms: number) => void
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
    summary?: string
    tag?: string
    answers?: Readonly<Record<number, TSchema | null>>
    produces?: string
    consumes?: string
    ifMatch?: boolean
  }
  interface FastifyRequest {
    actor?: Actor
    startedMs: number
  }
}

export const pathParams = {
  component: Type.String({ pattern: componentIdPattern, description: 'component id' }),
  version: Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){0,2}$', description: 'version, or a fragment of it' }),
  exact: Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){1,2}$', description: 'exact version' }),
  instance: Type.String({ pattern: instanceIdPattern, description: 'instance id' }),
  node: Type.String({ pattern: nodeIdPattern, description: 'id of the node' }),
}

export interface Call<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly actor: Actor
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

export interface RouteDefinition<P extends TProperties, Q extends TProperties, B extends TSchema> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** As find-my-way writes it: `/mothership/:id`. */
  readonly url: string
  readonly access: Access
  readonly summary: string
  readonly tag: string
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  /** Null: no body. */
  readonly answers: Readonly<Record<number, TSchema | null>>
  readonly produces?: string
  readonly consumes?: string
  /** It takes the object's revision as `If-Match`; others refuse that header rather than pass over it. */
  readonly ifMatch?: boolean
  readonly bodyLimit?: number
  readonly handle: (call: Call<Static<TObject<P>>, Static<TObject<Q>>, Static<B>>) => unknown
}

const strict = { additionalProperties: false }
const nobody: Actor = { role: 'system', subject: 'nobody' }

export function define<P extends TProperties, Q extends TProperties, B extends TSchema>(
  app: FastifyInstance,
  route: RouteDefinition<P, Q, B>,
): void {
  const { method, url, access, summary, tag, answers, produces, consumes, bodyLimit, ifMatch = false } = route
  const query = Type.Object(
    { ...(method === 'GET' && typeof access !== 'string' ? readQuery : {}), ...route.query },
    strict,
  )
  app.route({
    method,
    url,
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    schema: {
      ...(route.params ? { params: Type.Object(route.params) } : {}),
      querystring: query,
      ...(route.body ? { body: route.body } : {}),
      response: Object.fromEntries(Object.entries(answers).filter(([, schema]) => schema !== null)),
    },
    config: {
      access,
      summary,
      tag,
      answers,
      ifMatch,
      ...(produces === undefined ? {} : { produces }),
      ...(consumes === undefined ? {} : { consumes }),
    },
    handler: (request, reply) => {
      if (!ifMatch && method !== 'GET') refuseIfMatch(request)
      const given = route.handle({
        params: request.params as Static<TObject<P>>,
        query: request.query as Static<TObject<Q>>,
        body: request.body as Static<B>,
        actor: request.actor ?? nobody,
        request,
        reply,
      })
      return given instanceof Promise ? given.then(sent => answer(reply, sent)) : answer(reply, given)
    },
  })
}

/** A handler that sent something itself gives the reply back. */
const answer = (reply: FastifyReply, sent: unknown): FastifyReply => (sent === reply ? reply : reply.send(sent))

/** A leader is found and answers within this; then the caller should know. */
export const submitWithinMs = 5_000

/** Sends a command to the leader, exactly once for an `Idempotency-Key` (S8). */
export async function submit(
  ports: ApiPorts,
  { request, reply, actor }: SubmitCall,
  command: Command,
): Promise<Answer> {
  const { hypervisor, chance } = ports
  const key = idempotencyKey(request)
  const requestId = key === undefined ? chance.id(32) : requestIdOf(actor, key)
  const envelope = { requestId, fresh: key === undefined, actor: { ...actor, from: request.ip }, command }
  const answer = await hypervisor.submit(envelope, submitWithinMs)
  if (answer.replayed) reply.header('idempotency-replayed', 'true')
  return answer
}

type SubmitCall = Pick<Call<unknown, unknown, unknown>, 'request' | 'reply' | 'actor'>

function refuseIfMatch(request: FastifyRequest): void {
  const given = request.headers['if-match']
  if (given === undefined || given === '*') return
  const errors = [{ path: 'headers/if-match', message: 'is not taken here' }]
  throw new CloudError('bad-request', 'If-Match is not taken by this call: it would be passed over', { errors })
}

/** `If-Match` takes the object's revision, as `"123"`, `123` or `"<era>.123"`. */
export function ifRevision(request: FastifyRequest): { ifRevision?: number } {
  const text = request.headers['if-match']
  if (text === undefined || text === '*') return {}
  const match = /^(?:W\/)?"?(?:\d{1,15}\.)?(\d{1,15})"?$/.exec(text)
  if (!match || Number(match[1]) < 1) {
    const errors = [{ path: 'headers/if-match', message: 'takes the revision of the object, like "123"' }]
    throw new CloudError('bad-request', 'If-Match is not a revision', { errors })
  }
  return { ifRevision: Number(match[1]) }
}

function idempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  const errors = [{ path: 'headers/idempotency-key', message: '1 to 255 printable characters without blanks' }]
  throw new CloudError('bad-request', 'the Idempotency-Key cannot be used', { errors })
}

/** The caller's identity is part of it: two callers may use the same key. */
function requestIdOf(actor: Actor, key: string): string {
  return digestHex(`${actor.role}\n${actor.subject}\n${key}`).slice(0, 32)
}

export const viewPorts = ({ hypervisor, clock }: ApiPorts): ViewPorts => ({
  map: hypervisor.maps.map,
  loads: hypervisor.loads,
  clock,
  goneForMs: node => hypervisor.goneForMs(node),
  wiring: () => hypervisor.wires.wiring,
})

export const unknownThing = (what: string, id: string): CloudError =>
  new CloudError('unknown-thing', `there is no ${what} ${id}`)

/** The view, or 404. */
export function found<V>(view: V | undefined, what: string, id: string): V {
  if (view === undefined) throw unknownThing(what, id)
  return view
}

const digestHex = (text: string): string => createHash('sha256').update(text).digest('hex')
