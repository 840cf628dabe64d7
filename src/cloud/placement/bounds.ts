/**
 * What a place costs at least, worked out before a decision, so that a scan looks closely only at motherships that can
 * be among the best (branch and bound; A. Land and A. Doig, 1960). The cost of a place is linear in the pressures but for
 * the worst of them; with a need more that one is at least what the worst one of now becomes. That is an addition for
 * each mothership, and exact unless another resource becomes the worst. Blocks of neighbours keep the least room of all in
 * them. Worked out anew only where something changed, when it is next looked at.
 */
import type { Resources } from '../records.js'
import { stride } from './layout.js'
import type { Formula } from './score.js'

/** So many neighbours make a block; a power of two. */
export const blockSize = 32
/** Motherships of the same capacities are of a class; those of the classes beyond so many count as endless. */
const classesMax = 256
const rest = 0
/** What of a block is to be worked out anew. */
const [nothing, itsSums, allOfIt] = [0, 1, 2]

export class Bounds {
  /** By index: cost without the need; endless for who takes nothing. */
  bases = new Float64Array(16)
  /** By index: three times the class, and which resource is the worst. */
  keys = new Uint16Array(16)
  /** By block: least room of each resource, and how many take something. */
  rooms = new Float64Array(3)
  open = new Uint8Array(1)
  /** By key: what the need adds to the cost, of the last one asked for. */
  readonly #added = new Float64Array(3 * classesMax)
  /** By class, three each: share of the capacity that one unit is. */
  readonly #units = new Float64Array(3 * classesMax)
  readonly #classes = new Map<string, number>()
  #stale = new Uint8Array(1).fill(allOfIt)
  #formula: Formula = { cpu: 0, ram: 0, bandwidth: 0, worst: 0 }

  /** Something about this mothership changed. */
  touch(index: number, numbers: Float64Array): void {
    const block = Math.floor(index / blockSize)
    if (block >= this.#stale.length || this.#stale[block] === allOfIt) return
    this.#rate(index, numbers)
    this.#stale[block] = itsSums
  }

  /** Who is at which index changed, or the formula did. */
  forget(): void {
    this.#stale.fill(allOfIt)
    this.#classes.clear()
  }

  /** To be called before a scan of `size` motherships. */
  prepare(size: number, formula: Formula): void {
    if (this.bases.length < size) this.#grow(size)
    const { cpu, ram, bandwidth, worst } = this.#formula
    const same =
      cpu === formula.cpu && ram === formula.ram && bandwidth === formula.bandwidth && worst === formula.worst
    if (same) return
    this.#formula = formula
    this.forget()
  }

  /** What a need adds by key; valid until asked for again. Blocks are to be fresh before. */
  addedBy(need: Resources): Float64Array {
    const { cpu, ram, bandwidth, worst } = this.#formula
    for (let each = 0; each <= this.#classes.size && each < classesMax; each++) {
      const ofCpu = need.cpu * this.#units[each * 3]!
      const ofRam = need.ram * this.#units[each * 3 + 1]!
      const ofBandwidth = need.bandwidth * this.#units[each * 3 + 2]!
      const linear = cpu * ofCpu + ram * ofRam + bandwidth * ofBandwidth
      this.#added[each * 3] = linear + worst * ofCpu
      this.#added[each * 3 + 1] = linear + worst * ofRam
      this.#added[each * 3 + 2] = linear + worst * ofBandwidth
    }
    return this.#added
  }

  /** Works out anew what changed among those from `from` to before `to`. */
  freshen(numbers: Float64Array, from: number, to: number, size: number): void {
    for (let block = Math.floor(from / blockSize); block * blockSize < to; block++) {
      if (this.#stale[block] !== nothing) this.#work(numbers, block, size)
    }
  }

  #work(numbers: Float64Array, block: number, size: number): void {
    const [from, to] = [block * blockSize, Math.min(size, (block + 1) * blockSize)]
    if (this.#stale[block] === allOfIt) for (let index = from; index < to; index++) this.#rate(index, numbers)
    const none = Number.POSITIVE_INFINITY
    let [roomCpu, roomRam, roomBandwidth, open] = [none, none, none, 0]
    for (let index = from, at = from * stride; index < to; index++, at += stride) {
      const base = this.bases[index]!
      if (base === none) continue
      open++
      if (numbers[at]! < roomCpu) roomCpu = numbers[at]!
      if (numbers[at + 1]! < roomRam) roomRam = numbers[at + 1]!
      if (numbers[at + 2]! < roomBandwidth) roomBandwidth = numbers[at + 2]!
    }
    this.rooms[block * 3] = roomCpu
    this.rooms[block * 3 + 1] = roomRam
    this.rooms[block * 3 + 2] = roomBandwidth
    this.open[block] = open
    this.#stale[block] = nothing
  }

  #rate(index: number, numbers: Float64Array): void {
    const at = index * stride
    if (Number.isNaN(numbers[at]!)) {
      this.bases[index] = Number.POSITIVE_INFINITY
      return
    }
    const { cpu: ofCpu, ram: ofRam, bandwidth: ofBandwidth, worst: ofWorst } = this.#formula
    const [cpu, ram, bandwidth] = [numbers[at + 3]!, numbers[at + 4]!, numbers[at + 5]!]
    const worst = Math.max(cpu, ram, bandwidth)
    this.bases[index] = ofCpu * cpu + ofRam * ram + ofBandwidth * bandwidth + ofWorst * worst
    this.keys[index] = 3 * this.#classOf(index, numbers) + (worst === cpu ? 0 : worst === ram ? 1 : 2)
  }

  #classOf(index: number, numbers: Float64Array): number {
    const at = index * stride + 6
    const [cpu, ram, bandwidth] = [numbers[at]!, numbers[at + 1]!, numbers[at + 2]!]
    const units = this.#units
    const before = Math.floor(this.keys[index]! / 3)
    const known = before !== rest && before <= this.#classes.size
    if (known && units[before * 3] === cpu && units[before * 3 + 1] === ram && units[before * 3 + 2] === bandwidth) {
      return before
    }
    const name = `${cpu} ${ram} ${bandwidth}`
    let found = this.#classes.get(name)
    if (found === undefined) {
      // The first class is the rest: nothing is added there, which is less than it can be.
      if (this.#classes.size >= classesMax - 1) return rest
      found = this.#classes.size + 1
      this.#classes.set(name, found)
      units.set([cpu, ram, bandwidth], found * 3)
    }
    return found
  }

  #grow(size: number): void {
    const length = Math.max(size, this.bases.length * 2)
    const blocks = Math.ceil(length / blockSize)
    this.bases = new Float64Array(length)
    this.keys = new Uint16Array(length)
    this.rooms = new Float64Array(blocks * 3)
    this.open = new Uint8Array(blocks)
    this.#stale = new Uint8Array(blocks).fill(allOfIt)
  }
}
