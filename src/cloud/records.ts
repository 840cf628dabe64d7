/**
 * What etcd holds of the map: one schema for each kind of record, keys `map/<kind>/<id>`, checked as strictly when
 * read as when written. A field that this release does not know is kept: a newer replica wrote it.
 */
import Type, { type Static, type TSchema } from 'typebox'
import { componentIdPattern, digestPattern, instanceIdPattern, nodeIdPattern } from './ids.js'
import { Resources } from './resources.js'
import { SettingsRecord } from './settings.js'

export { Resources } from './resources.js'
export { defaultSettings, Settings } from './settings.js'

const schema = Type.Integer({ minimum: 1 })
const nodeId = Type.String({ pattern: nodeIdPattern })
const componentId = Type.String({ pattern: componentIdPattern })
const version = Type.String({ pattern: '^\\d{1,9}\\.\\d{1,9}(\\.\\d{1,9})?$' })
const time = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z$' })
const counter = Type.Integer({ minimum: 0 })
const labels = Type.Record(Type.String(), Type.String())

/** What an instance asks of the motherships that may take it. */
export const PlacementWish = Type.Object({
  labels: Type.Optional(labels),
  zones: Type.Optional(Type.Array(Type.String())),
  copies: Type.Optional(Type.Integer({ minimum: 1, maximum: 16 })),
  /** `component`: no two instances of this component (any version) on one mothership. */
  antiAffinity: Type.Optional(Type.Union([Type.Literal('none'), Type.Literal('component')])),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
  /** Kept state: with fewer copies in sync nothing may be changed. Default 1. */
  inSyncMin: Type.Optional(Type.Integer({ minimum: 1, maximum: 16 })),
})
export type PlacementWish = Static<typeof PlacementWish>

export const phases = ['placed', 'starting', 'running', 'failed', 'stopping'] as const
export const Phase = Type.Enum(phases)
export type Phase = (typeof phases)[number]

export const roles = ['admin', 'operator', 'viewer', 'node'] as const
export const Role = Type.Enum(roles)
export type Role = (typeof roles)[number]

const EraRecord = Type.Object({ schema, era: Type.Integer({ minimum: 1 }) })

/** How pages deal with a view, as far as its descriptor says something of it. */
export const ViewTerms = Type.Object({
  /** As good as new for so long. */
  maxAgeMs: Type.Optional(counter),
  /** After that, for so long where no copy answers. */
  staleMs: Type.Optional(counter),
  /** Parameters of the url that it depends on; absent: all. */
  query: Type.Optional(Type.Array(Type.String())),
  deadlineMs: Type.Optional(Type.Integer({ minimum: 1 })),
  /** There is a file that stands in for it. */
  fallback: Type.Optional(Type.Boolean()),
  required: Type.Optional(Type.Boolean()),
})
export type ViewTerms = Static<typeof ViewTerms>

/** One view of a component, as routing and aggregation need it. */
const ViewRecord = Type.Object({
  id: Type.String(),
  /** Views that this view's template names by the `component` helper; what only run time shows is not here. */
  uses: Type.Array(
    Type.Object({
      component: Type.Optional(componentId),
      version: Type.Optional(Type.String()),
      view: Type.Optional(Type.String()),
      /** Which component it is only run time shows. */
      any: Type.Optional(Type.Boolean()),
    }),
  ),
  terms: Type.Optional(ViewTerms),
})

const ComponentRecord = Type.Object({
  schema,
  id: componentId,
  /** As the package wrote it; the key holds the normalised one (`1.0` -> `1.0.0`). */
  version,
  active: Type.Boolean(),
  activation: Type.Array(Type.Object({ active: Type.Boolean(), at: time, by: Type.String() })),
  description: Type.Optional(Type.String()),
  pageTitle: Type.Optional(Type.String()),
  digest: Type.String({ pattern: digestPattern }),
  /** Bytes of the package, and in how many chunks `blob/<digest>/<n>` it lies. */
  size: counter,
  chunks: Type.Integer({ minimum: 1 }),
  deployedAt: time,
  deployedBy: Type.String(),
  /** As far as the package says; the rest is as by the settings when an instance is started. */
  need: Type.Optional(Type.Partial(Resources)),
  placement: Type.Optional(PlacementWish),
  isolation: Type.Union([Type.Literal('shared'), Type.Literal('exclusive')]),
  state: Type.Union([Type.Literal('none'), Type.Literal('kept')]),
  views: Type.Array(ViewRecord),
  /** The package's meta.json, byte for byte. */
  meta: Type.String(),
})

/**
 * What the node last said of itself where an operator may say otherwise: only when it says something new does its
 * word replace the operator's.
 */
const announced = Type.Object({
  urls: Type.Optional(Type.Array(Type.String())),
  zone: Type.Optional(Type.String()),
  labels,
})

const MothershipRecord = Type.Object({
  schema,
  id: nodeId,
  address: Type.String(),
  zone: Type.Optional(Type.String()),
  labels,
  capacity: Resources,
  cordoned: Type.Boolean(),
  draining: Type.Union([
    Type.Null(),
    Type.Object({
      /** After that, copies go as soon as there is another place for them, whether or not they run there yet. */
      deadline: Type.Union([Type.Null(), time]),
      since: Type.Optional(time),
      /** Copies that it held when the drain began. */
      total: Type.Optional(counter),
    }),
  ]),
  /** Unregistered while it held instances: goes as soon as it is empty. */
  leaving: Type.Optional(Type.Boolean()),
  announced: Type.Optional(announced),
})

const RainServerRecord = Type.Object({
  schema,
  id: nodeId,
  address: Type.String(),
  urls: Type.Array(Type.String(), { minItems: 1 }),
  zone: Type.Optional(Type.String()),
  labels,
  draining: Type.Boolean(),
  /** How often it was asked to reset its wiring. */
  generation: counter,
  announced: Type.Optional(announced),
})

/**
 * Why an instance is where it is, as decided: the best candidates and how many each rule refused. Not a record of the
 * map: hardly anybody asks, and it weighs twice what the instance does.
 */
export const Decision = Type.Object({
  decisionRevision: counter,
  at: time,
  candidates: Type.Array(
    Type.Object({
      mothership: nodeId,
      score: Type.Number(),
      terms: Type.Record(Type.String(), Type.Number()),
      pressure: Resources,
      loadAgeMs: Type.Union([Type.Null(), Type.Number()]),
    }),
  ),
  refusedByRule: Type.Record(Type.String(), counter),
})
export type Decision = Static<typeof Decision>

const InstanceRecord = Type.Object({
  schema,
  id: Type.String({ pattern: instanceIdPattern }),
  component: componentId,
  /** Normalised, three parts. */
  version,
  owner: Type.Optional(Type.String()),
  need: Resources,
  placement: PlacementWish,
  /** The configuration (reliability.md, section 3): epoch, one primary, the in-sync copies (primary included). */
  epoch: Type.Integer({ minimum: 1 }),
  primary: nodeId,
  inSync: Type.Array(nodeId),
  learners: Type.Array(nodeId),
  /** Kept state: which journal counts, by mothership, of the copies in sync. */
  journals: Type.Optional(Type.Record(Type.String(), Type.String())),
  /** How often it was asked to refresh. */
  generation: counter,
  /** By which refresh it has its process; absent before the first one. Instances of one refresh share a process. */
  refresh: Type.Optional(Type.String({ maxLength: 64 })),
  createdAt: time,
  /** The turn (S2) of the transaction that placed it last, whose decisions are kept under that number. */
  decidedIn: Type.Optional(counter),
})

const WiringRecord = Type.Object({
  schema,
  /**
   * Sorted by mothership. What is wired through them is not here: the map tells, and it changes with each copy, which
   * would write the records of all rain servers that are wired already.
   */
  wires: Type.Array(Type.Object({ mothership: nodeId })),
  /** Of the rain server, when it was wired: after a reset it is wired anew. */
  generation: Type.Optional(counter),
  /** When a wire came or went last. */
  at: Type.Optional(time),
})

/** On the presence lease of the replica that holds the websocket; its modification revision is the session's number. */
const SessionRecord = Type.Object({
  schema,
  kind: Type.Union([Type.Literal('mothership'), Type.Literal('rainserver'), Type.Literal('balancer')]),
  id: nodeId,
  replica: nodeId,
  address: Type.String(),
  /** Where Prometheus finds it: `http://host:port/metrics`. */
  metrics: Type.Optional(Type.String()),
  software: Type.Optional(Type.String()),
})

const ReplicaRecord = Type.Object({
  schema,
  id: nodeId,
  /** REST, console and nodes' websockets: `http://host:port`. */
  url: Type.String(),
  /** Made anew at each start of the process. */
  incarnation: Type.String(),
  software: Type.Optional(Type.String()),
})

const LeaderRecord = Type.Object({ schema, replica: nodeId, incarnation: Type.String(), url: Type.String() })

/** Raised by every transaction of a leader (S2). `auditHead` is the hash of the newest audit value (S9). */
const TurnRecord = Type.Object({ schema, token: counter, number: counter, auditHead: Type.String() })

/** Ed25519 keys that sign tickets, PEM; the first one signs, all of them verify. */
const KeysRecord = Type.Object({
  schema,
  keys: Type.Array(Type.Object({ id: Type.String(), privateKey: Type.String(), publicKey: Type.String() }), {
    minItems: 1,
  }),
})

const TokenRecord = Type.Object({
  schema,
  /** SHA-256 of the secret, hex: the key. The secret itself is nowhere. */
  id: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  role: Role,
  subject: Type.String(),
  createdAt: time,
  expires: Type.Optional(time),
  /** A node's credential names the one node that it is good for. */
  node: Type.Optional(Type.Object({ kind: SessionRecord.properties.kind, id: nodeId })),
})

/** What a version was before it was undeployed: it may come back with this digest only. */
const UndeployedRecord = Type.Object({ schema, digest: Type.String({ pattern: digestPattern }), at: time })

export const activationActs = ['deploy', 'activate', 'deactivate', 'rollback', 'undeploy'] as const
const activeVersion = Type.Union([Type.Null(), version])

/**
 * What was done to the versions of a component as far as it bears on which of them are active, oldest first. `from` and
 * `to`: the highest active version before and after, which is what is meant where no version is named; null: none.
 */
const ActivationsRecord = Type.Object({
  schema,
  id: componentId,
  entries: Type.Array(
    Type.Object({
      at: time,
      by: Type.String(),
      what: Type.Enum(activationActs),
      version,
      from: activeVersion,
      to: activeVersion,
    }),
  ),
})

/** A version that kept failing on a mothership, which gets no more of it before `until`. Key: `mothership/id/version`. */
const QuarantineRecord = Type.Object({
  schema,
  mothership: nodeId,
  component: componentId,
  /** Normalised. */
  version,
  since: time,
  until: time,
  reason: Type.String(),
})

/**
 * A copy on its way from one mothership to another: as soon as it runs at the second, it goes from the first. Stays
 * until `until`, so that nothing moves the instance again before.
 */
const MoveRecord = Type.Object({
  schema,
  from: nodeId,
  to: nodeId,
  at: time,
  until: time,
  /** What was measured of it at the first place: samples there show it for a while yet. */
  used: Resources,
  /** It has arrived, or will not: the copies stay where they are. */
  over: Type.Optional(Type.Boolean()),
})

/**
 * An instance that stops: `unwire` until no rain server asks for it any more, then `drain` until its motherships have
 * ended it. Then both records go.
 */
const StopRecord = Type.Object({
  schema,
  stage: Type.Enum(['unwire', 'drain']),
  /** When the stage began. */
  since: time,
})

/** A version that is undeployed: goes when its instances are gone. `total`: instances when it began. */
const RemovalRecord = Type.Object({ schema, since: time, by: Type.String(), total: counter })

export const rolloutPhases = ['running', 'paused', 'done', 'aborted', 'returned'] as const
export const onFailures = ['pause', 'return'] as const

/** All instances of a version refreshed, a few at a time. Instances are taken in the order of their ids. */
const RolloutRecord = Type.Object({
  schema,
  id: nodeId,
  component: componentId,
  /** Normalised. */
  version,
  phase: Type.Enum(rolloutPhases),
  /** Why it is paused, or ended before it was done. */
  reason: Type.Optional(Type.String()),
  /** Of those that were begun last: which did not come up. */
  failures: Type.Array(Type.Object({ instance: Type.String({ pattern: instanceIdPattern }), reason: Type.String() })),
  /** So many at once. */
  maxUnavailable: Type.Integer({ minimum: 1 }),
  onFailure: Type.Enum(onFailures),
  /** Milliseconds in which one has to run. */
  withinMs: Type.Integer({ minimum: 1 }),
  /** Instances when it began; how many of them run anew. */
  total: counter,
  done: counter,
  /** Raised when it is resumed: what did not come up is tried in another process. */
  attempt: counter,
  /** The last one that was taken; empty before the first. */
  after: Type.String(),
  /** Those under way, and by which refresh each had its process before. */
  batch: Type.Object({
    since: time,
    instances: Type.Array(Type.Object({ id: Type.String({ pattern: instanceIdPattern }), before: Type.String() })),
  }),
  startedAt: time,
  startedBy: Type.String(),
  endedAt: Type.Optional(time),
})

/**
 * What a copy of kept state says of itself, for the leader to decide on: good for the epoch that it is said in.
 * `journal`: the one that it writes, made anew when the old one was gone or could not be trusted. `seq`: where its
 * history ended when the epoch began. `register`: a primary without a registered journal; `renew`: a primary that was
 * started again and needs an epoch in which it has said nothing yet; `lost`: not to be counted on any more. `sound`:
 * it has followed a primary, or been one, since its process was started, so nothing that it had said is missing. `drop`:
 * copies that do not answer; `admit`: learners that have everything, by mothership the journal.
 */
export const CopyReport = Type.Object({
  journal: Type.String(),
  seq: counter,
  wants: Type.Optional(Type.Union([Type.Literal('register'), Type.Literal('renew'), Type.Literal('lost')])),
  sound: Type.Optional(Type.Boolean()),
  drop: Type.Optional(Type.Array(nodeId)),
  admit: Type.Optional(Type.Record(Type.String(), Type.String())),
})
export type CopyReport = Static<typeof CopyReport>

/** What a mothership last said of one copy. */
const ObservedRecord = Type.Object({
  schema,
  session: counter,
  epoch: counter,
  generation: counter,
  phase: Phase,
  reason: Type.Optional(Type.String()),
  /** The generation that the reason is of, where an older one still serves. */
  tried: Type.Optional(counter),
  /** Of one that is `stopping`: it runs no more, and nothing that it began is under way. */
  ended: Type.Optional(Type.Boolean()),
  since: time,
  /** Kept state: what the copy says of itself, good for the epoch of this record. */
  copy: Type.Optional(CopyReport),
})

/**
 * Every kind of record in the map. The id is what follows `map/<kind>/`, and empty for the kinds of which there is
 * one only (`map/<kind>`): components `id/version`, sessions `kind/id`, undeployed `id/version`, observed
 * `mothership/instance`, quarantine `mothership/id/version`, moves and stops the
 * instance's id, removals `id/version`, tokens the digest, all others the id itself.
 */
export const kinds = {
  era: EraRecord,
  components: ComponentRecord,
  motherships: MothershipRecord,
  rainservers: RainServerRecord,
  instances: InstanceRecord,
  wiring: WiringRecord,
  sessions: SessionRecord,
  replicas: ReplicaRecord,
  leader: LeaderRecord,
  turn: TurnRecord,
  keys: KeysRecord,
  settings: SettingsRecord,
  tokens: TokenRecord,
  undeployed: UndeployedRecord,
  activations: ActivationsRecord,
  observed: ObservedRecord,
  quarantine: QuarantineRecord,
  moves: MoveRecord,
  rollouts: RolloutRecord,
  stops: StopRecord,
  removals: RemovalRecord,
} as const satisfies Record<string, TSchema>

export type Kind = keyof typeof kinds
export type RecordOf<K extends Kind> = Static<(typeof kinds)[K]>

export type ComponentRecord = RecordOf<'components'>
export type MothershipRecord = RecordOf<'motherships'>
export type RainServerRecord = RecordOf<'rainservers'>
export type InstanceRecord = RecordOf<'instances'>
export type WiringRecord = RecordOf<'wiring'>
export type SessionRecord = RecordOf<'sessions'>
export type ReplicaRecord = RecordOf<'replicas'>
export type LeaderRecord = RecordOf<'leader'>
export type TurnRecord = RecordOf<'turn'>
export type TokenRecord = RecordOf<'tokens'>
export type ObservedRecord = RecordOf<'observed'>
export type QuarantineRecord = RecordOf<'quarantine'>
export type ActivationsRecord = RecordOf<'activations'>
export type MoveRecord = RecordOf<'moves'>
export type RolloutRecord = RecordOf<'rollouts'>
export type KeysRecord = RecordOf<'keys'>

/** One record put or (value null) deleted. A plan is a list of these, complete: nothing is left to choose later. */
export type Change<K extends Kind = Kind> = {
  [Each in K]: { readonly kind: Each; readonly id: string; readonly value: RecordOf<Each> | null }
}[K]

export function put<K extends Kind>(kind: K, id: string, value: RecordOf<K>): Change {
  return { kind, id, value } as Change
}

export function remove(kind: Kind, id: string): Change {
  return { kind, id, value: null } as Change
}
