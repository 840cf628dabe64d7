import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkTicket, signTicket, type TicketClaims } from '../../src/protocol/ticket.js'

const hourMs = 3_600_000
const skewMs = 60_000
const nowMs = 1_800_000_000_000

function aKey(id: string): { id: string; privateKey: string; publicKey: string } {
  const pair = generateKeyPairSync('ed25519')
  return {
    id,
    privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

const key = aKey('k-1')
const keys = [aKey('k-0'), key]
const claims: TicketClaims = {
  who: 'rainserver/r1',
  toWhom: 'mothership/m1',
  era: 1,
  notBefore: nowMs - hourMs,
  expires: nowMs + hourMs,
}
const ticket = signTicket(key, claims)
const check = (text: string, atMs = nowMs, toWhom = 'mothership/m1'): ReturnType<typeof checkTicket> =>
  checkTicket(text, keys, toWhom, atMs)

/** Signed by the right key, whatever the claims. */
function signed(body: string): string {
  const head = `${key.id}.${Buffer.from(body).toString('base64url')}`
  return `${head}.${sign(null, Buffer.from(head), key.privateKey).toString('base64url')}`
}

describe('a ticket', () => {
  it('lets in whom it was made for, where it was made for', () => {
    expect(check(ticket)).toEqual({ kind: 'good', claims })
  })

  it('is the same text whenever it is signed anew', () => {
    expect(signTicket(key, claims)).toBe(ticket)
  })

  it('is refused elsewhere', () => {
    expect(check(ticket, nowMs, 'mothership/m2')).toEqual({ kind: 'refused', reason: 'made for mothership/m1' })
    expect(check(ticket, nowMs, 'mothership/m11').kind).toBe('refused')
  })

  it('is good from its first to its last moment, and a minute around for clocks that differ', () => {
    expect(check(ticket, claims.notBefore - skewMs).kind).toBe('good')
    expect(check(ticket, claims.notBefore - skewMs - 1)).toEqual({ kind: 'refused', reason: 'not yet valid' })
    expect(check(ticket, claims.expires + skewMs).kind).toBe('good')
    expect(check(ticket, claims.expires + skewMs + 1)).toEqual({ kind: 'refused', reason: 'expired' })
  })

  it('is refused when its key is not known, or is another one by that name', () => {
    expect(checkTicket(ticket, [keys[0]!], 'mothership/m1', nowMs)).toMatchObject({ reason: /unknown key/ })
    expect(checkTicket(ticket, [aKey('k-1')], 'mothership/m1', nowMs)).toMatchObject({ reason: /does not match/ })
    expect(checkTicket(ticket, [], 'mothership/m1', nowMs).kind).toBe('refused')
  })

  it('is refused when what it says was changed', () => {
    const [id, , signature] = ticket.split('.')
    const forged = Buffer.from(JSON.stringify({ ...claims, who: 'rainserver/r2' })).toString('base64url')
    expect(check(`${id}.${forged}.${signature}`)).toMatchObject({ reason: /does not match/ })
    expect(check(`k-0.${ticket.split('.').slice(1).join('.')}`)).toMatchObject({ reason: /does not match/ })
  })

  it('is refused with any one character of claims or signature changed', () => {
    const from = ticket.indexOf('.') + 1
    // The last character of a base64url text may carry bits that stand for nothing: the signature is then the same.
    fc.assert(
      fc.property(fc.integer({ min: from, max: ticket.length - 2 }), fc.constantFrom(...'Az09-_.'), (at, other) => {
        fc.pre(ticket[at] !== other)
        const text = ticket.slice(0, at) + other + ticket.slice(at + 1)
        expect(check(text).kind).toBe('refused')
      }),
    )
  })

  it.each([
    ['nothing', ''],
    ['dots', '..'],
    ['two parts', ticket.split('.').slice(0, 2).join('.')],
    ['four parts', `${ticket}.x`],
    ['no signature', `${ticket.split('.').slice(0, 2).join('.')}.`],
    ['no base64', `k-1.***.???`],
    ['too long a text', `${ticket.slice(0, -1)}${'A'.repeat(5000)}`],
    ['a name that every object has', '__proto__.e30.AA'],
  ])('is refused when it is %s', (_name, text) => {
    expect(check(text).kind).toBe('refused')
  })

  it.each([
    ['no JSON', 'who goes there'],
    ['null', 'null'],
    ['a number', '7'],
    ['an array', '[]'],
    ['no claims', '{}'],
    ['no end', JSON.stringify({ ...claims, expires: undefined })],
    ['no beginning', JSON.stringify({ ...claims, notBefore: undefined })],
    ['an end that is text', JSON.stringify({ ...claims, expires: 'never' })],
    ['nobody', JSON.stringify({ ...claims, who: undefined })],
  ])('is refused when its claims are %s, however well signed', (_name, body) => {
    expect(check(signed(body)).kind).toBe('refused')
  })

  it('is refused, and nothing thrown, when the key that should verify it is none', () => {
    for (const publicKey of ['', 'no key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n']) {
      expect(checkTicket(ticket, [{ id: key.id, publicKey }], 'mothership/m1', nowMs).kind).toBe('refused')
    }
  })

  it('never throws, whatever the text', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.array(fc.base64String({ maxLength: 60 }), { maxLength: 4 }).map(parts => ['k-1', ...parts].join('.')),
      fc.json().map(signed),
    )
    fc.assert(
      fc.property(texts, text => {
        expect(check(text).kind).toBe('refused')
      }),
    )
  })
})
