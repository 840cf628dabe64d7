/**
 * Sessions over plain HTTP (N5), for where websockets do not pass. Either end numbers its frames from 0 and keeps them
 * until the other one says how many it has; whatever a proxy loses, doubles or delays, a frame is handed on once and in
 * order. A batch is `rp1\n`, the number of its first frame (of the next one, where there is none in it), how many
 * frames of the other end have arrived, and the frames, each after its length; all numbers have four bytes.
 *
 * P1 What was handed on is a beginning of what was said, without gap or repetition.
 * P2 What has arrived once is said again only to who does not know yet that it has.
 */

/** Bland on purpose: firewalls know it. */
export const pollType = 'application/octet-stream'
export const pollPath = (node: string): string => `/nodes/${encodeURIComponent(node)}/poll`
/** How long a replica lets a poll wait for something to say, at most. */
export const holdMsMax = 60_000
/** One batch has so much, or one frame that is larger. */
export const batchBytesMax = 1024 * 1024

export interface Batch {
  readonly first: number
  readonly arrived: number
  readonly frames: readonly Uint8Array[]
}

const magic = Buffer.from('rp1\n')
const headBytes = 12
const framesMax = 10_000

export function encodeBatch({ first, arrived, frames }: Batch): Buffer {
  const head = Buffer.alloc(headBytes)
  magic.copy(head)
  head.writeUInt32BE(first, 4)
  head.writeUInt32BE(arrived, 8)
  const parts = frames.flatMap(frame => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(frame.byteLength)
    return [length, frame]
  })
  return Buffer.concat([head, ...parts])
}

/** Undefined when it is no batch: whoever stands between wrote something of its own. */
export function decodeBatch(bytes: Buffer): Batch | undefined {
  if (bytes.byteLength < headBytes || bytes.compare(magic, 0, 4, 0, 4) !== 0) return undefined
  const frames: Buffer[] = []
  let at = headBytes
  while (at < bytes.byteLength) {
    if (at + 4 > bytes.byteLength || frames.length >= framesMax) return undefined
    const end = at + 4 + bytes.readUInt32BE(at)
    if (end > bytes.byteLength) return undefined
    frames.push(bytes.subarray(at + 4, end))
    at = end
  }
  return { first: bytes.readUInt32BE(4), arrived: bytes.readUInt32BE(8), frames }
}

/** What this end says, kept until it has arrived. */
export class Outbox {
  #frames: Uint8Array[] = []
  #first = 0
  #bytes = 0

  /** Bytes that have not arrived, as far as is known. */
  get bytes(): number {
    return this.#bytes
  }

  /** The number that the next frame gets. */
  get next(): number {
    return this.#first + this.#frames.length
  }

  get empty(): boolean {
    return this.#frames.length === 0
  }

  add(frame: Uint8Array): void {
    this.#frames.push(frame)
    this.#bytes += frame.byteLength
  }

  /** False when the other end speaks of frames that there never were. */
  arrived(count: number): boolean {
    if (count > this.next) return false
    if (count <= this.#first) return true // an old word, late
    for (const frame of this.#frames.splice(0, count - this.#first)) this.#bytes -= frame.byteLength
    this.#first = count
    return true
  }

  /** The frames to say now: from the first that is not known to have arrived. */
  batch(): Pick<Batch, 'first' | 'frames'> {
    const frames: Uint8Array[] = []
    let bytes = 0
    for (const frame of this.#frames) {
      bytes += frame.byteLength
      if (frames.length > 0 && (bytes > batchBytesMax || frames.length >= framesMax)) break
      frames.push(frame)
    }
    return { first: this.#first, frames }
  }
}

/** What the other end said: each frame once, in order. */
export class Inbox {
  #count = 0

  get count(): number {
    return this.#count
  }

  /** The new ones. Undefined when some between are missing, which no honest end says. */
  take({ first, frames }: Batch): readonly Uint8Array[] | undefined {
    if (frames.length > 0 && first > this.#count) return undefined
    const fresh = frames.slice(Math.max(0, this.#count - first))
    this.#count += fresh.length
    return fresh
  }
}
