/**
 * What a journal's file is made of. Each frame holds the records that were made durable together, so that a crash tears
 * one frame at most, and that one is the last. Its checksum covers its number and what is drawn by lot for each file
 * (`salt`), so that nothing left over, and nothing that an instance keeps, passes for a frame. What follows the last
 * frame is zeros, up to the length that the file is said to have: a file that is shorter has lost something.
 */
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { JournalRecord } from '../../cloud/replication/messages.js'

const count = Type.Integer({ minimum: 0 })
const text = Type.String()
const entry = Type.Object({ seq: count, epoch: count, body: text, digest: text })

const Contents = Type.Object({
  /** Bytes that the file has from now on. */
  room: count,
  records: Type.Array(
    Type.Union([
      Type.Object({ k: Type.Literal('epoch'), epoch: count }),
      Type.Object({ k: Type.Literal('entry'), entry }),
      Type.Object({ k: Type.Literal('cut'), seq: count }),
      Type.Object({ k: Type.Literal('committed'), seq: count }),
      Type.Object({
        k: Type.Literal('whole'),
        epoch: count,
        at: Type.Object({ seq: count, digest: text }),
        state: text,
        committed: count,
        entries: Type.Array(entry),
      }),
    ]),
  ),
})

const Header = Type.Object({
  format: count,
  /** Which journal it is. */
  journal: Type.String({ minLength: 1 }),
  instance: text,
  since: count,
  salt: count,
  room: count,
  /** How many frames were there before the file was in its place: these cannot be torn. */
  born: count,
})
export type Header = Static<typeof Header>

/** A file that begins otherwise than this is none; one with a higher number is of a newer release. */
export const format = 1

const contentsCheck = Compile(Contents)
const headerCheck = Compile(Header)
const formatCheck = Compile(Type.Object({ format: count }))
const packr = new Packr({ useRecords: false, variableMapSize: true, structuredClone: false, int64AsType: 'number' })

/** `RJF1` */
const magic = 0x314a4652
const headBytes = 16
/** Frames begin at multiples of this. */
const step = 16

export const packHeader = (header: Header): Buffer => frame(packr.pack(header), 0, 0)

export const packRecords = (records: readonly JournalRecord[], room: number, number: number, salt: number): Buffer =>
  frame(packr.pack({ room, records }), number, salt)

function frame(payload: Uint8Array, number: number, salt: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil((headBytes + payload.byteLength) / step) * step)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt32LE(payload.byteLength, 4)
  bytes.writeUInt32LE(number, 8)
  bytes.set(payload, headBytes)
  bytes.writeUInt32LE(checksum(bytes, 0, payload.byteLength, salt), 12)
  return bytes
}

/** Of length, number and payload. */
const checksum = (bytes: Buffer, at: number, length: number, salt: number): number =>
  crc32(bytes.subarray(at + headBytes, at + headBytes + length), crc32(bytes.subarray(at + 4, at + 12), salt))

export type Unfolded =
  | {
      readonly kind: 'good'
      readonly header: Header
      readonly records: readonly JournalRecord[]
      /** Where the next frame goes, and its number. */
      readonly end: number
      readonly next: number
      readonly room: number
      /** Bytes after the end that are not zeros: of a write that was not whole. */
      readonly torn: number
    }
  /** Not to be trusted. */
  | { readonly kind: 'broken'; readonly reason: string }
  /** Of a release that is newer than this one. */
  | { readonly kind: 'newer'; readonly format: number }

export function unfold(bytes: Buffer): Unfolded {
  const first = frameAt(bytes, 0, 0)
  const header = first?.number === 0 ? unpack(first.payload) : undefined
  if (!first || !formatCheck.Check(header)) return broken('it has no header')
  if (header.format > format) return { kind: 'newer', format: header.format }
  if (!headerCheck.Check(header)) return broken('its header cannot be read')
  const records: JournalRecord[] = []
  let { end } = first
  let { room } = header
  let next = 1
  for (;;) {
    const found = frameAt(bytes, end, header.salt)
    if (found?.number !== next) break
    const contents = unpack(found.payload)
    if (!contentsCheck.Check(contents)) return broken(`frame ${next} holds something else than records`)
    records.push(...contents.records)
    room = contents.room
    end = found.end
    next++
  }
  if (bytes.byteLength < room) return broken(`${room - bytes.byteLength} bytes are missing at its end`)
  if (next <= header.born) return broken(`frame ${next} is damaged`)
  const torn = lengthOfRest(bytes, end)
  if (torn > 0 && hasFrame(bytes, end, header.salt)) return broken(`frame ${next} is damaged, and others follow it`)
  return { kind: 'good', header, records, end, next, room, torn }
}

function unpack(payload: Buffer): unknown {
  try {
    return packr.unpack(payload)
  } catch {
    return undefined
  }
}

const broken = (reason: string): Unfolded => ({ kind: 'broken', reason })

/** Undefined when there is none, or one with a wrong checksum. */
function frameAt(
  bytes: Buffer,
  at: number,
  salt: number,
): { payload: Buffer; number: number; end: number } | undefined {
  if (at + headBytes > bytes.byteLength || bytes.readUInt32LE(at) !== magic) return undefined
  const length = bytes.readUInt32LE(at + 4)
  if (at + headBytes + length > bytes.byteLength) return undefined
  if (bytes.readUInt32LE(at + 12) !== checksum(bytes, at, length, salt)) return undefined
  const payload = bytes.subarray(at + headBytes, at + headBytes + length)
  return { payload, number: bytes.readUInt32LE(at + 8), end: at + Math.ceil((headBytes + length) / step) * step }
}

function lengthOfRest(bytes: Buffer, from: number): number {
  let last = bytes.byteLength
  while (last > from && bytes[last - 1] === 0) last--
  return last - from
}

function hasFrame(bytes: Buffer, from: number, salt: number): boolean {
  for (let at = from; at + headBytes <= bytes.byteLength; at += step) {
    if (bytes.readUInt32LE(at) === magic && frameAt(bytes, at, salt)) return true
  }
  return false
}
