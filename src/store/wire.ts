/**
 * The few messages of etcd's v3 API that are sent and read all the time, as bytes (protocol buffers; numbers of fields
 * from etcd's rpc.proto and kv.proto). The client library's codec makes an object with every field of every key, and
 * text of every number: of what a start reads a million times, that took a third of the time. Fields that nobody here
 * needs are passed over; values are views of the answer that they came in.
 */
import type { Compare, KeyValue, Op, RangeRequest, RangeResult, TxnRequest, TxnResult, WatchEvent } from './etcd.js'

const [varint, fixed64, bytes, fixed32] = [0, 1, 2, 5]

/** Throws on anything that is not a message: what a member sends is not taken on trust. */
class Reader {
  constructor(
    private readonly from: Buffer,
    private at = 0,
    private readonly end = from.length,
  ) {}

  get done(): boolean {
    return this.at >= this.end
  }

  /** Exact below 2^53, and revisions are. */
  uint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 10 && this.at < this.end; count++) {
      const byte = this.from[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
    throw cutOff()
  }

  /** All 64 bits, signed, as text. */
  int64(): string {
    const first = this.at
    const value = this.uint()
    if (value <= Number.MAX_SAFE_INTEGER) return String(value)
    let exact = 0n
    for (let at = this.at - 1; at >= first; at--) exact = (exact << 7n) | BigInt(this.from[at]! & 0x7f)
    return BigInt.asIntN(64, exact).toString()
  }

  bytes(): Buffer {
    const to = this.#past(this.uint())
    const found = this.from.subarray(this.at, to)
    this.at = to
    return found
  }

  text(): string {
    const to = this.#past(this.uint())
    const found = this.from.toString('utf8', this.at, to)
    this.at = to
    return found
  }

  message(): Reader {
    const to = this.#past(this.uint())
    const found = new Reader(this.from, this.at, to)
    this.at = to
    return found
  }

  pass(tag: number): void {
    const type = tag & 7
    if (type === varint) this.uint()
    else if (type === bytes) this.at = this.#past(this.uint())
    else if (type === fixed64) this.at = this.#past(8)
    else if (type === fixed32) this.at = this.#past(4)
    else throw new RangeError(`not a message of etcd: no field has the type ${type}`)
  }

  #past(length: number): number {
    const to = this.at + length
    if (to > this.end) throw cutOff()
    return to
  }
}

const cutOff = (): RangeError => new RangeError('not a message of etcd: it is cut off')

/** Messages within messages say their length first: so each part is a list of pieces that is joined at the end. */
class Writer {
  readonly #pieces: Uint8Array[] = []
  #length = 0

  uint(field: number, value: number): this {
    if (value === 0) return this
    return this.#add(numbers(field << 3, value))
  }

  /** Of 64 bits, as text. */
  int64(field: number, value: string): this {
    const rest: number[] = [field << 3]
    let left = BigInt.asUintN(64, BigInt(value))
    for (; left > 127n; left >>= 7n) rest.push(Number(left & 0x7fn) | 0x80)
    rest.push(Number(left))
    return this.#add(Uint8Array.from(rest))
  }

  flag(field: number, value: boolean): this {
    return this.uint(field, value ? 1 : 0)
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#add(numbers((field << 3) | bytes, value.length)).#add(value)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value))
  }

  message(field: number, value: Writer): this {
    this.#add(numbers((field << 3) | bytes, value.#length))
    for (const piece of value.#pieces) this.#pieces.push(piece)
    this.#length += value.#length
    return this
  }

  get done(): Buffer {
    return Buffer.concat(this.#pieces, this.#length)
  }

  #add(piece: Uint8Array): this {
    this.#pieces.push(piece)
    this.#length += piece.length
    return this
  }
}

/** A tag (below 2^14) and a number. */
function numbers(tag: number, value: number): Uint8Array {
  const found: number[] = tag < 128 ? [tag] : [(tag & 0x7f) | 0x80, tag >> 7]
  let left = value
  for (; left > 127; left = Math.floor(left / 128)) found.push((left % 128) | 0x80)
  found.push(left)
  return Uint8Array.from(found)
}

export function writeRange(request: RangeRequest): Buffer {
  const { key, end, revision = 0, limit = 0, serializable, countOnly, keysOnly } = request
  const message = new Writer().text(1, key)
  if (end !== undefined) message.text(2, end)
  return message
    .uint(3, limit)
    .uint(4, revision)
    .flag(7, serializable === true)
    .flag(8, keysOnly === true)
    .flag(9, countOnly === true).done
}

export function writeTxn({ compare, success, failure = [] }: TxnRequest): Buffer {
  const message = new Writer()
  for (const each of compare) message.message(1, compareOf(each))
  for (const each of success) message.message(2, opOf(each))
  for (const each of failure) message.message(3, opOf(each))
  return message.done
}

const [equal, greater] = [0, 1]
const [byCreated, byModified] = [1, 2]

function compareOf(each: Compare): Writer {
  const of = (result: number, target: number): Writer => new Writer().uint(1, result).uint(2, target).text(3, each.key)
  if ('created' in each) return of(equal, byCreated).uint(5, each.created)
  if ('modified' in each) return of(equal, byModified).uint(6, each.modified)
  return of(greater, byCreated)
}

function opOf(each: Op): Writer {
  const op = new Writer()
  if ('put' in each) {
    const put = new Writer().text(1, each.put).bytes(2, each.value)
    return op.message(2, each.lease ? put.int64(3, each.lease) : put)
  }
  return 'delete' in each
    ? op.message(3, new Writer().text(1, each.delete))
    : op.message(1, new Writer().text(1, each.get))
}

export function writeWatch({ key, end, start }: { key: string; end: string; start: number }): Buffer {
  const create = new Writer().text(1, key).text(2, end).uint(3, start).flag(4, true).flag(8, true)
  return new Writer().message(1, create).done
}

export const writeProgress = (): Buffer => new Writer().message(3, new Writer()).done

export const writeLogin = (user: string, password: string): Buffer => new Writer().text(1, user).text(2, password).done

/** The token. */
export function readLogin(answer: Buffer): string {
  const reader = new Reader(answer)
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x12) return reader.text()
    reader.pass(tag)
  }
  throw new RangeError('not a message of etcd: there is no token in it')
}

interface Header {
  readonly cluster: string
  readonly revision: number
}

const noHeader: Header = { cluster: '0', revision: 0 }

function readHeader(reader: Reader): Header {
  let { cluster, revision } = noHeader
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x08) cluster = BigInt.asUintN(64, BigInt(reader.int64())).toString()
    else if (tag === 0x18) revision = reader.uint()
    else reader.pass(tag)
  }
  return { cluster, revision }
}

const nothing: Uint8Array = Buffer.alloc(0)

function readKeyValue(reader: Reader): KeyValue {
  let [key, value, created, modified, lease] = ['', nothing as Uint8Array, 0, 0, '0']
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x0a) key = reader.text()
    else if (tag === 0x10) created = reader.uint()
    else if (tag === 0x18) modified = reader.uint()
    else if (tag === 0x2a) value = reader.bytes()
    else if (tag === 0x30) lease = reader.int64()
    else reader.pass(tag)
  }
  return { key, value, created, modified, lease }
}

export function readRange(answer: Buffer): RangeResult {
  return rangeOf(new Reader(answer))
}

function rangeOf(reader: Reader): RangeResult {
  let header = noHeader
  const items: KeyValue[] = []
  let [count, more] = [0, false]
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x12) items.push(readKeyValue(reader.message()))
    else if (tag === 0x0a) header = readHeader(reader.message())
    else if (tag === 0x18) more = reader.uint() !== 0
    else if (tag === 0x20) count = reader.uint()
    else reader.pass(tag)
  }
  return { ...header, items, count, more }
}

export function readTxn(answer: Buffer): TxnResult {
  const reader = new Reader(answer)
  let [succeeded, revision] = [false, 0]
  const found: (KeyValue | undefined)[] = []
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x1a) found.push(foundIn(reader.message()))
    else if (tag === 0x0a) revision = readHeader(reader.message()).revision
    else if (tag === 0x10) succeeded = reader.uint() !== 0
    else reader.pass(tag)
  }
  return { succeeded, revision, found }
}

function foundIn(reader: Reader): KeyValue | undefined {
  let found: KeyValue | undefined
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x0a) found = rangeOf(reader.message()).items[0]
    else reader.pass(tag)
  }
  return found
}

export interface WatchAnswer {
  readonly revision: number
  /** -1: to nobody in particular. */
  readonly watch: string
  readonly created: boolean
  readonly canceled: boolean
  readonly compacted: number
  readonly reason: string
  readonly fragment: boolean
  readonly events: readonly WatchEvent[]
}

export function readWatch(answer: Buffer): WatchAnswer {
  const reader = new Reader(answer)
  let [revision, watch, created, canceled, compacted, reason, fragment] = [0, '0', false, false, 0, '', false]
  const events: WatchEvent[] = []
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x5a) events.push(readEvent(reader.message()))
    else if (tag === 0x0a) revision = readHeader(reader.message()).revision
    else if (tag === 0x10) watch = reader.int64()
    else if (tag === 0x18) created = reader.uint() !== 0
    else if (tag === 0x20) canceled = reader.uint() !== 0
    else if (tag === 0x28) compacted = reader.uint()
    else if (tag === 0x32) reason = reader.text()
    else if (tag === 0x38) fragment = reader.uint() !== 0
    else reader.pass(tag)
  }
  return { revision, watch, created, canceled, compacted, reason, fragment, events }
}

function readEvent(reader: Reader): WatchEvent {
  let deleted = false
  let kv: KeyValue | undefined
  while (!reader.done) {
    const tag = reader.uint()
    if (tag === 0x12) kv = readKeyValue(reader.message())
    else if (tag === 0x08) deleted = reader.uint() !== 0
    else reader.pass(tag)
  }
  if (!kv) throw new RangeError('not a message of etcd: an event without its key')
  const { key, value, created, modified } = kv
  return { key, value: deleted ? null : value, created, modified }
}
