/** Tokens of a new cloud, from the bootstrap file: a JSON list of records that hold digests and no secret. */
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { CloudError } from '../cloud/errors.js'
import { kinds, type TokenRecord } from '../cloud/records.js'

export type BootstrapToken = Omit<TokenRecord, 'schema' | 'createdAt'>

const list = Compile(Type.Array(Type.Omit(kinds.tokens, ['schema', 'createdAt'])))

/** Throws `misconfigured`, naming what is wrong. */
export function readBootstrap(text: string): readonly BootstrapToken[] {
  if (text === '') return []
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CloudError('misconfigured', `--bootstrap-file: not JSON: ${(error as Error).message}`)
  }
  if (list.Check(value)) return value as BootstrapToken[]
  const [first] = list.Errors(value)
  throw new CloudError('misconfigured', `--bootstrap-file: ${first?.instancePath ?? ''}: ${first?.message ?? 'wrong'}`)
}
