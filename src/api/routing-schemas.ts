/** Shapes of the routing table and of one route. */
import Type, { type Static } from 'typebox'

const text = Type.String()
const nullable = <S extends typeof text>(schema: S) => Type.Union([Type.Null(), schema])

const server = {
  id: text,
  address: text,
  host: text,
  port: Type.Integer(),
  state: Type.Enum(['ready', 'draining', 'gone'], {
    description: '`draining`: only who has its cookie; `gone`: without a session, so ask its /healthz',
  }),
  weight: Type.Integer({ minimum: 0, maximum: 256, description: 'its share of new visitors, by measured load' }),
  cookie: Type.Union(nullable(text).anyOf, { description: 'a visitor with this value of the cookie goes to it' }),
}

export const Routes = Type.Object({
  revision: text,
  cookie: Type.Object({ name: text, key: text, how: text }),
  health: Type.Object({ pages: text, api: text }),
  routes: Type.Array(Type.Object({ pattern: text, servers: Type.Array(Type.Object(server)) }), {
    description: 'the most specific pattern first: the first one that matches decides',
  }),
  replicas: Type.Array(Type.Object({ id: text, url: text }), { description: 'any of them serves REST and /console' }),
})
export type Routes = Static<typeof Routes>

const Page = Type.Object({
  kind: Type.Enum(['view', 'resource', 'socket', 'controller', 'none']),
  reason: Type.Optional(text),
  component: Type.Optional(text),
  version: Type.Optional(text),
  view: Type.Optional(text),
  copies: Type.Optional(
    Type.Array(Type.Object({ instance: text, mothership: text, wired: Type.Boolean(), reachable: Type.Boolean() }), {
      description: 'in the order in which they are asked; without a session that is different for each visitor',
    }),
  ),
})

/** What that rain server makes of a path; undefined for one that is not registered. */
export type PageAt = (rainServer: string, path: string, session: string | undefined) => Static<typeof Page> | undefined

export const Route = Type.Object({
  revision: text,
  path: text,
  pattern: nullable(text),
  patterns: Type.Array(text),
  candidates: Type.Array(Type.Object({ ...server, share: Type.Number() })),
  chosen: nullable(text),
  why: text,
  page: Type.Union([Type.Null(), Page]),
})
export type Route = Static<typeof Route>
