/** What is the same for everything that is asked on behalf of one request: whose it is, and in which language. */
import type { IncomingMessage } from 'node:http'
import { languageFor, platformLanguages } from './language.js'
import { newSession } from './page.js'
import { knownSession, sessionCookie } from './request.js'
import type { Sessions, VisitorSession } from './sessions.js'
import type { ServerState } from './wanted.js'

export interface Visit {
  readonly session: string
  readonly held: VisitorSession
  readonly locale: string
  readonly languages: readonly string[]
  /** To be set with the answer, as of now. */
  cookies(): string[]
}

export function visitOf(request: IncomingMessage, { server }: ServerState, sessions: Sessions): Visit {
  const known = knownSession(request)
  const session = known ?? newSession()
  const held = sessions.open(session, request.headers.cookie ?? '', server.sessionKeys ?? [])
  return {
    session,
    held,
    locale: languageFor(server, request.headers['accept-language'] ?? '', held.language),
    languages: platformLanguages(server),
    cookies: () => [...(known === undefined ? [sessionCookie(session)] : []), ...held.cookies()],
  }
}
