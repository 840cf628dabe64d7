/** A refusal of the leader, as it came over a link. */
import { CloudError, type Code, codes, type Details } from '../cloud/errors.js'
import type { MessageOf } from '../protocol/messages.js'

export function problemOf(message: MessageOf<'problem'>): CloudError {
  const code = Object.hasOwn(codes, message.code) ? (message.code as Code) : 'internal'
  return new CloudError(code, message.message, (message.details ?? {}) as Details)
}
