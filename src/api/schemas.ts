/** Shapes of the API's answers and queries. They check what goes out, and make the OpenAPI document. */
import Type, { type Static, type TSchema } from 'typebox'
import { nodeKinds } from '../cloud/ids.js'
import { activationActs, phases, Resources, Role, Settings } from '../cloud/records.js'

const text = Type.String()
const count = Type.Integer({ minimum: 0 })
const labels = Type.Record(Type.String(), Type.String())
const nullable = <S extends TSchema>(schema: S) => Type.Union([Type.Null(), schema])
const state = Type.Enum(['registered', 'ready', 'draining', 'gone', 'lost'])
const freshness = Type.Enum(['fresh', 'ageing', 'stale', 'absent'])
const load = { ...Resources.properties, at: text, freshness }

export const RainServer = Type.Object({
  id: text,
  address: text,
  urls: Type.Array(text),
  zone: Type.Optional(text),
  labels,
  state,
  wires: Type.Array(Type.Object({ mothership: text, components: Type.Array(text) })),
  load: nullable(Type.Object(load)),
  generation: count,
  revision: count,
})

export const Mothership = Type.Object({
  id: text,
  address: text,
  zone: Type.Optional(text),
  labels,
  capacity: Resources,
  reserved: Resources,
  measured: nullable(Type.Object({ ...load, source: Type.Enum(['report', 'prometheus']), filtered: Resources })),
  instances: count,
  state,
  cordoned: Type.Boolean(),
  draining: nullable(
    Type.Object({
      deadline: nullable(text),
      remaining: count,
      total: Type.Optional(count),
      since: Type.Optional(text),
    }),
  ),
  quarantined: Type.Array(Type.Object({ component: text, version: text, since: text, until: text, reason: text })),
  revision: count,
})

export const Component = Type.Object({
  id: text,
  version: text,
  active: Type.Boolean(),
  state: Type.Enum(['deployed', 'active', 'inactive'], { description: '`inactive`: it was active once' }),
  description: text,
  pageTitle: Type.Optional(text),
  digest: text,
  size: count,
  deployedAt: text,
  deployedBy: text,
  motherships: Type.Array(text),
  instances: Type.Object({ total: count, byPhase: Type.Record(Type.String(), count) }),
  views: Type.Array(text),
  undeploying: Type.Optional(Type.Object({ since: text, by: text, total: count, remaining: count })),
  revision: count,
})

const phase = Type.Enum([...phases])
export const Instance = Type.Object({
  id: text,
  component: text,
  version: text,
  owner: Type.Optional(text),
  need: Resources,
  epoch: count,
  primary: text,
  inSync: Type.Array(text),
  learners: Type.Array(text),
  generation: count,
  phase: Type.Enum([...phases, 'unavailable']),
  degraded: Type.Optional(Type.Boolean({ description: 'it keeps state, and fewer copies are in sync than asked for' })),
  copies: Type.Array(
    Type.Object({
      mothership: text,
      role: Type.Enum(['primary', 'backup', 'learner']),
      phase,
      since: text,
      reason: Type.Optional(text),
    }),
  ),
  createdAt: text,
  revision: count,
})

const reasons = Type.Array(Type.Object({ mothership: text, rule: text, reason: text }))
export const Instances = Type.Object({
  items: Type.Array(Instance),
  refused: Type.Array(Type.Object({ reasons })),
})

const candidates = Type.Array(
  Type.Object({
    mothership: text,
    score: Type.Number(),
    terms: Type.Record(Type.String(), Type.Number()),
    pressure: Resources,
    loadAgeMs: nullable(Type.Number()),
  }),
)
const refusedByRule = Type.Record(Type.String(), count)
export const DryRun = Type.Object({
  placed: Type.Array(Type.Array(text, { description: 'motherships of one instance, the primary first' })),
  candidates,
  refusedByRule,
  reasons,
})
export const Placement = Type.Object({
  decisionRevision: count,
  at: text,
  candidates,
  refusedByRule,
  now: Type.Optional(Type.Object({ candidates, refusedByRule, reasons: Type.Optional(reasons) })),
})

export const RainServerWiring = Type.Object({
  id: text,
  redundancy: Type.Integer({
    description: 'With how many motherships each version is to be wired, where so many have a copy',
  }),
  changedAt: Type.Optional(text),
  wires: Type.Array(
    Type.Object({
      mothership: text,
      because: Type.Enum(['covers', 'employs', 'waits', 'none'], {
        description:
          '`covers`: needed for redundancy; `employs`: without it a copy would be idle; `waits`: kept while the mothership is away; `none`: about to go',
      }),
      components: Type.Array(
        Type.Object({
          component: text,
          state: Type.Enum(['serves', 'leaves', 'comes', 'away']),
          only: Type.Boolean({ description: 'No other wire leads to a copy that serves' }),
        }),
      ),
    }),
  ),
  components: Type.Array(
    Type.Object({
      component: text,
      motherships: Type.Integer({ description: 'With a copy' }),
      wired: Type.Integer({ description: 'Of these, wired' }),
      serving: Type.Integer({ description: 'Of these, wired and serving' }),
      wanted: Type.Integer({ description: 'How many are to be wired' }),
    }),
  ),
  withoutCopies: Type.Array(text, { description: 'Versions that pages can come to, and that have no copy' }),
})

export const UrlEntry = Type.Object({
  pattern: text,
  components: Type.Array(Type.Object({ id: text, version: text })),
})

export const Statistics = Type.Object({
  instances: Type.Object({
    byPhase: Type.Record(Type.String(), count),
    byMothership: Type.Record(Type.String(), count),
  }),
  calls: count,
  errors: count,
  timeouts: count,
  latencyMs: Type.Object({
    p50: nullable(Type.Number()),
    p95: nullable(Type.Number()),
    p99: nullable(Type.Number()),
  }),
  load: Resources,
  restarts: count,
  since: nullable(text),
})

export const Activation = Type.Object({
  active: Type.Boolean(),
  history: Type.Array(Type.Object({ active: Type.Boolean(), at: text, by: text })),
})
const activeVersion = nullable(text)
export const ActivationHistory = Type.Object({
  id: text,
  current: Type.Union(activeVersion.anyOf, { description: 'the highest active version: meant where none is named' }),
  previous: Type.Union(activeVersion.anyOf, { description: 'where a rollback goes' }),
  items: Type.Array(
    Type.Object({
      at: text,
      by: text,
      what: Type.Enum([...activationActs]),
      version: text,
      from: activeVersion,
      to: activeVersion,
    }),
    { description: 'newest first' },
  ),
})
export const AskRollback = Type.Object(
  {
    to: Type.Optional(
      Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){1,2}$', description: 'default: the version before' }),
    ),
    force: Type.Optional(Type.Boolean({ description: 'also to a version of which no instance runs' })),
  },
  { additionalProperties: false },
)
export const RolledBack = Type.Object({ from: activeVersion, to: text, component: Component })
export const SetActivation = Type.Object({ active: Type.Boolean() }, { additionalProperties: false })
export const Refreshing = Type.Object({ refreshing: count })
export const Stopping = Type.Object({ stopping: count })

export const SettingsView = Type.Object({ ...Type.Omit(Settings, ['schema']).properties, revision: count })
export { SettingsChange } from '../cloud/settings.js'

export const Token = Type.Object({
  id: text,
  role: Role,
  subject: text,
  createdAt: text,
  expires: Type.Optional(text),
  node: Type.Optional(Type.Object({ kind: Type.Enum([...nodeKinds]), id: text })),
  revision: count,
})
export const NewToken = Type.Object(
  {
    role: Role,
    subject: Type.String({ minLength: 1, maxLength: 256 }),
    expires: Type.Optional(Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z$' })),
    node: Token.properties.node,
  },
  { additionalProperties: false },
)
export const TokenMade = Type.Object({ id: text, token: text })

export const Replica = Type.Object({
  id: text,
  url: text,
  leader: Type.Boolean(),
  term: nullable(count),
  appliedRevision: nullable(text),
  lagMs: nullable(Type.Number()),
})
export const Replicas = Type.Object({ items: Type.Array(Replica) })

/** How it goes with the Prometheus that is asked for load; null where none is. */
const prometheus = nullable(
  Type.Object({
    state: Type.Enum(['waiting', 'good', 'partial', 'down', 'slow', 'wrong', 'empty'], {
      description: 'unless it is good, reports stand in; `partial`: of some motherships',
    }),
    motherships: Type.Optional(count),
    message: Type.Optional(text),
    lacking: Type.Optional(
      Type.Record(Type.String(), count, { description: 'motherships that it does not tell of, by why' }),
    ),
  }),
)

export const Readiness = Type.Object({
  ready: Type.Boolean(),
  revision: text,
  staleForMs: Type.Number(),
  storeFull: Type.Boolean(),
  leader: nullable(text),
  prometheus,
  reason: Type.Optional(text),
})
export const Health = Type.Object({ status: text, id: text, software: text })

export const CloudView = Type.Object({
  revision: text,
  replicas: Replicas.properties.items,
  prometheus,
  rainServers: Type.Array(RainServer),
  motherships: Type.Array(Mothership),
  components: Type.Array(Component),
  wires: Type.Array(Type.Object({ rainServer: text, mothership: text })),
  instances: count,
})

const beforeAndAfter = (description: string) =>
  Type.Object({ before: Type.Number({ description }), after: Type.Number() })
const imbalance = beforeAndAfter(
  'how far the fullest mothership, or the emptiest that takes instances, is from the mean, in shares of capacity',
)
const moved = { instance: text, from: text, to: text }
export const RebalancePlan = Type.Object({
  revision: text,
  policy: Settings.properties.policy,
  automatic: Type.Boolean(),
  imbalance,
  inUse: beforeAndAfter('motherships that hold anything'),
  moves: Type.Array(Type.Object({ ...moved, component: text, version: text, gain: Type.Number() })),
  staying: Type.Record(Type.String(), count, { description: 'why instances that were looked at are not moved' }),
  underWay: Type.Array(Type.Object({ ...moved, at: text })),
})
export const Rebalanced = Type.Object({
  moving: count,
  imbalance: Type.Optional(imbalance),
  moves: Type.Array(Type.Object(moved)),
})

export const Targets = Type.Array(Type.Object({ targets: Type.Array(text), labels: Type.Record(Type.String(), text) }))

/** A page of a list: `revision` is that of the map it was read from. */
export const List = <S extends TSchema>(item: S) =>
  Type.Object({
    items: Type.Array(item),
    total: count,
    start: count,
    range: count,
    revision: text,
    next: Type.Optional(text),
  })

const duration = (description: string) => Type.String({ pattern: '^\\d{1,9}(ms|s|m|h)$', description })
/** What every read understands. */
export const readQuery = {
  minRevision: Type.Optional(
    Type.String({
      pattern: '^\\d{1,15}\\.\\d{1,15}$',
      description: 'wait until this revision is reached (3 s at most)',
    }),
  ),
  consistency: Type.Optional(Type.Literal('linearizable', { description: 'ask etcd for its revision first' })),
  block: Type.Optional(duration('with `after`: wait this long at most for a change')),
  after: Type.Optional(
    Type.String({ pattern: '^\\d{1,15}\\.\\d{1,15}$', description: 'with `block`: wait for a revision beyond this' }),
  ),
}
export const listQuery = {
  start: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1_000_000_000, description: 'items to leave out; default 0' }),
  ),
  range: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'items to give; default 100' })),
}
export type ListQuery = { start?: number; range?: number }
export const waitQuery = {
  wait: Type.Optional(Type.Enum(['placed', 'running', 'wired'])),
  timeout: Type.Optional(duration('how long to wait; default 10s, at most 60s')),
}
export type WaitQuery = { wait?: 'placed' | 'running' | 'wired'; timeout?: string }
export type ReadQuery = Static<ReturnType<typeof readQueryObject>>
const readQueryObject = () => Type.Object(readQuery)
