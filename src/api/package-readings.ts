/**
 * Packages that come in, looked at: a few at a time, because each may be unpacked to many times its size, and the same
 * bytes once, however many send them at the same time.
 */
import { digestOfPackage } from '../cloud/component/archive.js'
import { type Package, type PackageReading, readPackage } from '../cloud/component/package.js'
import { CloudError, sentenceOf } from '../cloud/errors.js'

/** What is kept of a package once it is read: its files are in its bytes. */
export type ReadPackage = Omit<Package, 'files'>

type Reading =
  | { readonly kind: 'good'; readonly package: ReadPackage }
  | Extract<PackageReading, { readonly kind: 'bad' }>

const atOnce = 2
const waitingMax = 1_000
const retryAfterS = 5

export class PackageReadings {
  readonly #underWay = new Map<string, Promise<Reading>>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** Throws `invalid-package` with all that is wrong, `busy` when too many wait. */
  async read(bytes: Uint8Array): Promise<ReadPackage> {
    const digest = digestOfPackage(bytes)
    let reading = this.#underWay.get(digest)
    if (!reading) {
      if (this.#waiting.length >= waitingMax) {
        throw new CloudError('busy', 'too many packages are being looked at', { retryAfterS })
      }
      reading = this.#inTurn(bytes).finally(() => this.#underWay.delete(digest))
      this.#underWay.set(digest, reading)
    }
    const found = await reading
    if (found.kind === 'good') return found.package
    const [first = { path: '', message: 'not a package' }, ...others] = found.errors
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`
    throw new CloudError('invalid-package', `${sentenceOf(first)}${more}`, { errors: found.errors })
  }

  async #inTurn(bytes: Uint8Array): Promise<Reading> {
    if (this.#running >= atOnce) await new Promise<void>(resolve => this.#waiting.push(resolve))
    this.#running++
    try {
      const reading = await readPackage(bytes)
      if (reading.kind === 'bad') return reading
      const { files: _files, ...found } = reading.package
      return { kind: 'good', package: found }
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }
}
