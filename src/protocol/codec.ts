/**
 * Frames to messages and back. Decoding is strict: a frame that is not MessagePack, not a map with a known type, or
 * does not match its type's schema never reaches a handler.
 */
import { Packr } from 'msgpackr'
import { Compile, type Validator } from 'typebox/compile'
import { frameBytesMax, type Message, type MessageOf, type MessageType, messages } from './messages.js'

/** Plain data only: no references (a frame could hold itself) and no BigInt, both of which JSON refuses later. */
const packr = new Packr({ useRecords: false, variableMapSize: true, structuredClone: false, int64AsType: 'number' })
const validators = new Map<string, Validator>()

function validator(type: MessageType): Validator {
  let found = validators.get(type)
  if (!found) validators.set(type, (found = Compile(messages[type])))
  return found
}

export type Decoded =
  | { readonly kind: 'message'; readonly message: Message }
  /** A newer release's message: answer with `error`, otherwise ignore it. */
  | { readonly kind: 'unknown'; readonly type: string }
  /** Not a frame of this protocol, or a known message with wrong fields. */
  | { readonly kind: 'invalid'; readonly reason: string }

export const encode = (message: Message): Uint8Array => packr.pack(message)

const severalHead = packr.pack({ t: 'several', list: [] }).slice(0, -1)

/** Bytes that it takes to put messages into one frame, beyond their own. */
export const severalBytes = severalHead.byteLength + 5

/** A frame of `several` from the frames of what it holds, as they are: MessagePack of a list is that of what is in it. */
export function encodeSeveral(frames: readonly Uint8Array[]): Uint8Array {
  const { length } = frames
  const head = Buffer.from([0xdd, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255])
  return Buffer.concat([severalHead, head, ...frames])
}

export function decode(frame: Uint8Array, bytesMax = frameBytesMax): Decoded {
  if (frame.byteLength > bytesMax) return { kind: 'invalid', reason: `frame of ${frame.byteLength} bytes` }
  let value: unknown
  try {
    value = packr.unpack(frame)
  } catch {
    return { kind: 'invalid', reason: 'not MessagePack' }
  }
  return check(value)
}

/** What is in a frame of `several`. */
export const decodeList = ({ list }: MessageOf<'several'>): Decoded[] => list.map(check)

function check(value: unknown): Decoded {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { kind: 'invalid', reason: 'not a map' }
  }
  const type = (value as { t?: unknown }).t
  if (typeof type !== 'string') return { kind: 'invalid', reason: 'no type `t`' }
  if (!Object.hasOwn(messages, type)) return { kind: 'unknown', type: type.slice(0, 64) }
  const right = validator(type as MessageType)
  if (right.Check(value)) return { kind: 'message', message: value as Message }
  const first = right.Errors(value)[0]
  return { kind: 'invalid', reason: `${type}${first?.instancePath ?? ''}: ${first?.message ?? 'wrong fields'}` }
}
