/**
 * Values as JSON, checked by their kind's schema when read as strictly as when written. A field that this release does
 * not know is kept: a newer replica wrote it. Instances are many, so they are read into a form that is small.
 */
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { CloudError } from '../cloud/errors.js'
import { type InstanceRecord, type Kind, kinds, type RecordOf } from '../cloud/records.js'
import { compactInstance } from './compact.js'
import { readInstanceText } from './instance-text.js'

const validators = new Map<Kind, Validator>()

function validator(kind: Kind): Validator {
  let found = validators.get(kind)
  if (!found) validators.set(kind, (found = Compile(kinds[kind] as TSchema)))
  return found
}

export type Read<K extends Kind> =
  | { readonly kind: 'good'; readonly value: RecordOf<K> }
  | { readonly kind: 'unreadable'; readonly reason: string }

export function readValue<K extends Kind>(kind: K, bytes: Uint8Array): Read<K> {
  if (kind !== 'instances') return readWhole(kind, bytes)
  const instance = readInstanceText(bufferOf(bytes))
  if (instance) return { kind: 'good', value: instance as RecordOf<K> }
  const read = readWhole(kind, bytes)
  if (read.kind === 'good') compactInstance(read.value as InstanceRecord)
  return read
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function readWhole<K extends Kind>(kind: K, bytes: Uint8Array): Read<K> {
  let value: unknown
  try {
    value = JSON.parse(bufferOf(bytes).toString())
  } catch {
    return { kind: 'unreadable', reason: 'not JSON' }
  }
  const check = validator(kind)
  if (check.Check(value)) return { kind: 'good', value: value as RecordOf<K> }
  const first = check.Errors(value)[0]
  return { kind: 'unreadable', reason: `${first?.instancePath ?? ''} ${first?.message ?? 'does not match its schema'}` }
}

/** Throws `internal` for a record that nobody could read again. */
export function writeValue<K extends Kind>(kind: K, value: RecordOf<K>): Uint8Array {
  const check = validator(kind)
  if (!check.Check(value)) {
    const first = check.Errors(value)[0]
    throw new CloudError(
      'internal',
      `refusing to write a wrong ${kind} record: ${first?.instancePath} ${first?.message}`,
    )
  }
  return json(value)
}

export const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

/** For values without a kind (`request/`, chunks' neighbours): undefined when it is not JSON. */
export function parseJson(bytes: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof bytes === 'string' ? bytes : bufferOf(bytes).toString())
  } catch {
    return undefined
  }
}
