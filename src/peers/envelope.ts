/** What another replica forwards is checked like anything else that comes in. */
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { Envelope } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import { kinds, roles } from '../cloud/records.js'
import { checkCommand } from '../hypervisor/check.js'

const shape = Compile(
  Type.Object({
    requestId: Type.String({ minLength: 1, maxLength: 512 }),
    fresh: Type.Boolean(),
    since: Type.Optional(Type.Integer({ minimum: 0 })),
    actor: Type.Object({
      role: Type.Enum([...roles, 'system']),
      subject: Type.String(),
      node: kinds.tokens.properties.node,
      from: Type.Optional(Type.String()),
    }),
    command: Type.Object({ op: Type.String(), body: Type.Unknown() }),
  }),
)

/** Throws `bad-request`. */
export function readEnvelope(value: unknown): Envelope {
  if (!shape.Check(value)) throw new CloudError('bad-request', 'not an envelope')
  const { command } = value
  checkCommand(command)
  return { ...value, command } as Envelope
}
