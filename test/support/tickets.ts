/** Keys and tickets as the hypervisor makes them. */
import { generateKeyPairSync } from 'node:crypto'
import { signTicket, type TicketClaims, type TicketKey } from '../../src/protocol/ticket.js'

export interface TestKey extends TicketKey {
  /** A ticket of rain server r1 for a mothership. */
  ticket(mothership: string, more?: Partial<TicketClaims>): string
}

const hourMs = 3_600_000

export function aKey(id = 'k1'): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = { id, privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) }
  return {
    id,
    publicKey: String(publicKey.export({ type: 'spki', format: 'pem' })),
    ticket: (mothership, more = {}) =>
      signTicket(key, {
        who: 'rainserver/r1',
        toWhom: `mothership/${mothership}`,
        era: 1,
        notBefore: Date.now() - hourMs,
        expires: Date.now() + hourMs,
        ...more,
      }),
  }
}
