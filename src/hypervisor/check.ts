/** Commands are checked by their schema wherever they come in: from REST, from a node's session, from a link. */
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { type Command, commandSchemas, type Operation } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'

const validators = new Map<Operation, Validator>()

function validator(op: Operation): Validator {
  let found = validators.get(op)
  if (!found) validators.set(op, (found = Compile(commandSchemas[op] as TSchema)))
  return found
}

/** Throws `bad-request` with the fields that are wrong. */
export function checkCommand(command: { readonly op: string; readonly body: unknown }): asserts command is Command {
  if (!Object.hasOwn(commandSchemas, command.op)) {
    throw new CloudError('bad-request', `there is no operation ${command.op.slice(0, 64)}`)
  }
  const check = validator(command.op as Operation)
  if (check.Check(command.body)) return
  const errors = check.Errors(command.body).map(each => ({ path: each.instancePath, message: each.message }))
  throw new CloudError('bad-request', `${command.op} ${errors[0]?.path ?? ''}: ${errors[0]?.message ?? 'wrong'}`, {
    errors,
  })
}
