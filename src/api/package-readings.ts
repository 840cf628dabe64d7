/**
 * Packages that come in, looked at: a few at a time, because each may be unpacked to many times its size, and the same
 * bytes once, however many send them at the same time.
 */
import { digestOfPackage } from '../cloud/component/archive.js'
import { type Package, type PackageReading, readPackage } from '../cloud/component/package.js'
import { CloudError, sentenceOf } from '../cloud/errors.js'
import { Gate } from './gate.js'

/** What is kept of a package once it is read: its files are in its bytes. */
export type ReadPackage = Omit<Package, 'files'>

type Reading =
  | { readonly kind: 'good'; readonly package: ReadPackage }
  | Extract<PackageReading, { readonly kind: 'bad' }>

const atOnce = 2

export class PackageReadings {
  readonly #underWay = new Map<string, Promise<Reading>>()
  readonly #gate = new Gate(atOnce, 'packages are being looked at')

  /** Throws `invalid-package` with all that is wrong, `busy` when too many wait. */
  async read(bytes: Uint8Array): Promise<ReadPackage> {
    const digest = digestOfPackage(bytes)
    let reading = this.#underWay.get(digest)
    if (!reading) {
      reading = this.#gate.pass(() => read(bytes)).finally(() => this.#underWay.delete(digest))
      this.#underWay.set(digest, reading)
    }
    const found = await reading
    if (found.kind === 'good') return found.package
    const [first = { path: '', message: 'not a package' }, ...others] = found.errors
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`
    throw new CloudError('invalid-package', `${sentenceOf(first)}${more}`, { errors: found.errors })
  }
}

async function read(bytes: Uint8Array): Promise<Reading> {
  const reading = await readPackage(bytes)
  if (reading.kind === 'bad') return reading
  const { files: _files, ...found } = reading.package
  return { kind: 'good', package: found }
}
