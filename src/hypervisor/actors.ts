/**
 * From the secret in a request to who asks. Only digests are stored, so the look-up by SHA-256 is itself the compare:
 * no secret is ever compared byte by byte.
 */
import { hash } from 'node:crypto'
import type { Actor } from '../cloud/commands.js'
import type { CloudMap } from '../cloud/map.js'

export const digestOf = (secret: string): string => hash('sha256', secret)

/** Undefined when the token is unknown, revoked or expired. */
export function actorOf(map: CloudMap, secret: string, wallMs: number, from?: string): Actor | undefined {
  const token = map.get('tokens', digestOf(secret))?.value
  // A time that is none has passed.
  if (!token || (token.expires !== undefined && !(Date.parse(token.expires) > wallMs))) return undefined
  return {
    role: token.role,
    subject: token.subject,
    ...(token.node ? { node: token.node } : {}),
    ...(from === undefined ? {} : { from }),
  }
}
