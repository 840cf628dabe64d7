/**
 * The messages of `rain.v1`: one schema for each type, shared by both ends. A frame is one MessagePack map `{t, …}`.
 * Unknown fields pass (a newer release sent them), unknown types are answered with `error` and otherwise ignored.
 */
import Type, { type Static, type TSchema } from 'typebox'
import { SessionChange, SessionData } from './session-data.js'
import { socketTextBytesMax } from './socket-text.js'

export const subprotocol = 'rain.v1'
/** Where nodes open their session, and replicas their links; on the same listener as REST. */
export const nodePath = '/nodes/session'
export const peerPath = '/peers/link'
/** Where a rain server opens its link to a mothership. */
export const renderPath = '/render'
/** Where a mothership opens its link to another one, for the copies of kept state; on the same listener. */
export const copiesPath = '/copies'

/** What anybody may send. */
export const frameBytesMax = 1024 * 1024
/** What may be under way to a rain server, of fragments and answers, before it says that it takes more. */
export const linkCreditBytes = 4 * frameBytesMax
/** What a replica may send, to a node or to another replica: wanted states, loads and answers grow with the cloud. */
export const replicaFrameBytesMax = 16 * frameBytesMax
/** Upper bounds of the latency histogram in `load`, milliseconds. */
export const latencyBucketsMs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] as const

const text = Type.String()
const count = Type.Integer({ minimum: 0 })
const amount = Type.Number({ minimum: 0 })
const order = Type.Tuple([count, count])
const kind = Type.Union([Type.Literal('mothership'), Type.Literal('rainserver'), Type.Literal('balancer')])
const phase = Type.Enum(['placed', 'starting', 'running', 'failed', 'stopping'])
const replicas = Type.Array(Type.Object({ id: text, url: text }))
const resources = Type.Object({ cpu: amount, ram: amount, bandwidth: amount })
const context = Type.Record(Type.String(), Type.Unknown())

export const ObservedItem = Type.Object({
  instance: text,
  epoch: count,
  generation: count,
  phase,
  reason: Type.Optional(Type.String({ maxLength: 4096 })),
  /** The generation that the reason is of, where an older one still serves. */
  tried: Type.Optional(count),
  /** Of one that is `stopping`: it runs no more, and nothing that it began is under way. */
  ended: Type.Optional(Type.Boolean()),
  /** Kept state: what the copy says of itself in this epoch (`CopyReport` of the records). */
  copy: Type.Optional(
    Type.Object({
      journal: text,
      seq: count,
      wants: Type.Optional(Type.Enum(['register', 'renew', 'lost'])),
      sound: Type.Optional(Type.Boolean()),
      drop: Type.Optional(Type.Array(text)),
      admit: Type.Optional(Type.Record(Type.String(), text)),
    }),
  ),
})

/** What stands between the beginning and the end of a block, as html, with the tokens of the views within it. */
export const Block = Type.Object({
  content: text,
  /** What `{{#item}}`s say of themselves, each with its own `content`. */
  items: Type.Array(Type.Record(Type.String(), Type.Unknown())),
})
export type Block = Static<typeof Block>

const viewRequest = {
  /** The view instance id: a DOM id, new at each render. */
  id: text,
  component: text,
  /** A fragment or exact; absent = the latest active one. */
  version: Type.Optional(text),
  view: text,
  /** What the template adds to the context of the fragment that names it. */
  context,
  sid: Type.Optional(text),
  placeholder: Type.Optional(Type.Boolean()),
  required: Type.Optional(Type.Boolean()),
  /** For a container. */
  block: Type.Optional(Block),
}

/** A child of a fragment: which view goes to which place in the parent's html. */
export const ViewRequest = Type.Object({
  ...viewRequest,
  /** Offset in the parent's `html` (UTF-16 units) at which the child's html goes in, inside its `<div id>`. */
  at: count,
})
export type ViewRequest = Static<typeof ViewRequest>

/** A view within a block: it goes to where its token is in the html of the container that the block is for. */
export const GuestRequest = Type.Object({
  ...viewRequest,
  /** `id` of the container's view. */
  host: text,
  token: Type.String({ minLength: 16 }),
})
export type GuestRequest = Static<typeof GuestRequest>

/** Who looks at the page, as permissions and data functions see it. */
export const Viewer = Type.Object({
  id: Type.Optional(text),
  permissions: Type.Array(text),
})
export type Viewer = Static<typeof Viewer>

/** The part of the browser's request that a data function may see. */
export const PageRequest = Type.Object({
  url: text,
  query: Type.Record(Type.String(), Type.Unknown()),
  headers: Type.Record(Type.String(), Type.String()),
})
export type PageRequest = Static<typeof PageRequest>

/** How far a document of kept state was. */
const Reached = Type.Object({
  /** The revision that made the instance. */
  since: count,
  epoch: count,
  seq: count,
})

/** Of a view that is asked for. */
const asked = {
  r: count,
  instance: text,
  view: text,
  context,
  /** What the component has in the session, where it uses one. */
  sessionData: Type.Optional(SessionData),
  /** Of a container: what it is put around. */
  block: Type.Optional(Block),
  /** Of kept state: what the session was shown before, which this is not to be older than. */
  shown: Type.Optional(Reached),
  deadlineMs: amount,
}

const visit = {
  session: Type.Optional(text),
  user: Type.Optional(Viewer),
  locale: Type.Optional(text),
  /** Those of the platform, the default one first. */
  languages: Type.Optional(Type.Array(text)),
  request: Type.Optional(PageRequest),
}

/** On whose behalf views are asked for: the same for a whole page. */
const Visit = Type.Object(visit)
export type Visit = Static<typeof Visit>
const AskedView = Type.Object(asked)
export type AskedView = Static<typeof AskedView>

export const messages = {
  // node <-> replica
  hello: Type.Object({
    kind,
    id: text,
    /** Motherships `ws://host:port`, rain servers `http://host:port`, balancers where their pages are. */
    address: text,
    metrics: Type.Optional(text),
    capacity: Type.Optional(resources),
    urls: Type.Optional(Type.Array(text)),
    zone: Type.Optional(text),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    software: Type.Optional(text),
    o: Type.Optional(order),
    runs: Type.Optional(Type.Array(ObservedItem)),
  }),
  welcome: Type.Object({
    session: count,
    replicas,
    o: order,
    staleForMs: amount,
    pingMs: count,
    reconnectWithinMs: count,
    /** Each load report is answered with a sign of life, so that no ping need go with it. */
    answersLoads: Type.Optional(Type.Boolean()),
  }),
  wanted: Type.Object({
    o: order,
    /** Null: the whole. Otherwise the order on which put and gone rest. */
    base: Type.Union([Type.Null(), order]),
    put: Type.Record(Type.String(), Type.Unknown()),
    gone: Type.Array(text),
  }),
  hint: Type.Object({ weights: Type.Record(Type.String(), Type.Number()) }),
  applied: Type.Object({
    o: order,
    refused: Type.Optional(Type.Array(Type.Object({ key: text, reason: text }))),
  }),
  observed: Type.Object({ items: Type.Array(ObservedItem) }),
  load: Type.Object({
    cpu: amount,
    ram: amount,
    bandwidth: Type.Object({ in: amount, out: amount }),
    windowMs: amount,
    /** Keyed by `component/version` (normalised). */
    components: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object({
          calls: count,
          errors: count,
          timeouts: count,
          restarts: count,
          cpu: amount,
          ram: amount,
          bandwidth: amount,
          latency: Type.Array(count),
        }),
      ),
    ),
  }),
  replicas: Type.Object({ replicas }),
  bye: Type.Object({ code: text, reconnect: Type.Boolean(), reason: Type.Optional(text) }),
  error: Type.Object({ about: Type.Optional(text), message: text }),

  // rain server <-> mothership; `r` numbers the request on its link
  render: Type.Object({ ...asked, ...visit }),
  /** As many `render`s, for one page: what they share stands once. Only to a mothership that has said that it `takes` it. */
  renders: Type.Object({ list: Type.Array(AskedView), ...visit }),
  /** From the mothership, at once: which of the later messages it takes. */
  takes: Type.Object({ renders: Type.Boolean() }),
  fragment: Type.Object({
    r: count,
    instance: text,
    mothership: text,
    html: text,
    /** Urls of style sheets (after a blank, the media) and scripts, in order, relative to the page's root. */
    css: Type.Array(text),
    js: Type.Array(text),
    title: Type.Optional(text),
    /** What its children inherit; once for all of them. */
    context,
    children: Type.Array(ViewRequest),
    guests: Type.Optional(Type.Array(GuestRequest)),
    sessionChange: Type.Optional(SessionChange),
    /** Of kept state: how far the document was that is shown. Whoever has seen a higher epoch drops it. */
    state: Type.Optional(Reached),
  }),
  failed: Type.Object({ r: count, status: Type.Integer({ minimum: 100, maximum: 599 }), reason: text }),
  cancel: Type.Object({ r: count }),
  /**
   * From the rain server: so many more bytes of fragments and answers may come. With the first one on a link the
   * mothership begins to count, from `linkCreditBytes`; without any it sends as it likes. `several`: answers that are
   * there together may come as such.
   */
  credit: Type.Object({ bytes: count, several: Type.Optional(Type.Boolean()) }),
  /** As many messages in one frame, none of them of this type. */
  several: Type.Object({ list: Type.Array(Type.Unknown()) }),
  call: Type.Object({
    r: count,
    /**
     * `resource`: a file below `client/`, `resources/` or `locale/` of the package; `controller`: `<name>`; `fallback`:
     * what stands in for the view that the path names.
     */
    kind: Type.Enum(['resource', 'controller', 'intent', 'fallback']),
    /** Of an intent that code of the server answers, whose context is the body (JSON). */
    intent: Type.Optional(Type.Object({ category: text, action: text })),
    component: text,
    version: text,
    path: text,
    instance: Type.Optional(text),
    verb: text,
    request: Type.Optional(PageRequest),
    body: Type.Optional(Type.Unknown()),
    session: Type.Optional(text),
    user: Type.Optional(Viewer),
    locale: Type.Optional(text),
    /** Those of the platform, the default one first. */
    languages: Type.Optional(Type.Array(text)),
    sessionData: Type.Optional(SessionData),
    /** As of `render`. */
    shown: Type.Optional(Reached),
    deadlineMs: amount,
  }),
  answer: Type.Object({
    r: count,
    status: Type.Integer({ minimum: 100, maximum: 599 }),
    headers: Type.Record(Type.String(), Type.String()),
    /** Values of `Set-Cookie`. */
    cookies: Type.Optional(Type.Array(text)),
    sessionChange: Type.Optional(SessionChange),
    /** Of kept state: how far the document was that the controller saw or made. */
    state: Type.Optional(Reached),
    /** Text or bytes. */
    body: Type.Optional(Type.Unknown()),
  }),
  /** A websocket of a component's own is asked for; `r` is its number from then on. Answered by `socket-open` or `failed`. */
  socket: Type.Object({
    r: count,
    component: text,
    version: text,
    instance: text,
    channel: text,
    session: Type.Optional(text),
    user: Type.Optional(Viewer),
    locale: Type.Optional(text),
    languages: Type.Optional(Type.Array(text)),
    request: Type.Optional(PageRequest),
    sessionData: Type.Optional(SessionData),
    deadlineMs: amount,
  }),
  'socket-open': Type.Object({ r: count }),
  'socket-data': Type.Object({ r: count, text: Type.String({ maxLength: socketTextBytesMax }) }),
  /** What the component has changed in the session on behalf of a socket. */
  'socket-session': Type.Object({ r: count, change: SessionChange }),
  /** By either end; `code` is that of websockets (RFC 6455, section 7.4). */
  'socket-close': Type.Object({ r: count, code: Type.Integer({ minimum: 1000, maximum: 4999 }), reason: text }),

  // replica <-> replica
  peer: Type.Object({ id: text, url: text, incarnation: text }),
  /** `relay`: whoever does not lead passes it on to who does, once. */
  forward: Type.Object({
    r: count,
    envelope: Type.Unknown(),
    deadlineMs: amount,
    relay: Type.Optional(Type.Boolean()),
  }),
  done: Type.Object({ r: count, answer: Type.Unknown() }),
  'not-leader': Type.Object({ r: count, who: Type.Union([Type.Null(), text]) }),
  problem: Type.Object({ r: count, code: text, message: text, details: Type.Optional(Type.Unknown()) }),
  loads: Type.Object({
    nodes: Type.Array(
      Type.Object({
        kind,
        id: text,
        cpu: amount,
        ram: amount,
        bandwidth: amount,
        /** Milliseconds between the sample and the sending of this message. */
        ageMs: amount,
        components: Type.Optional(Type.Unknown()),
      }),
    ),
    /** Which wanted state each node applied last. */
    applied: Type.Optional(Type.Array(Type.Object({ kind, id: text, session: count, o: order }))),
  }),
  /** How old the map is there (0: not stale), and with whom it is linked. */
  alive: Type.Object({ staleForMs: Type.Optional(amount), linked: Type.Optional(Type.Array(text)) }),
  /** Has that process, the leader of that term, gone from the other's sight too? Answered by `agree` or `deny`. */
  suspect: Type.Object({ r: count, replica: text, incarnation: text, term: count }),
  agree: Type.Object({ r: count }),
  deny: Type.Object({ r: count }),
  /** A leader that etcd does not hear any more: end that term for me. */
  yield: Type.Object({ term: count }),
} as const satisfies Record<string, TSchema>

export type MessageType = keyof typeof messages
export type MessageOf<T extends MessageType> = { t: T } & Static<(typeof messages)[T]>
export type Message = { [T in MessageType]: MessageOf<T> }[MessageType]

/* What the keys of a node's wanted state hold. */

/** Mothership: `instances/<id>`. */
export const WantedInstance = Type.Object({
  component: text,
  /** Normalised. */
  version: text,
  digest: text,
  size: count,
  role: Type.Union([Type.Literal('primary'), Type.Literal('backup'), Type.Literal('learner')]),
  epoch: count,
  generation: count,
  /** Which process of the version: instances with the same one share it. Absent: before the first refresh. */
  refresh: Type.Optional(text),
  /** The revision that made it: another one is another instance, which only has the same id. */
  since: Type.Optional(count),
  isolation: Type.Union([Type.Literal('shared'), Type.Literal('exclusive')]),
  need: resources,
  /** Of an instance that keeps state: its whole configuration. */
  kept: Type.Optional(
    Type.Object({
      primary: text,
      inSync: Type.Array(text),
      learners: Type.Array(text),
      journals: Type.Record(Type.String(), text),
      inSyncMin: count,
    }),
  ),
})
export type WantedInstance = Static<typeof WantedInstance>

/** Mothership: `peers/<mothership>`, for each that has a copy of an instance that keeps state here too. */
export const WantedPeer = Type.Object({ mothership: text, address: text, ticket: text })
export type WantedPeer = Static<typeof WantedPeer>

/** Mothership: `keys`. Public keys (PEM) that verify tickets. */
export const WantedKeys = Type.Object({ keys: Type.Array(Type.Object({ id: text, publicKey: text })) })
export type WantedKeys = Static<typeof WantedKeys>

/** How pages deal with a view (`ViewTerms` of the records). */
export const WantedTerms = Type.Object({
  maxAgeMs: Type.Optional(count),
  staleMs: Type.Optional(count),
  query: Type.Optional(Type.Array(text)),
  deadlineMs: Type.Optional(count),
  fallback: Type.Optional(Type.Boolean()),
  required: Type.Optional(Type.Boolean()),
})
export type WantedTerms = Static<typeof WantedTerms>

/** Rain server: `components/<id>/<version>` for every registered version that its urls can reach. */
export const WantedComponent = Type.Object({
  id: text,
  /** Normalised. */
  version: text,
  /** As the package wrote it. */
  exact: text,
  active: Type.Boolean(),
  views: Type.Array(text),
  /** By view; of those of which the descriptor says something. */
  terms: Type.Optional(Type.Record(Type.String(), WantedTerms)),
  /** What it offers to do; the provider is a view, or `file.js#method`. */
  intents: Type.Optional(Type.Array(Type.Object({ category: text, action: text, provider: text }))),
  useSession: Type.Optional(Type.Boolean()),
  pageTitle: Type.Optional(text),
  /** Copies that run, sorted by instance and mothership. */
  copies: Type.Array(Type.Object({ instance: text, mothership: text, epoch: count })),
})
export type WantedComponent = Static<typeof WantedComponent>

/** Rain server: `wires/<mothership>`. */
export const WantedWire = Type.Object({ mothership: text, address: text, ticket: text })
export type WantedWire = Static<typeof WantedWire>

/** Rain server: `server`. */
export const WantedServer = Type.Object({
  urls: Type.Array(text),
  /** Raised by a reset: close every link, flush every cache, start anew. */
  generation: count,
  fragmentDeadlineMs: count,
  pageDeadlineMs: count,
  errorComponent: Type.Union([Type.Null(), text]),
  loadingComponent: Type.Optional(Type.Union([Type.Null(), text])),
  /** While somebody writes a component: nothing is shown again, here or in browsers. */
  developing: Type.Optional(Type.Boolean()),
  languages: Type.Optional(Type.Object({ default: text, offered: Type.Array(text) })),
  /** What sessions are sealed with (32 bytes, base64): by the first, and opened by any of them. */
  sessionKeys: Type.Optional(Type.Array(text)),
})
export type WantedServer = Static<typeof WantedServer>

/** Balancer: `rainservers/<id>`. */
export const WantedBackend = Type.Object({
  id: text,
  address: text,
  urls: Type.Array(text),
  state: Type.Union([Type.Literal('ready'), Type.Literal('draining'), Type.Literal('gone')]),
})
export type WantedBackend = Static<typeof WantedBackend>

/** Balancer: `replicas/<id>`. */
export const WantedReplica = Type.Object({ id: text, url: text })
export type WantedReplica = Static<typeof WantedReplica>
