/** Schemas of what travels of sessions, and with which keys rain servers seal them. */
import { hkdfSync } from 'node:crypto'
import Type from 'typebox'

export const SessionData = Type.Record(Type.String(), Type.Unknown())

export const SessionChange = Type.Object({
  cleared: Type.Optional(Type.Boolean()),
  set: SessionData,
  removed: Type.Array(Type.String()),
  language: Type.Optional(Type.String({ maxLength: 60 })),
})

const keys = new WeakMap<object, string>()

/** 32 bytes, base64: the same at each replica, and of no use for signing tickets. */
export function sessionKeyOf(key: { readonly privateKey: string }): string {
  let found = keys.get(key)
  if (found === undefined) {
    const bytes = hkdfSync('sha256', key.privateKey, '', 'rain sessions', 32)
    keys.set(key, (found = Buffer.from(bytes).toString('base64')))
  }
  return found
}
