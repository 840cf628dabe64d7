/**
 * Tickets: who may open a link to whom, signed by the hypervisor (N1). They are checked when a connection opens and
 * are good for a day, so that an outage of the hypervisor breaks no page. Signed with Ed25519, so that a mothership
 * which verifies tickets cannot make them.
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'

const TicketClaims = Type.Object({
  /** `rainserver/r1` */
  who: Type.String({ minLength: 1 }),
  /** `mothership/m2` */
  toWhom: Type.String({ minLength: 1 }),
  era: Type.Integer({ minimum: 0 }),
  /** Milliseconds since 1970. */
  notBefore: Type.Number(),
  expires: Type.Number(),
})
export type TicketClaims = Readonly<Static<typeof TicketClaims>>

const claimsCheck = Compile(TicketClaims)

export interface TicketKey {
  readonly id: string
  /** PEM */
  readonly publicKey: string
}

/** `<key id>.<claims>.<signature>`, the latter two in base64url. */
export function signTicket(key: { id: string; privateKey: string }, claims: TicketClaims): string {
  const body = `${key.id}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  return `${body}.${sign(null, Buffer.from(body), createPrivateKey(key.privateKey)).toString('base64url')}`
}

export type TicketCheck = { kind: 'good'; claims: TicketClaims } | { kind: 'refused'; reason: string }

/** A clock may differ by this much between machines. */
const skewMs = 60_000

/** Whatever the text, and whatever the keys hold: an answer, never an exception. */
export function checkTicket(ticket: string, keys: readonly TicketKey[], toWhom: string, wallMs: number): TicketCheck {
  const parts = ticket.split('.')
  if (parts.length !== 3 || ticket.length > 4096) return { kind: 'refused', reason: 'not a ticket' }
  const [id, body, signature] = parts as [string, string, string]
  const key = keys.find(each => each.id === id)
  if (!key) return { kind: 'refused', reason: 'signed with an unknown key' }
  if (!verifies(key, `${id}.${body}`, signature)) return { kind: 'refused', reason: 'the signature does not match' }
  const claims = claimsOf(body)
  if (!claims) return { kind: 'refused', reason: 'its claims cannot be read' }
  if (claims.toWhom !== toWhom) return { kind: 'refused', reason: `made for ${claims.toWhom}` }
  if (wallMs < claims.notBefore - skewMs) return { kind: 'refused', reason: 'not yet valid' }
  if (wallMs > claims.expires + skewMs) return { kind: 'refused', reason: 'expired' }
  return { kind: 'good', claims }
}

function verifies(key: TicketKey, text: string, signature: string): boolean {
  try {
    return verify(null, Buffer.from(text), createPublicKey(key.publicKey), Buffer.from(signature, 'base64url'))
  } catch {
    return false // not a public key
  }
}

function claimsOf(body: string): TicketClaims | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(body, 'base64url').toString())
    return claimsCheck.Check(claims) ? claims : undefined
  } catch {
    return undefined
  }
}
