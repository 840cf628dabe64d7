/**
 * Everything that can be asked of the leader. A command is checked by its schema at the replica that receives it,
 * carries a request id that makes it exactly-once (S8), and is decided by the leader alone (S7).
 */
import Type, { type Static } from 'typebox'
import type { Refusal } from './errors.js'
import { componentIdPattern, digestPattern, instanceIdPattern, newNodeIdPattern, nodeIdPattern } from './ids.js'
import type { Order } from './order.js'
import { type Kind, kinds, onFailures, PlacementWish, Resources, Role } from './records.js'
import { SettingsChange } from './settings.js'

const nodeId = Type.String({ pattern: nodeIdPattern })
const newNodeId = Type.String({ pattern: newNodeIdPattern })
const labels = Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 256 }), { maxProperties: 64 })
const zone = Type.Optional(Type.String({ minLength: 1, maxLength: 128 }))
const strict = { additionalProperties: false }
/** Exact or a prefix that ends in `/*`; no control characters, because it becomes a line of HAProxy's files. */
const urlPattern = '^/([^\\s\\x00-\\x1f\\x7f?#*]*|([^\\s\\x00-\\x1f\\x7f?#*]*/)?\\*)$'
const url = Type.String({ pattern: urlPattern, maxLength: 1024 })
export const isUrlPattern = (text: string): boolean => new RegExp(urlPattern).test(text) && text.length <= 1024
/** Host by name or address, port up to 65535. */
const authority =
  '([^\\s/?#:@\\[\\]]+|\\[[0-9A-Fa-f:.]+\\])(:([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d\\d|655[0-2]\\d|6553[0-5]))?'
const rainServerAddress = Type.String({ pattern: `^https?://${authority}$`, maxLength: 512 })
const mothershipAddress = Type.String({ pattern: `^wss?://${authority}$`, maxLength: 512 })

export const RegisterRainServer = Type.Object(
  {
    id: Type.Optional(newNodeId),
    address: rainServerAddress,
    urls: Type.Array(url, { minItems: 1, maxItems: 1000 }),
    zone,
    labels: Type.Optional(labels),
  },
  strict,
)
export const UpdateRainServer = Type.Object(
  {
    draining: Type.Optional(Type.Boolean()),
    urls: Type.Optional(Type.Array(url, { minItems: 1, maxItems: 1000 })),
    labels: Type.Optional(labels),
  },
  strict,
)
export const RegisterMothership = Type.Object(
  {
    id: Type.Optional(newNodeId),
    address: mothershipAddress,
    capacity: Type.Object(Resources.properties, strict),
    zone,
    labels: Type.Optional(labels),
  },
  strict,
)
export const UpdateMothership = Type.Object(
  {
    cordoned: Type.Optional(Type.Boolean()),
    draining: Type.Optional(
      Type.Union([Type.Boolean(), Type.Object({ deadline: Type.String({ pattern: '^\\d+(ms|s|m|h)$' }) }, strict)]),
    ),
    labels: Type.Optional(labels),
  },
  strict,
)
export const Instantiate = Type.Object(
  {
    id: Type.Optional(Type.String({ pattern: instanceIdPattern })),
    need: Type.Optional(Type.Object(Type.Partial(Resources).properties, strict)),
    placement: Type.Optional(Type.Object(PlacementWish.properties, strict)),
    owner: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  },
  strict,
)
export const StartRollout = Type.Object(
  {
    component: Type.String({ pattern: componentIdPattern }),
    /** Exact. */
    version: Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){1,2}$' }),
    /** So many instances at once, or so many of a hundred, at least one. */
    maxUnavailable: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.String({ pattern: '^(100|[1-9]?\\d)%$' })]),
    ),
    onFailure: Type.Optional(Type.Enum(onFailures)),
    /** How long one may take until it runs. */
    timeout: Type.Optional(Type.String({ pattern: '^\\d{1,9}(ms|s|m|h)$' })),
  },
  strict,
)
export const rolloutActions = ['pause', 'resume', 'abort', 'return'] as const
export const SteerRollout = Type.Object({ action: Type.Enum(rolloutActions) }, strict)
export const Clone = Type.Object({ mothership: Type.Optional(nodeId) }, strict)

export const Force = Type.Object(
  {
    promote: nodeId,
    /** That what only other copies have is lost. */
    acceptLoss: Type.Literal(true),
  },
  strict,
)

/** What the receiving replica found in the package that it unpacked, checked and stored in chunks. */
export const Deploy = Type.Object({
  component: Type.Object({
    ...Type.Omit(kinds.components, ['schema', 'active', 'activation', 'deployedAt', 'deployedBy']).properties,
  }),
  activate: Type.Boolean(),
})

const componentVersion = {
  component: Type.String({ pattern: componentIdPattern }),
  version: Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){1,2}$' }),
}
const instance = Type.String({ pattern: instanceIdPattern })
/** The object's revision as the caller saw it (`If-Match`); another one now is a conflict. */
const ifRevision = Type.Optional(Type.Integer({ minimum: 1 }))

export const commandSchemas = {
  'register-rainserver': RegisterRainServer,
  'update-rainserver': Type.Object({ id: nodeId, change: UpdateRainServer, ifRevision }),
  'unregister-rainserver': Type.Object({ id: nodeId, ifRevision }),
  'register-mothership': RegisterMothership,
  'update-mothership': Type.Object({ id: nodeId, change: UpdateMothership, ifRevision }),
  'unregister-mothership': Type.Object({ id: nodeId, drain: Type.Boolean(), ifRevision }),
  /** From a node's own session: like register, but the credential vouches, so address and capacity may change. */
  'announce-rainserver': RegisterRainServer,
  'announce-mothership': RegisterMothership,
  deploy: Deploy,
  activate: Type.Object({ ...componentVersion, active: Type.Boolean() }),
  rollback: Type.Object({
    component: componentVersion.component,
    /** Absent: the one that was the highest active version before. */
    to: Type.Optional(componentVersion.version),
    /** Also where no instance of it runs. */
    force: Type.Boolean(),
  }),
  /** Chunks that were stored for a deploy that was refused. */
  'drop-package': Type.Object({
    digest: kinds.components.properties.digest,
    chunks: kinds.components.properties.chunks,
  }),
  instantiate: Type.Object({
    component: componentVersion.component,
    /** A fragment (rain-facts: 1..3 parts) or exact. */
    version: Type.String({ pattern: '^\\d{1,9}(\\.\\d{1,9}){0,2}$' }),
    wish: Instantiate,
    count: Type.Integer({ minimum: 1, maximum: 1000 }),
    bulk: Type.Boolean(),
  }),
  clone: Type.Object({ instance, wish: Clone }),
  /** Kept state that cannot be reached: goes on with what that mothership has. */
  force: Type.Object({ instance, ...Force.properties }),
  'refresh-version': Type.Object(componentVersion),
  'refresh-instance': Type.Object({ instance }),
  'start-rollout': StartRollout,
  'steer-rollout': Type.Object({ id: nodeId, action: Type.Enum(rolloutActions) }),
  'stop-instance': Type.Object({ instance }),
  undeploy: Type.Object(componentVersion),
  /** Moves instances now, whether or not the cloud is uneven enough to do it unasked. */
  rebalance: Type.Object({ movesMax: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })) }),
  'put-settings': Type.Object({ change: SettingsChange, ifRevision }),
  'create-token': Type.Object({
    digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    role: Role,
    subject: Type.String({ minLength: 1, maxLength: 256 }),
    expires: Type.Optional(Type.String()),
    node: kinds.tokens.properties.node,
  }),
  'revoke-token': Type.Object({ id: Type.String({ pattern: digestPattern.replace('sha256:', '') }) }),
} as const

export type Operation = keyof typeof commandSchemas
export type Command = {
  [O in Operation]: { readonly op: O; readonly body: Static<(typeof commandSchemas)[O]> }
}[Operation]
export type BodyOf<O extends Operation> = Static<(typeof commandSchemas)[O]>

/** Who asks: the subject and role of a token, a node by its credential, or the hypervisor itself. */
export interface Actor {
  readonly role: Role | 'system'
  readonly subject: string
  readonly node?: { readonly kind: 'mothership' | 'rainserver' | 'balancer'; readonly id: string }
  /** Where the call came from, for the audit. */
  readonly from?: string
}

export interface Envelope {
  /** Made by the receiving replica, or the caller's identity with its `Idempotency-Key`. */
  readonly requestId: string
  /** True only at the first sending of an id that was made for this call: nobody can have answered it before. */
  readonly fresh: boolean
  /**
   * Of an id that was made for this call: the turn as the receiving replica knew it then. The answer is kept with those of
   * its transaction, in no turn before. Without it the id is the caller's key, and its answer is kept under that.
   */
  readonly since?: number
  readonly actor: Actor
  readonly command: Command
}

/**
 * What became of a command: names, not bodies. The replica that answers renders them from its own memory once that
 * has reached `order`.
 */
export interface Answer {
  readonly outcome: 'created' | 'unchanged' | 'changed' | 'removed'
  readonly kind: Kind
  /** Ids of the records created, changed or removed. */
  readonly ids: readonly string[]
  /** How many instances are touched by a refresh, an undeploy or a drain. */
  readonly touched?: number
  /** Of a bulk call: why what was not placed was refused, one entry for each. */
  readonly refused?: readonly { readonly reasons: readonly Refusal[] }[]
  /** Of a rebalance: how much fuller the fullest mothership is than the mean, as it was planned. */
  readonly imbalance?: { readonly before: number; readonly after: number }
  readonly order: Order
  /** True when this request had been answered before, and this is that answer. */
  readonly replayed?: boolean
}
