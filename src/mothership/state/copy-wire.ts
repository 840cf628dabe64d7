/**
 * What travels between motherships: frames, each a MessagePack list of messages. Documents travel as JSON text, because
 * JSON is what they are: MessagePack would change a name like `__proto__` and half of a surrogate pair.
 */
import { Packr } from 'msgpackr'
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { Carried } from './carried.js'

/** A document has 1 MiB at most, a whole state not quite four with all the answers that it remembers. */
export const copyFrameBytesMax = 4 * 1024 * 1024

const Message = Type.Object({ instance: Type.String({ minLength: 1, maxLength: 256 }), carried: Carried })
export type CopyWireMessage = Static<typeof Message>

const check = Compile(Type.Array(Message))
const packr = new Packr({ useRecords: false, variableMapSize: true, structuredClone: false, int64AsType: 'number' })

/** One message, to be put into a frame with others. */
export function packMessage(instance: string, carried: Carried): Uint8Array {
  if (carried.k !== 'outcome' || !('document' in carried.outcome)) return packr.pack({ instance, carried })
  const outcome = { ...carried.outcome, document: JSON.stringify(carried.outcome.document) }
  return packr.pack({ instance, carried: { ...carried, outcome } })
}

/** Bytes of a frame beside its messages. */
const frameOverhead = 5

export function frameOf(messages: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(frameOverhead)
  // A list of as many as 32 bits can say.
  head[0] = 0xdd
  head.writeUInt32BE(messages.length, 1)
  return Buffer.concat([head, ...messages])
}

export type Opened =
  | { readonly kind: 'good'; readonly messages: readonly CopyWireMessage[] }
  | { readonly kind: 'bad'; readonly reason: string }

export function openFrame(frame: Uint8Array): Opened {
  let messages: unknown
  try {
    messages = packr.unpack(frame)
    if (Array.isArray(messages)) for (const each of messages) openDocument(each)
  } catch {
    return { kind: 'bad', reason: 'a frame that cannot be read' }
  }
  if (check.Check(messages)) return { kind: 'good', messages }
  const first = check.Errors(messages)[0]
  const where = `${first?.instancePath} ${first?.message}`.replace(/[^ -~]/g, '?')
  return { kind: 'bad', reason: `wrong fields: ${where}`.slice(0, 120) }
}

function openDocument(message: unknown): void {
  const { carried } = message as { carried?: unknown }
  if (typeof carried !== 'object' || carried === null) return
  const outcome = (carried as { outcome?: { document?: unknown } }).outcome
  if (outcome?.document !== undefined) outcome.document = JSON.parse(outcome.document as string)
}
