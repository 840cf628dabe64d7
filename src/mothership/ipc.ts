/** What a mothership and the process of a component version say to each other. */
import Type from 'typebox'
import {
  type Block,
  type GuestRequest,
  messages,
  type PageRequest,
  type Viewer,
  type ViewRequest,
} from '../protocol/messages.js'
import type { SessionChange, SessionData } from '../protocol/session-change.js'
import { SessionChange as SessionChangeSchema } from '../protocol/session-data.js'
import { Ask, type Told } from './state/asks.js'
import type { Seen } from './state/code.js'

export interface WorkerStart {
  /** Directory of the unpacked package. */
  readonly directory: string
  readonly mothership: string
}

/** `seqMin`: of kept state, nothing older than that is to be read. */
export interface RenderCall {
  /** What the component has in the session. */
  readonly sessionData?: SessionData | undefined
  readonly instance: string
  readonly view: string
  readonly context: Readonly<Record<string, unknown>>
  readonly session?: string
  readonly user?: Viewer
  readonly locale?: string
  readonly languages?: readonly string[]
  readonly request?: PageRequest
  readonly block?: Block
  readonly seqMin?: number | undefined
}

/** A call of a controller, `name` being what follows `controller/` in the url; or, with `intent`, what answers to that. */
export interface ControlCall {
  readonly sessionData?: SessionData | undefined
  readonly instance: string
  readonly name: string
  readonly intent?: { readonly category: string; readonly action: string } | undefined
  /** Upper case. */
  readonly verb: string
  readonly request?: PageRequest | undefined
  readonly body?: Uint8Array | undefined
  readonly session?: string | undefined
  readonly user?: Viewer | undefined
  readonly locale?: string | undefined
  readonly languages?: readonly string[] | undefined
  readonly seqMin?: number | undefined
}

/** A websocket of the component's own: `server/websockets/` has what handles the channel. */
export interface SocketCall {
  readonly sessionData?: SessionData | undefined
  readonly instance: string
  readonly channel: string
  readonly request?: PageRequest | undefined
  readonly session?: string | undefined
  readonly user?: Viewer | undefined
  readonly locale?: string | undefined
  readonly languages?: readonly string[] | undefined
}

/** What a controller answered. Names of headers are lower case; cookies as they are to be set. */
export interface Controlled {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly cookies: readonly string[]
  readonly sessionChange?: SessionChange
  /** Of kept state: how far the document was that was seen or made. */
  readonly state?: Seen
  readonly body: Uint8Array
}

export type RenderAsked = { readonly k: 'render'; readonly n: number; readonly call: RenderCall }

export type ToWorker =
  | RenderAsked
  /** What the calls share is written once. */
  | { readonly k: 'renders'; readonly n: 0; readonly list: readonly RenderAsked[] }
  | { readonly k: 'control'; readonly n: number; readonly call: ControlCall }
  /** A socket keeps the number that it was opened with. */
  | { readonly k: 'open'; readonly n: number; readonly call: SocketCall }
  | { readonly k: 'hear'; readonly n: number; readonly text: string }
  | { readonly k: 'close'; readonly n: number }
  | { readonly k: 'ping'; readonly n: number }
  | Told
  /** It is above its memory: its garbage first. */
  | { readonly k: 'collect'; readonly n: number }

export interface Rendered {
  readonly html: string
  readonly css: readonly string[]
  readonly js: readonly string[]
  readonly title?: string
  readonly context: Readonly<Record<string, unknown>>
  readonly children: readonly ViewRequest[]
  readonly guests?: readonly GuestRequest[]
  readonly sessionChange?: SessionChange
  /** Of kept state: how far the document was that is shown. */
  readonly state?: Seen
}

export type RenderAnswered =
  | { readonly k: 'rendered'; readonly n: number; readonly result: Rendered }
  | { readonly k: 'failed'; readonly n: number; readonly status: number; readonly reason: string }

export type FromWorker =
  | { readonly k: 'ready' }
  /** The self-test failed: the package cannot run here. */
  | { readonly k: 'unfit'; readonly reason: string }
  | RenderAnswered
  /** Of answers to renders, none of which has been checked with it. */
  | { readonly k: 'several'; readonly list: readonly unknown[] }
  | { readonly k: 'controlled'; readonly n: number; readonly result: Controlled }
  | { readonly k: 'opened'; readonly n: number }
  | { readonly k: 'say'; readonly n: number; readonly text: string }
  | { readonly k: 'session'; readonly n: number; readonly change: SessionChange }
  | { readonly k: 'closed'; readonly n: number; readonly code: number; readonly reason: string }
  | { readonly k: 'pong'; readonly n: number }
  | Ask

const n = Type.Integer({ minimum: 1 })
const { html, css, js, title, context, children, guests, sessionChange } = messages.fragment.properties
const seen = Type.Object({ epoch: Type.Integer({ minimum: 0 }), seq: Type.Integer({ minimum: 0 }) })
const { status, reason } = messages.failed.properties
const { headers } = messages.answer.properties
const { text } = messages['socket-data'].properties
const { code } = messages['socket-close'].properties

const rendered = Type.Object({
  k: Type.Literal('rendered'),
  n,
  result: Type.Object({ html, css, js, title, context, children, guests, state: Type.Optional(seen), sessionChange }),
})
const failed = Type.Object({ k: Type.Literal('failed'), n, status, reason })

/** The code of a component has the same channel as its renderer: what comes is checked before it is believed. */
export const fromWorker = Type.Union([
  Type.Object({ k: Type.Literal('ready') }),
  Type.Object({ k: Type.Literal('unfit'), reason }),
  rendered,
  Type.Object({ k: Type.Literal('several'), list: Type.Array(Type.Unknown()) }),
  Type.Object({
    k: Type.Literal('controlled'),
    n,
    result: Type.Object({
      status,
      headers,
      cookies: Type.Array(Type.String()),
      sessionChange,
      state: Type.Optional(seen),
      body: Type.Unsafe<Uint8Array>({}),
    }),
  }),
  Type.Object({ k: Type.Literal('opened'), n }),
  Type.Object({ k: Type.Literal('say'), n, text }),
  Type.Object({ k: Type.Literal('session'), n, change: SessionChangeSchema }),
  Type.Object({ k: Type.Literal('closed'), n, code, reason }),
  failed,
  Type.Object({ k: Type.Literal('pong'), n: Type.Integer({ minimum: 0 }) }),
  Ask,
])
