/**
 * The file of one journal: frames are appended, or all that was is replaced by another file. Room is made in advance
 * and filled with zeros, so that an append changes no length: making it durable costs one write of data then.
 */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import type { JournalRecord } from '../../cloud/replication/messages.js'
import { format, type Header, packHeader, packRecords, unfold } from './frames.js'
import type { JournalFs, JournalFile as OpenFile } from './journal-fs.js'

/** Whose journal it is, and which one. */
export type Identity = Pick<Header, 'journal' | 'instance' | 'since'>

const block = 64 * 1024
const spareMin = 32 * 1024
const spareMax = 1024 * 1024

/** Room for what is there and about as much again. */
const roomFor = (bytes: number, spare = bytes): number =>
  Math.ceil((bytes + Math.min(spareMax, Math.max(spareMin, spare))) / block) * block

export type Found =
  | { readonly kind: 'none' }
  | { readonly kind: 'broken'; readonly reason: string }
  | { readonly kind: 'newer'; readonly format: number }
  | {
      readonly kind: 'good'
      readonly journal: string
      readonly records: readonly JournalRecord[]
      /** Bytes of a write that was not whole, and is not there any more. */
      readonly torn: number
      readonly file: JournalFile
    }

interface Place {
  readonly salt: number
  end: number
  next: number
  room: number
}

export class JournalFile {
  private constructor(
    private readonly fs: JournalFs,
    private readonly directory: string,
    private readonly identity: Identity,
    private file: OpenFile,
    private place: Place,
  ) {}

  /** Durable when it resolves, and instead of what was there. Rejects when that cannot be done: nothing is changed. */
  static async begin(
    fs: JournalFs,
    directory: string,
    identity: Identity,
    records: readonly JournalRecord[] = [],
  ): Promise<JournalFile> {
    return new JournalFile(fs, directory, identity, ...(await give(fs, directory, identity, records, 0)))
  }

  /** What is there. Rejects when it cannot be read, or not be made durable. */
  static async recover(fs: JournalFs, directory: string, whose: Omit<Identity, 'journal'>): Promise<Found> {
    if (!(await fs.list(directory)).includes(name)) return { kind: 'none' }
    const path = join(directory, name)
    const bytes = await fs.read(path)
    const found = unfold(bytes)
    if (found.kind !== 'good') return found
    const { header, records, end, next, room, torn } = found
    if (header.instance !== whose.instance || header.since !== whose.since) {
      return { kind: 'broken', reason: `it is that of ${header.instance} (${header.since})` }
    }
    const file = await fs.open(path)
    try {
      // What was read, and under which name, may have come from memory alone: of a process that died before it was
      // durable, or of a disk that failed to write it and forgot that it had to. So it is written once more, the torn
      // rest as zeros.
      bytes.fill(0, end, end + torn)
      await file.write(bytes.subarray(0, end + torn), 0)
      await fs.syncDirectory(directory)
    } catch (error) {
      await file.close().catch(() => undefined)
      throw error
    }
    const identity = { ...whose, journal: header.journal }
    const place = { salt: header.salt, end, next, room }
    return {
      kind: 'good',
      journal: header.journal,
      records,
      torn,
      file: new JournalFile(fs, directory, identity, file, place),
    }
  }

  get path(): string {
    return join(this.directory, name)
  }

  /** Durable when it resolves. When it rejects, nothing more may be written to this file. */
  async append(records: readonly JournalRecord[]): Promise<void> {
    const { place, file } = this
    let { room } = place
    let frame = packRecords(records, room, place.next, place.salt)
    if (place.end + frame.byteLength > room) {
      room = roomFor(place.end + frame.byteLength)
      frame = packRecords(records, room, place.next, place.salt)
      // A frame that says how long the file is comes after it is so long.
      await file.write(Buffer.alloc(room - place.room), place.room)
    }
    await file.write(frame, place.end)
    place.end += frame.byteLength
    place.next++
    place.room = room
  }

  /** The records are all that there is, in another file. As durable as `append`, and the same when it rejects. */
  async replace(records: readonly JournalRecord[]): Promise<void> {
    const before = this.file
    const { fs, directory, identity } = this
    const [file, place] = await give(fs, directory, identity, records, this.place.end)
    this.file = file
    this.place = place
    await before.close()
  }

  close(): Promise<void> {
    return this.file.close()
  }
}

const name = 'journal'

/** A new file in its place. `spare`: about how many bytes are going to be appended. */
async function give(
  fs: JournalFs,
  directory: string,
  identity: Identity,
  records: readonly JournalRecord[],
  spare: number,
): Promise<[file: OpenFile, place: Place]> {
  const salt = randomInt(2 ** 32)
  const born = records.length === 0 ? 0 : 1
  const head = (room: number): Buffer => packHeader({ format, ...identity, salt, room, born })
  const body = (room: number): Buffer => (born === 0 ? Buffer.alloc(0) : packRecords(records, room, 1, salt))
  // A number takes more bytes when it is larger; there is room enough for that.
  const room = roomFor(head(0).byteLength + body(0).byteLength + 64, spare)
  const frames = Buffer.concat([head(room), body(room)])
  const fresh = join(directory, `${name}.new`)
  const file = await fs.create(fresh)
  try {
    const bytes = Buffer.alloc(room)
    bytes.set(frames)
    await file.write(bytes, 0)
    await fs.rename(fresh, join(directory, name))
    await fs.syncDirectory(directory)
  } catch (error) {
    await file.close().catch(() => undefined)
    await fs.remove(fresh).catch(() => undefined)
    throw error
  }
  return [file, { salt, end: frames.byteLength, next: born + 1, room }]
}
