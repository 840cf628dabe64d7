/** What is the same for everything that is asked on behalf of one request: whose it is, and in which language. */
import type { IncomingMessage } from 'node:http'
import { languageFor, platformLanguages } from './language.js'
import { newSession } from './page.js'
import { knownSession, sessionCookie } from './request.js'
import type { ServerState } from './wanted.js'

export interface Visit {
  readonly session: string
  readonly locale: string
  readonly languages: readonly string[]
  /** To be set with the answer. */
  readonly cookies: readonly string[]
}

export function visitOf(request: IncomingMessage, { server }: ServerState): Visit {
  const known = knownSession(request)
  const session = known ?? newSession()
  return {
    session,
    locale: languageFor(server, request.headers['accept-language'] ?? ''),
    languages: platformLanguages(server),
    cookies: known === undefined ? [sessionCookie(session)] : [],
  }
}
