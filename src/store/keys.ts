/** Where things are in etcd: `/rain/<cluster>/v1/`, with the trailing slash kept for access rules. */
import { type Kind, kinds } from '../cloud/records.js'
import { prefixEnd } from './etcd.js'

const singletons: ReadonlySet<Kind> = new Set(['era', 'leader', 'turn', 'keys', 'settings'])
/** No id may leave its place in the tree or hide in it. */
const safeId = /^[\w.:-]+(\/[\w.:-]+)*$/
const width = 16

export class Keys {
  readonly map: string
  readonly mapEnd: string

  constructor(cluster: string) {
    const root = `/rain/${cluster}/v1/`
    this.map = `${root}map/`
    this.mapEnd = prefixEnd(this.map)
    this.#root = root
  }

  readonly #root: string

  record(kind: Kind, id: string): string {
    if (singletons.has(kind)) return `${this.map}${kind}`
    if (!safeId.test(id) || id.includes('..')) throw new RangeError(`not an id for a key: ${JSON.stringify(id)}`)
    return `${this.map}${kind}/${id}`
  }

  /** Undefined for a key that this release has no kind for. */
  parse(key: string): { kind: Kind; id: string } | undefined {
    const rest = key.slice(this.map.length)
    const slash = rest.indexOf('/')
    const kind = slash < 0 ? rest : rest.slice(0, slash)
    if (!Object.hasOwn(kinds, kind) || !key.startsWith(this.map)) return undefined
    if (singletons.has(kind as Kind) !== slash < 0) return undefined
    return { kind: kind as Kind, id: slash < 0 ? '' : rest.slice(slash + 1) }
  }

  /** `sha256:<hex>` as a key: the colon stays out of paths. */
  chunk(digest: string, index: number): string {
    return `${this.#root}blob/${digest.replace(':', '-')}/${String(index).padStart(4, '0')}`
  }

  chunks(digest: string): { key: string; end: string } {
    const key = `${this.#root}blob/${digest.replace(':', '-')}/`
    return { key, end: prefixEnd(key) }
  }

  get allChunks(): { key: string; end: string } {
    const key = `${this.#root}blob/`
    return { key, end: prefixEnd(key) }
  }

  /** Of a key of a chunk. */
  digestOf(chunk: string): string {
    const rest = chunk.slice(`${this.#root}blob/`.length)
    return rest.slice(0, rest.indexOf('/')).replace('-', ':')
  }

  audit(turn: number): string {
    return `${this.#root}log/audit/${String(turn).padStart(width, '0')}`
  }

  decisions(turn: number): string {
    return `${this.#root}log/decisions/${String(turn).padStart(width, '0')}`
  }

  /** Answers of one transaction to calls that have no key of their own. */
  answers(turn: number): string {
    return `${this.#root}request/turn/${String(turn).padStart(width, '0')}`
  }

  /** Of a key of answers. */
  turnOf(key: string): number {
    return Number(key.slice(-width))
  }

  answersFrom(turn: number): { key: string; end: string } {
    return { key: this.answers(turn), end: prefixEnd(`${this.#root}request/turn/`) }
  }

  /** Request ids may hold anything a caller's `Idempotency-Key` holds, so they are written in hex. */
  request(id: string): string {
    return `${this.#root}request/${Buffer.from(id).toString('hex')}`
  }
}
