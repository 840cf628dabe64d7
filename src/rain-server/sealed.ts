/**
 * A session as a cookie's value: encrypted and bound to the session's id, so that a browser can neither read nor change
 * nor exchange it, and any rain server of the cloud can open it.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { SessionData } from '../protocol/session-data.js'

export const Session = Type.Object({
  /** How often it was changed: of two, the one with more is newer. */
  seq: Type.Integer({ minimum: 0 }),
  language: Type.Optional(Type.String()),
  /** By component id. */
  own: Type.Record(Type.String(), SessionData),
})
export type Session = Static<typeof Session>

export const emptySession: Session = { seq: 0, own: {} }

/** What browsers keep of one cookie is 4,096 bytes with its name and what is said of it. */
const cookieMax = 3_900
const validMs = 30 * 24 * 3_600_000
const [markBytes, nonceBytes, tagBytes] = [4, 12, 16]
const shape = Compile(Type.Object({ at: Type.Number(), session: Session }))

/** Which key it was, so that not all have to be tried. */
const markOf = (key: string): Buffer => createHash('sha256').update(`mark ${key}`).digest().subarray(0, markBytes)

/** Undefined when it is more than a cookie holds. */
export function seal(session: Session, id: string, key: string, nowMs: number): string | undefined {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(key, 'base64'), nonce)
  cipher.setAAD(Buffer.from(id))
  const body = Buffer.concat([cipher.update(JSON.stringify({ at: nowMs, session })), cipher.final()])
  const sealed = Buffer.concat([markOf(key), nonce, body, cipher.getAuthTag()]).toString('base64url')
  return sealed.length > cookieMax ? undefined : sealed
}

/** Undefined for what is not of this session, of none of these keys, too old, or no session at all. */
export function unseal(sealed: string, id: string, keys: readonly string[], nowMs: number): Session | undefined {
  const bytes = Buffer.from(sealed.slice(0, cookieMax), 'base64url')
  const key = keys.find(each => markOf(each).equals(bytes.subarray(0, markBytes)))
  if (key === undefined || bytes.length < markBytes + nonceBytes + tagBytes) return undefined
  try {
    const decipher = createDecipheriv(
      'aes-256-gcm',
      Buffer.from(key, 'base64'),
      bytes.subarray(markBytes, markBytes + nonceBytes),
    )
    decipher.setAAD(Buffer.from(id))
    decipher.setAuthTag(bytes.subarray(-tagBytes))
    const body = Buffer.concat([decipher.update(bytes.subarray(markBytes + nonceBytes, -tagBytes)), decipher.final()])
    const value: unknown = JSON.parse(body.toString())
    return shape.Check(value) && nowMs - value.at < validMs ? value.session : undefined
  } catch {
    return undefined
  }
}
