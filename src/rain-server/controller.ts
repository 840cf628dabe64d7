/**
 * A call of a component's controller, at the copy that the session's views come from. Another copy is asked only where it
 * is certain that the first one did nothing, or where asking twice is as good as once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../hypervisor/ports.js'
import type { MessageOf, PageRequest } from '../protocol/messages.js'
import { copiesTried, order } from './choose.js'
import type { Links } from './links.js'
import { passedHeaders } from './request.js'
import type { Route } from './route.js'
import type { VisitorSession } from './sessions.js'
import type { Shown } from './shown.js'

export interface ControllerAsked {
  readonly route: Pick<Extract<Route, { kind: 'controller' }>, 'component' | 'name'>
  /** That it is code which answers to this, rather than a controller. */
  readonly intent?: { readonly category: string; readonly action: string }
  readonly verb: string
  readonly request: PageRequest
  readonly body: Buffer
  readonly session: string
  readonly held: VisitorSession
  readonly locale: string
  readonly languages: readonly string[]
  /** For all copies that are asked together. */
  readonly deadlineMs: number
}

export type ControllerAnswer =
  | { readonly kind: 'answer'; readonly answer: MessageOf<'answer'> }
  | { readonly kind: 'failed'; readonly status: number; readonly reason: string }

/** Headers of the browser that a controller may see. */
export const controllerHeaders: readonly string[] = [
  ...passedHeaders,
  'accept',
  'content-type',
  'origin',
  'if-match',
  'if-none-match',
]
export const bodyBytesMax = 512 * 1024

/** RFC 9110, section 7.6.1, and what is worked out anew. */
const betweenHops: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** The session's, and the balancer's. */
const ownCookie = /^\s*rain(-[^=]*)?\s*=/i

export interface ControllerPorts {
  readonly links: Links
  readonly clock: Clock
  readonly shown: Shown
}

export async function callController(
  asked: ControllerAsked,
  { links, clock, shown }: ControllerPorts,
): Promise<ControllerAnswer> {
  const { route, intent, verb, request, body, session, held, locale, languages, deadlineMs } = asked
  const { component, name } = route
  const untilMs = clock.nowMs() + deadlineMs
  let last: ControllerAnswer = { kind: 'failed', status: 503, reason: 'no copy can be reached' }
  // What kills one copy's process is not to go through all of them.
  for (const { instance, mothership } of order(component, session, links.reachable).slice(0, copiesTried)) {
    const least = shown.of(session, instance)
    const answer = await links.get(mothership)?.call({
      ...(intent === undefined ? { kind: 'controller' } : { kind: 'intent', intent }),
      component: component.id,
      version: component.version,
      instance,
      path: name,
      verb,
      request,
      ...(body.byteLength > 0 ? { body } : {}),
      session,
      locale,
      ...(component.useSession === true ? { sessionData: held.of(component.id) } : {}),
      ...(languages.length > 0 ? { languages: [...languages] } : {}),
      ...(least ? { shown: least } : {}),
      deadlineMs: untilMs - clock.nowMs(),
    })
    if (!answer) continue
    if (answer.kind === 'answer' && answer.answer.status >= 200) {
      held.change(component.id, answer.answer.sessionChange)
      shown.note(session, instance, answer.answer.state)
      return answer
    }
    last =
      answer.kind === 'failed'
        ? answer
        : { kind: 'failed', status: 502, reason: 'the answer has a status that is none' }
    const harmless = verb === 'GET' || verb === 'HEAD' ? last.status >= 502 : last.status === 503
    if (!harmless || clock.nowMs() >= untilMs) break
  }
  return last
}

/** What a controller says: not what is between two hops, nor a cookie of the cloud itself. `own`: cookies that are. */
export function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, cookies = [], body }: MessageOf<'answer'>,
  own: readonly string[],
): void {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(String(body ?? ''))
  const passed = Object.entries(headers).filter(([name]) => !betweenHops.has(name.toLowerCase()))
  const set = [...own, ...cookies.filter(each => !ownCookie.test(each))]
  const empty = status === 204 || status === 304
  response.writeHead(status, {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...Object.fromEntries(passed),
    ...(set.length > 0 ? { 'set-cookie': set } : {}),
    ...(empty ? {} : { 'content-length': bytes.byteLength }),
  })
  response.end(request.method === 'HEAD' || empty ? undefined : bytes)
}
