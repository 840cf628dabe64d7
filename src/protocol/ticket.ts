/**
 * Tickets: who may open a link to whom, signed by the hypervisor (N1). They are checked when a connection opens and
 * are good for a day, so that an outage of the hypervisor breaks no page. Signed with Ed25519, so that a mothership
 * which verifies tickets cannot make them.
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'

export interface TicketClaims {
  /** `rainserver/r1` */
  readonly who: string
  /** `mothership/m2` */
  readonly toWhom: string
  readonly era: number
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly expires: number
}

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

export function checkTicket(ticket: string, keys: readonly TicketKey[], toWhom: string, wallMs: number): TicketCheck {
  const parts = ticket.split('.')
  if (parts.length !== 3 || ticket.length > 4096) return { kind: 'refused', reason: 'not a ticket' }
  const key = keys.find(each => each.id === parts[0])
  if (!key) return { kind: 'refused', reason: 'signed with an unknown key' }
  const signature = Buffer.from(parts[2]!, 'base64url')
  if (!verify(null, Buffer.from(`${parts[0]}.${parts[1]}`), createPublicKey(key.publicKey), signature)) {
    return { kind: 'refused', reason: 'the signature does not match' }
  }
  const claims = JSON.parse(Buffer.from(parts[1]!, 'base64url').toString()) as TicketClaims
  if (claims.toWhom !== toWhom) return { kind: 'refused', reason: `made for ${claims.toWhom}` }
  if (wallMs < claims.notBefore - skewMs) return { kind: 'refused', reason: 'not yet valid' }
  if (wallMs > claims.expires + skewMs) return { kind: 'refused', reason: 'expired' }
  return { kind: 'good', claims }
}
